"""The group coordinator in a broker: its ports joined to the partitions of ``__consumer_offsets``, the loop and the configs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from kafkax._core.commit_lanes import CommitLanes
from kafkax.broker.group_configs import GroupConfigs
from kafkax.coordinator.groups.coordinator import AS_SEEN_BY_CLIENTS, GroupCoordinator
from kafkax.coordinator.groups.settings import Caller, GroupSettings, MigrationPolicy
from kafkax.coordinator.groups.topics import TopicInfo
from kafkax.coordinator.runtime import RuntimeSettings
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.headers import response_header

if TYPE_CHECKING:
    from kafkax._core.commit_request import CommitRequest
    from kafkax._core.notify import NotifyQueue
    from kafkax._core.partition import Partition
    from kafkax._core.reactor import Reactor
    from kafkax._core.registry import Registry
    from kafkax.broker.handlers.spec import RequestContext
    from kafkax.clock import Clock
    from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage
    from kafkax.cluster.topic_admin import TopicAdmin
    from kafkax.cluster.znodes import Endpoint
    from kafkax.config import BrokerConfig
    from kafkax.net.connection import Connection
    from kafkax.protocol.message import Response
    from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
    from kafkax.protocol.messages.heartbeat import HeartbeatRequest

__all__ = ["GROUP_TOPIC", "GroupService", "ImageTopics", "InternalTopic", "LoopTimers", "group_settings"]

GROUP_TOPIC = "__consumer_offsets"

_PIECE_BYTES = 256 * 1024
"""Bytes of the log that are replayed in one turn of the loop."""


class LoopTimers:
    """The running event loop as a queue of callbacks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back in the loop's next turn."""
        self._loop.call_soon(callback)

    def after(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back after ``delay_ms``."""
        return self._loop.call_later(delay_ms / 1000, callback)


class InternalTopic:
    """A topic that a coordinator keeps its state in: appender and loader of its runtime.

    Args:
        topic: its name.
        registry: the partitions of this broker.
        queue: brings events of the data plane to the loop.
    """

    def __init__(self, topic: str, registry: Registry, queue: NotifyQueue) -> None:
        self._topic = topic
        self._registry = registry
        self._queue = queue

    def partition(self, index: int) -> Partition:
        """A partition that is on this broker, or KafkaError."""
        partition = self._registry.get(self._topic, index)
        if partition is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"{self._topic}-{index} is not on this broker")
        return partition

    def append(self, partition: int, batch: bytes) -> int:
        """Append a batch; the offset after it."""
        return self.partition(partition).append(batch, origin="coordinator", validated=True).last_offset + 1

    def when_committed(self, partition: int, offset: int, done: Callable[[KafkaError | None], None]) -> None:
        """Call ``done`` once the high watermark has reached ``offset``, or when that can no longer happen here."""
        try:
            found = self.partition(partition)
        except KafkaError as error:
            done(error)
            return

        def marked(mark: int) -> None:
            if mark >= offset:
                done(None)
            elif found.is_leader:
                # woken for something else: go on waiting
                self.when_committed(partition, offset, done)
            else:
                done(KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"{self._topic}-{partition} moved to another broker"))

        if found.wait("high_watermark", offset, self._queue, marked) is None:
            done(None)

    def read(self, partition: int) -> Iterator[bytes]:
        """The log from its start to its end, in pieces."""
        log = self.partition(partition).log
        offset, end = log.log_start_offset, log.log_end_offset
        with _no_collection():
            while offset < end:
                piece = log.read(offset, _PIECE_BYTES)
                if piece is None:
                    return
                data = piece.read()
                yield data
                offset = _end_of(data)

    def end_offset(self, partition: int) -> int:
        """The log end offset."""
        return self.partition(partition).log.log_end_offset


_reading = 0
"""Partitions that are being read now."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cycle collector from looking, again and again, at all that a load makes and that stays."""
    global _reading
    _reading += 1
    gc.disable()
    try:
        yield
    finally:
        _reading -= 1
        if _reading == 0:
            gc.freeze()
            gc.enable()


def _end_of(data: bytes) -> int:
    """The offset after the last whole batch."""
    position, end = 0, 0
    while position + 61 <= len(data):
        size = 12 + int.from_bytes(data[position + 8 : position + 12], "big")
        if position + size > len(data):
            break
        base = int.from_bytes(data[position : position + 8], "big")
        end = base + int.from_bytes(data[position + 23 : position + 27], "big") + 1
        position += size
    return end


class ImageTopics:
    """The topics of a metadata image as groups see them.

    Args:
        image: the cluster at one moment.
    """

    __slots__ = ("_image",)

    def __init__(self, image: MetadataImage) -> None:
        self._image = image

    def by_name(self, name: str) -> TopicInfo | None:
        """The topic of that name."""
        topic = self._image.topics.get(name)
        if topic is None:
            return None
        racks: dict[int, str | None] = {number: broker.rack for number, broker in self._image.brokers.items()}
        placed: tuple[frozenset[str], ...] = ()
        if any(rack is not None for rack in racks.values()):
            placed = tuple(
                frozenset(rack for rack in map(racks.get, partition.replicas) if rack is not None)
                for partition in topic.partitions.values()
            )
        return TopicInfo(topic.name, topic.topic_id, len(topic.partitions), placed)

    def by_id(self, topic_id: UUID) -> TopicInfo | None:
        """The topic of that id."""
        name = self._image.names.get(topic_id)
        return None if name is None else self.by_name(name)

    def names(self) -> Iterable[str]:
        """Every topic's name."""
        return self._image.topics.keys()


def group_settings(config: BrokerConfig) -> GroupSettings:
    """The coordinator's settings from the broker's configs."""
    return GroupSettings(
        min_session_timeout_ms=config["group.min.session.timeout.ms"],
        max_session_timeout_ms=config["group.max.session.timeout.ms"],
        initial_rebalance_delay_ms=config["group.initial.rebalance.delay.ms"],
        max_size=config["group.max.size"],
        offset_metadata_max_bytes=config["offset.metadata.max.bytes"],
        offsets_retention_ms=config["offsets.retention.minutes"] * 60_000,
        offsets_retention_check_interval_ms=config["offsets.retention.check.interval.ms"],
        consumer_session_timeout_ms=config["group.consumer.session.timeout.ms"],
        consumer_heartbeat_interval_ms=config["group.consumer.heartbeat.interval.ms"],
        consumer_max_size=config["group.consumer.max.size"],
        consumer_assignors=tuple(config["group.consumer.assignors"]),
        consumer_assignment_interval_ms=config["group.consumer.assignment.interval.ms"],
        migration_policy=MigrationPolicy(config["group.consumer.migration.policy"].lower()),
    )


class GroupService:
    """The group coordinator of a broker.

    Args:
        config: of the broker.
        registry: its partitions.
        cache: what it knows of the cluster.
        topics: creates the internal topic when it is first needed.
        queue: brings events of the data plane to the loop.
        clock: time.
    """

    def __init__(
        self,
        config: BrokerConfig,
        registry: Registry,
        cache: MetadataCache,
        topics: TopicAdmin,
        queue: NotifyQueue,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._topics = topics
        internal = InternalTopic(GROUP_TOPIC, registry, queue)
        limits = RuntimeSettings(commit_timeout_ms=config["offsets.commit.timeout.ms"])
        partitions = config["offsets.topic.num.partitions"]
        settings = group_settings(config)
        self._lanes = CommitLanes(
            partitions,
            internal.partition,
            queue,
            lambda index: self.coordinator.runtime.catch_up(index),
            {code.value: seen.value for code, seen in AS_SEEN_BY_CLIENTS.items()},
            metadata_max=settings.offset_metadata_max_bytes,
            timeout_ms=limits.commit_timeout_ms,
            batch_max=limits.max_batch_bytes,
        )
        self._configs = GroupConfigs(cache, config, lambda group_id: self.coordinator.group_configured(group_id))
        self.coordinator = GroupCoordinator(
            internal,
            internal,
            LoopTimers(),
            clock,
            replace(settings, own_times=self._configs.times),
            limits,
            partitions=partitions,
            topics=lambda: ImageTopics(cache.image),
            lanes=self._lanes,
        )
        self._known = frozenset(cache.image.topics)
        cache.add_listener(self._image_changed)

    @staticmethod
    def caller(context: RequestContext) -> Caller:
        """Who asks, as groups keep it."""
        host = context.connection.peer.rpartition(":")[0]
        return Caller(context.client_id or "", f"/{host}", context.version)

    def keeps(
        self, context: RequestContext, key: int, request: HeartbeatRequest | ConsumerGroupHeartbeatRequest
    ) -> Callable[[int, Response], None] | None:
        """Has the network threads answer a heartbeat as it is answered now; None where they cannot."""
        connection, version, standing = context.connection, context.version, self.coordinator.standing
        if not connection.ordered:
            return None

        def keep(round_: int, response: Response) -> None:
            answer = response_header(key, version, 0) + response.encode(version)
            standing.keep(request.group_id, request.member_id, round_, connection.id, context.frame, answer)

        return keep

    def allow_commits(self, connection: Connection, commit: CommitRequest) -> None:
        """Have the network threads take commits like one that was kept just now, where they can."""
        if not connection.ordered or not self.coordinator.allow_commits(commit, connection.id):
            return
        for name in commit.names:
            topic = self._cache.image.topics[name]
            if not self._lanes.knows(name) and max(topic.partitions) == len(topic.partitions) - 1:
                self._lanes.know(name, topic.topic_id, len(topic.partitions))

    def serve(self, reactor: Reactor) -> None:
        """Have a reactor's network threads answer heartbeats and take commits."""
        reactor.answer_standing(self.coordinator.standing)
        reactor.take_commits(self._lanes)

    def became_leader(self, partition: int, epoch: int) -> None:
        """This broker leads a partition of the internal topic from an epoch on: load its groups."""
        self.coordinator.load(partition, epoch)

    def became_follower(self, partition: int, epoch: int) -> None:
        """This broker leads a partition of the internal topic no more; ``epoch`` is -1 when it hosts it no more either."""
        self.coordinator.unload(partition, epoch if epoch >= 0 else None)

    async def find(self, group_id: str, listener: str) -> tuple[int, Endpoint]:
        """The broker that coordinates a group, and where that broker is reached by the listener's name.

        Raises:
            KafkaError: COORDINATOR_NOT_AVAILABLE when there is none at the moment.
        """
        if GROUP_TOPIC not in self._cache.image.topics:
            await self._topics.auto_create([GROUP_TOPIC])
        image = self._cache.image
        index = self.coordinator.partition_of(group_id)
        partition = image.partition(GROUP_TOPIC, index)
        leader = None if partition is None else image.leader(partition)
        endpoint = None if leader is None else leader.endpoints.get(listener)
        if leader is None or endpoint is None:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{GROUP_TOPIC}-{index} has no leader at the moment")
        return leader.broker_id, endpoint

    def close(self) -> None:
        """Stop; whoever waits is told NOT_COORDINATOR."""
        self._cache.remove_listener(self._image_changed)
        self._configs.close()
        self.coordinator.shut_down()

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        changed = delta.topics | delta.deleted_topics
        self._lanes.forget(changed)
        if delta.brokers:
            # brokers may have come with racks
            changed |= image.topics.keys()
        if changed:
            names = bool(delta.deleted_topics) or any(topic not in self._known for topic in delta.topics)
            self._known = frozenset(image.topics)
            self.coordinator.topics_changed(changed, names=names)
        if delta.deleted_topics:
            self.coordinator.topics_deleted(delta.deleted_topics)
