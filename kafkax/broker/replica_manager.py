"""The replicas of this broker: what the controller says about them, done.

LeaderAndIsr, StopReplica and UpdateMetadata come here, from the controller in this process as from one on the network.  Each
is fenced twice: by controller epoch, so that a replaced controller is not obeyed, and by broker epoch, so that what was meant
for this broker's former life is not (KIP-380).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import UUID

from kafkax._core.partition import Partition
from kafkax.cluster.fence import ControllerFence
from kafkax.cluster.image import FULL_UPDATE, LEADER_DURING_DELETE, ImageDelta, MetadataCache, MetadataImage
from kafkax.cluster.znodes import NO_LEADER
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.leader_and_isr import (
    LeaderAndIsrPartitionError,
    LeaderAndIsrPartitionState,
    LeaderAndIsrRequest,
    LeaderAndIsrResponse,
    LeaderAndIsrTopicError,
)
from kafkax.protocol.messages.stop_replica import (
    StopReplicaPartitionError,
    StopReplicaPartitionState,
    StopReplicaRequest,
    StopReplicaResponse,
)
from kafkax.protocol.messages.update_metadata import UpdateMetadataRequest, UpdateMetadataResponse
from kafkax.replication.replica import Replica

if TYPE_CHECKING:
    from kafkax._core.registry import Registry
    from kafkax.cluster.dynamic_configs import DynamicConfigs
    from kafkax.storage.manager import LogManager
    from kafkax.storage.partition_log import PartitionLog

__all__ = ["Followers", "LeadershipChange", "Replica", "ReplicaManager"]

_log = logging.getLogger(__name__)
_NO_EPOCH = -1
_EPOCH_DURING_DELETE = -2


class LeadershipChange(NamedTuple):
    """This broker began (``leads``) or ceased to lead a partition; ``leader_epoch`` is the new one, -1 when it was removed."""

    partition: TopicPartition
    leader_epoch: int
    leads: bool


class Followers(Protocol):
    """Who fetches for the replicas that follow, and minds the ISR of those that lead."""

    def follow(self, replicas: Iterable[Replica]) -> None:
        """Fetch from each replica's leader from now on; the partitions are followers already."""

    def lead(self, replicas: Iterable[Replica]) -> None:
        """Stop fetching for these and mind their ISR; called with each newer state of a partition that is led, too."""

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Have nothing to do with these any more; returns when no fetch can append to them."""


class ReplicaManager:
    """Hosts partitions.

    Args:
        broker_id: this broker.
        registry: where the data plane finds partitions.
        logs: creates and deletes logs; called from a worker thread, since it waits for the disk.  It must know of a changed
            topic config before this object does.
        cache: takes UpdateMetadata.
        configs: reads the configs of topics that are about to appear here.
        followers: the replication side; None on a broker that stands alone.

    Attributes:
        broker_epoch: the epoch of this broker's registration, to be set before the first request and after each new session.
    """

    def __init__(
        self,
        broker_id: int,
        registry: Registry,
        logs: LogManager,
        cache: MetadataCache,
        configs: DynamicConfigs,
        followers: Followers | None = None,
    ) -> None:
        self._broker_id = broker_id
        self.broker_epoch = _NO_EPOCH
        self._logs = logs
        self._registry = registry
        self._cache = cache
        self._configs = configs
        self._followers = followers
        self._obeyed = ControllerFence()
        self._replicas: dict[TopicPartition, Replica] = {}
        self._offline: set[TopicPartition] = set()
        self._listeners: list[Callable[[list[LeadershipChange]], None]] = []
        self._one_at_a_time = asyncio.Lock()
        cache.add_listener(self._image_changed)

    def on_leadership(self, listener: Callable[[list[LeadershipChange]], None]) -> None:
        """Have ``listener`` called on the event loop when this broker begins or ceases to lead partitions."""
        self._listeners.append(listener)

    def replica(self, partition: TopicPartition) -> Replica | None:
        """The replica here, None when there is none."""
        return self._replicas.get(partition)

    def replicas(self) -> list[Replica]:
        """All replicas here."""
        return list(self._replicas.values())

    def offline(self) -> frozenset[TopicPartition]:
        """The replicas here whose log directory failed."""
        return frozenset(self._offline)

    def altered(self, partition: TopicPartition, isr: tuple[int, ...], partition_epoch: int) -> None:
        """Take over an ISR change that the controller answered to this broker's AlterPartition."""
        replica = self._replicas.get(partition)
        if replica is not None and partition_epoch > replica.partition_epoch:
            after = self._replicas[partition] = replica._replace(isr=isr, partition_epoch=partition_epoch)
            after.partition.set_in_sync(len(isr), self._min_in_sync(partition, after.replicas))
            if self._followers is not None:
                self._followers.lead([after])

    # Requests

    async def handle(self, request: Request) -> Response:
        """Do what the controller asks for, one request after the other."""
        async with self._one_at_a_time:
            if isinstance(request, LeaderAndIsrRequest):
                return await self._leader_and_isr(request)
            if isinstance(request, StopReplicaRequest):
                return await self._stop_replica(request)
            if isinstance(request, UpdateMetadataRequest):
                return await self._update_metadata(request)
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{type(request).__name__} is not a request of the controller")

    def _fence(self, controller_epoch: int, broker_epoch: int) -> ErrorCode:
        return self._obeyed.admit(controller_epoch, broker_epoch, self.broker_epoch)

    async def _update_metadata(self, request: UpdateMetadataRequest) -> UpdateMetadataResponse:
        code = self._fence(request.controller_epoch, request.broker_epoch)
        if code is ErrorCode.NONE:
            self._cache.update(request)
            self._learn_isrs(request)
            if request.type == FULL_UPDATE:
                await self._put_strays_aside(request)
        return UpdateMetadataResponse(error_code=code)

    def _learn_isrs(self, request: UpdateMetadataRequest) -> None:
        """A leader whose AlterPartition was done, but whose answer was lost, hears of it here."""
        for topic in request.topic_states:
            for state in topic.partition_states:
                partition = TopicPartition(topic.topic_name, state.partition_index)
                replica = self._replicas.get(partition)
                if (
                    replica is not None
                    and replica.leader == state.leader == self._broker_id
                    and replica.leader_epoch == state.leader_epoch
                    and replica.partition_epoch < state.zk_version
                ):
                    self.altered(partition, tuple(state.isr), state.zk_version)

    async def _put_strays_aside(self, request: UpdateMetadataRequest) -> None:
        """Replicas that the cluster does not know of here were deleted or moved while this broker was away; keep the files.

        Those of topics that are being deleted are left to the StopReplica that deletes them.
        """
        image = self._cache.image
        dying = {
            TopicPartition(topic.topic_name, state.partition_index)
            for topic in request.topic_states
            for state in topic.partition_states
            if state.leader == LEADER_DURING_DELETE
        }
        here = {*self._replicas, *(hosted.partition for hosted in self._logs.logs())}
        strays = []
        for partition in sorted(here - dying):
            known = image.partition(*partition)
            if known is None or self._broker_id not in known.replicas:
                strays.append(partition)
        if not strays:
            return
        _log.warning("the cluster has no replica of these here, their logs are put aside: %s", ", ".join(map(str, strays)))
        self._tell(self._remove(strays))
        await asyncio.to_thread(self._delete_logs, strays, stray=True)

    def _remove(self, partitions: Sequence[TopicPartition]) -> list[LeadershipChange]:
        """Host partitions no longer; returns the changes of those that were led.  Who waits for several finds all gone."""
        if self._followers is not None:
            self._followers.forget(partitions)
        former = [self._replicas.pop(partition, None) for partition in partitions]
        self._registry.remove_all(partitions)
        return [
            LeadershipChange(partition, _NO_EPOCH, False)
            for partition, replica in zip(partitions, former, strict=True)
            if replica is not None and replica.leader == self._broker_id
        ]

    def _let_go(self, partition: TopicPartition, leader_epoch: int) -> list[LeadershipChange]:
        """Lead or follow a partition no longer; it stays known, so that clients are told that it is led elsewhere."""
        former = self._replicas.get(partition)
        changes = self._remove([partition])
        if former is not None:
            try:
                former.partition.become_follower(max(leader_epoch, former.leader_epoch))
            except KafkaError as error:
                _log.error("%s: %s", partition, error)
                return changes
            self._registry.add(former.partition)
        return changes

    # LeaderAndIsr

    async def _leader_and_isr(self, request: LeaderAndIsrRequest) -> LeaderAndIsrResponse:
        code = self._fence(request.controller_epoch, request.broker_epoch)
        if code is not ErrorCode.NONE:
            return LeaderAndIsrResponse(error_code=code)
        errors: dict[TopicPartition, ErrorCode] = {}
        todo: list[tuple[TopicPartition, UUID, LeaderAndIsrPartitionState]] = []
        for topic in request.topic_states:
            for state in topic.partition_states:
                partition = TopicPartition(topic.topic_name, state.partition_index)
                errors[partition] = self._verdict(partition, topic.topic_id, state)
                if errors[partition] is ErrorCode.NONE and self._is_newer(partition, topic.topic_id, state):
                    todo.append((partition, topic.topic_id, state))
        appearing = dict.fromkeys(p.topic for p, _, _ in todo if p not in self._replicas)
        await self._configs.read([("topics", topic) for topic in appearing])
        if self._followers is not None:
            self._followers.forget([partition for partition, topic_id, said in todo if self._changes(partition, topic_id, said)])
        before = {partition: self._replicas.get(partition) for partition, _, _ in todo}
        errors.update(await asyncio.to_thread(self._apply_all, todo))
        self._announce(before)
        return _leader_and_isr_response(request, errors)

    def _verdict(self, partition: TopicPartition, topic_id: UUID, state: LeaderAndIsrPartitionState) -> ErrorCode:
        if partition in self._offline:
            return ErrorCode.KAFKA_STORAGE_ERROR
        if self._broker_id not in state.replicas:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        known = self._replicas.get(partition)
        if known is not None and known.partition.topic_id == topic_id and state.leader_epoch < known.leader_epoch:
            return ErrorCode.STALE_CONTROLLER_EPOCH
        return ErrorCode.NONE

    def _is_newer(self, partition: TopicPartition, topic_id: UUID, state: LeaderAndIsrPartitionState) -> bool:
        known = self._replicas.get(partition)
        return (
            known is None
            or known.partition.topic_id != topic_id
            or (state.leader_epoch, state.partition_epoch) > (known.leader_epoch, known.partition_epoch)
        )

    def _changes(self, partition: TopicPartition, topic_id: UUID, state: LeaderAndIsrPartitionState) -> bool:
        """Whether fetching has to stop first; with the same leader it goes on into the new epoch."""
        known = self._replicas.get(partition)
        return known is not None and (known.leader != state.leader or known.partition.topic_id != topic_id)

    def _apply_all(self, todo: list[tuple[TopicPartition, UUID, LeaderAndIsrPartitionState]]) -> dict[TopicPartition, ErrorCode]:
        """On a worker thread: open what is new, lead or follow.  The lock of :meth:`handle` keeps everybody else out."""
        errors: dict[TopicPartition, ErrorCode] = {}
        opened: dict[TopicPartition, Partition] = {}
        # All are on the disk before the first one takes anything.
        with self._logs.creating():
            for partition, topic_id, state in todo:
                known = self._replicas.get(partition)
                if known is None or known.partition.topic_id != topic_id:
                    with self._noting(partition, errors):
                        opened[partition] = self._open(partition, topic_id, state)
        for partition, _, state in todo:
            if partition not in errors:
                with self._noting(partition, errors):
                    self._apply(partition, opened.get(partition), state)
        return errors

    @contextlib.contextmanager
    def _noting(self, partition: TopicPartition, errors: dict[TopicPartition, ErrorCode]) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            _log.error("%s: %s", partition, error)
            errors[partition] = error.code
            if error.code is ErrorCode.KAFKA_STORAGE_ERROR:
                self._offline.add(partition)

    def _apply(self, key: TopicPartition, opened: Partition | None, state: LeaderAndIsrPartitionState) -> None:
        known = self._replicas.get(key)
        if opened is not None and self._logs.get(key) is None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "its log directory went offline")
        partition = opened or (known.partition if known is not None else None)
        assert partition is not None, "what was not known was opened"
        leads = state.leader == self._broker_id
        minimum = self._min_in_sync(key, state.replicas)
        if known is None or known.partition is not partition or state.leader_epoch > known.leader_epoch:
            if leads:
                self._lead(partition, state, minimum)
            else:
                partition.become_follower(state.leader_epoch, leader=max(state.leader, NO_LEADER))
        elif leads:
            if _mark(state.replicas) != _mark(known.replicas):
                self._lead(partition, state, minimum)
            partition.set_in_sync(len(state.isr), minimum)
        self._replicas[key] = Replica(
            partition, state.leader, state.leader_epoch, tuple(state.isr), tuple(state.replicas), state.partition_epoch
        )
        if known is None or known.partition is not partition:
            self._registry.add(partition)

    def _lead(self, partition: Partition, state: LeaderAndIsrPartitionState, min_in_sync: int) -> None:
        mark, in_sync = _mark(state.replicas), len(state.isr)
        partition.become_leader(
            state.leader_epoch, in_sync=in_sync, min_in_sync=min_in_sync, mark=mark, leader=self._broker_id
        )

    def _open(self, key: TopicPartition, topic_id: UUID, state: LeaderAndIsrPartitionState) -> Partition:
        """The partition on its log, which is created when there is none."""
        self._registry.remove(*key)
        try:
            hosted = self._logs.create(key, topic_id, is_new=state.is_new)
        except KafkaError as error:
            if error.code is not ErrorCode.INCONSISTENT_TOPIC_ID:
                raise
            # The controller knows no topic of that id any more: it was deleted while this broker was away.
            _log.warning("%s: the log here is of a deleted topic of the same name; it is put aside", key)
            self._logs.delete(key, stray=True)
            hosted = self._logs.create(key, topic_id, is_new=True)
        return Partition(key.topic, key.partition, topic_id, hosted.log)

    def _announce(self, before: dict[TopicPartition, Replica | None]) -> None:
        """Tell replication and the coordinators what came of a request."""
        led: list[Replica] = []
        followed: list[Replica] = []
        changes: list[LeadershipChange] = []
        for partition, former in before.items():
            replica = self._replicas.get(partition)
            if replica is None or replica is former:
                continue
            leads = replica.leader == self._broker_id
            (led if leads else followed).append(replica)
            led_before = former is not None and former.leader == self._broker_id
            same_epoch = former is not None and former.leader_epoch == replica.leader_epoch
            if leads != led_before or (leads and not same_epoch):
                changes.append(LeadershipChange(partition, replica.leader_epoch, leads))
        if self._followers is not None:
            self._followers.lead(led)
            self._followers.follow(followed)
        self._tell(changes)

    def _tell(self, changes: list[LeadershipChange]) -> None:
        if changes:
            for listener in tuple(self._listeners):
                listener(changes)

    # StopReplica

    async def _stop_replica(self, request: StopReplicaRequest) -> StopReplicaResponse:
        code = self._fence(request.controller_epoch, request.broker_epoch)
        if code is not ErrorCode.NONE:
            return StopReplicaResponse(error_code=code)
        errors: dict[TopicPartition, ErrorCode] = {}
        doomed: list[TopicPartition] = []
        changes: list[LeadershipChange] = []
        for topic in request.topic_states:
            for state in topic.partition_states:
                partition = TopicPartition(topic.topic_name, state.partition_index)
                errors[partition] = self._may_stop(partition, state)
                if errors[partition] is not ErrorCode.NONE:
                    continue
                if state.delete_partition:
                    doomed.append(partition)
                else:
                    changes += self._let_go(partition, state.leader_epoch)
        self._tell(changes + self._remove(doomed))
        errors.update(await asyncio.to_thread(self._delete_logs, doomed))
        return StopReplicaResponse(
            partition_errors=[
                StopReplicaPartitionError(topic_name=topic, partition_index=index, error_code=error)
                for (topic, index), error in errors.items()
            ]
        )

    def _may_stop(self, partition: TopicPartition, state: StopReplicaPartitionState) -> ErrorCode:
        if partition in self._offline:
            return ErrorCode.KAFKA_STORAGE_ERROR
        known = self._replicas.get(partition)
        epoch = state.leader_epoch
        if known is not None and epoch not in (_NO_EPOCH, _EPOCH_DURING_DELETE) and epoch < known.leader_epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        return ErrorCode.NONE

    def _delete_logs(self, partitions: list[TopicPartition], *, stray: bool = False) -> dict[TopicPartition, ErrorCode]:
        """On a worker thread: delete logs, also those of partitions that were never led or followed in this life."""
        errors: dict[TopicPartition, ErrorCode] = {}
        for partition in partitions:
            try:
                self._logs.delete(partition, stray=stray)
            except KafkaError as error:
                _log.error("%s cannot be deleted: %s", partition, error)
                errors[partition] = error.code
        return errors

    # What happens here

    def directory_failed(self, lost: Iterable[PartitionLog]) -> list[TopicPartition]:
        """A log directory went out of service with these logs; returns the partitions that were led from it.

        The caller tells the controller, which asks what is lost and gets KAFKA_STORAGE_ERROR for these.
        """
        changes: list[LeadershipChange] = []
        for hosted in lost:
            self._offline.add(hosted.partition)
            replica = self._replicas.get(hosted.partition)
            if replica is not None and replica.leader == self._broker_id:
                changes.append(LeadershipChange(hosted.partition, _NO_EPOCH, False))
        if self._followers is not None:
            self._followers.forget([hosted.partition for hosted in lost])
        self._tell(changes)
        return [change.partition for change in changes]

    def _min_in_sync(self, partition: TopicPartition, replicas: Sequence[int]) -> int:
        """``min.insync.replicas``, but no more than there are replicas, as in Kafka."""
        hosted = self._logs.get(partition)
        return 1 if hosted is None else min(int(hosted.config["min.insync.replicas"]), len(replicas))

    def _image_changed(self, _: MetadataImage, delta: ImageDelta) -> None:
        topics = {name for entity_type, name in delta.configs if entity_type == "topics"}
        for partition, replica in list(self._replicas.items()) if topics else ():
            if partition.topic in topics and replica.leader == self._broker_id:
                replica.partition.set_in_sync(len(replica.isr), self._min_in_sync(partition, replica.replicas))
                if self._followers is not None:
                    self._followers.lead([replica])


def _mark(replicas: Sequence[int]) -> str:
    """Who moves the high watermark: the data plane itself while there are no followers."""
    return "auto" if len(replicas) == 1 else "external"


def _leader_and_isr_response(request: LeaderAndIsrRequest, errors: dict[TopicPartition, ErrorCode]) -> LeaderAndIsrResponse:
    """The answer in the shape of every version: by topic id from version 5 on, a flat list before."""
    topics: list[LeaderAndIsrTopicError] = []
    for topic in request.topic_states:
        partition_errors = [
            LeaderAndIsrPartitionError(
                topic_name=topic.topic_name,
                partition_index=state.partition_index,
                error_code=errors[TopicPartition(topic.topic_name, state.partition_index)],
            )
            for state in topic.partition_states
        ]
        topics.append(LeaderAndIsrTopicError(topic_id=topic.topic_id, partition_errors=partition_errors))
    return LeaderAndIsrResponse(topics=topics)
