"""Who is controller: election through the coordination store, and what brokers and clients may ask of the one elected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

from kafkax.clock import Clock, SystemClock
from kafkax.cluster import znodes
from kafkax.cluster.controller.alter_partition import alter_partitions
from kafkax.cluster.controller.channels import ChannelFactory, Channels
from kafkax.cluster.controller.context import Context, LiveBroker
from kafkax.cluster.controller.deletion import Deletions
from kafkax.cluster.controller.ledger import ControllerMovedError
from kafkax.cluster.controller.queue import EventQueue
from kafkax.cluster.controller.reassignment import Reassignments
from kafkax.cluster.controller.requests import ControlRequest
from kafkax.cluster.controller.shutdown import shut_down_broker
from kafkax.cluster.controller.tenure import Hints, Settings, Tenure
from kafkax.cluster.producer_ids import allocate_block
from kafkax.cluster.store import (
    Check,
    CoordinationStore,
    Create,
    Delete,
    MultiError,
    NodeExistsError,
    SessionState,
    SetData,
    Stat,
    StoreError,
)
from kafkax.cluster.znodes import ControllerRegistration, ProducerIdBlock, ReplicaAssignment
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.message import Response
from kafkax.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse
from kafkax.protocol.messages.leader_and_isr import LeaderAndIsrRequest, LeaderAndIsrResponse
from kafkax.protocol.messages.stop_replica import StopReplicaRequest, StopReplicaResponse

__all__ = ["Controller", "ElectionType"]

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.1
_RETRY_AFTER_DEFECT_SECONDS = 5.0
_T = TypeVar("_T")


class ElectionType(Enum):
    """What ElectLeaders asks for, numbered as on the wire (KIP-460)."""

    PREFERRED = 0
    UNCLEAN = 1


class _Office:
    """The active controller's tenure and its helpers."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self.deletions = Deletions(tenure)
        self.reassignments = Reassignments(tenure)


class Controller:
    """A candidate for controller on every broker; active on one.

    Elections and everything the active controller does run on one event queue.  It stops being active, forgetting all it
    knows, when another one was elected, when the connection is suspended or when a write's outcome is not known; whether it
    still holds the office is then read from the store.

    Args:
        broker_id: this broker, which must be registered before :meth:`start`.
        store: the coordination store.
        channels: makes the way to a broker.
    """

    def __init__(
        self,
        broker_id: int,
        store: CoordinationStore,
        channels: ChannelFactory,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.broker_id = broker_id
        self._store = store
        self._channel_factory = channels
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._queue = EventQueue(self._event_failed)
        self._office: _Office | None = None
        self._session = SessionState.CONNECTED
        self._rebalance: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether this broker is the controller, as far as it knows."""
        return self._office is not None

    @property
    def epoch(self) -> int:
        """The controller epoch of the present tenure, 0 when not active."""
        return 0 if self._office is None else self._office.tenure.context.epoch

    async def start(self) -> None:
        """Take part in elections; returns when the first one is decided."""
        self._store.add_session_listener(self._session_changed)
        await self._store.watch_nodes([znodes.CONTROLLER], self._controller_changed)
        self._queue.start()
        await self._queue.run(self._elect)

    async def close(self) -> None:
        """Stop taking part, and let go of the office at once, so that another one may take it."""
        self._closed = True
        await self._queue.close()
        office = self._office
        self._resign()
        if office is not None and self._session is SessionState.CONNECTED:
            fence = Check(znodes.CONTROLLER_EPOCH, office.tenure.context.epoch_version)
            try:
                await self._store.multi([fence, Delete(znodes.CONTROLLER)])
            except StoreError as error:
                _log.info("the office is left by the session's end: %s", error)
        if self._closing:
            await asyncio.wait(self._closing)

    # Election

    def _controller_changed(self, _: str) -> None:
        self._queue.hint("elect", self._elect)

    def _session_changed(self, state: SessionState) -> None:
        self._session = state
        if state is SessionState.CONNECTED:
            self._queue.hint("elect", self._elect)
        else:
            self._resign()

    async def _elect(self) -> None:
        """Take the office if it is free or still ours; leave it if it is another's."""
        if self._session is not SessionState.CONNECTED:
            return
        found = await self._store.find(znodes.CONTROLLER)
        if found is None:
            await self._take_office(None)
        elif found[1].ephemeral_owner == self._store.session_id:
            if self._office is None:
                await self._take_office(found[1])
        else:
            self._resign()

    async def _take_office(self, held: Stat | None) -> None:
        """Begin a tenure with the next controller epoch.

        Args:
            held: stat of the controller znode if this session owns it already: the answer to its creation was lost
                (KAFKA-6584), or the connection was suspended.
        """
        epoch, version = await self._read_epoch()
        data = ControllerRegistration(self.broker_id, self._clock.wall_ms()).encode()
        claim = Create(znodes.CONTROLLER, data, ephemeral=True) if held is None else Check(znodes.CONTROLLER, held.version)
        try:
            await self._store.multi([claim, SetData(znodes.CONTROLLER_EPOCH, b"%d" % (epoch + 1), version)])
        except MultiError as failure:
            _log.info("controller election lost: %s", failure)
            self._queue.hint("elect", self._elect)
            return
        self._resign()
        context = Context(self.broker_id)
        context.epoch, context.epoch_version = epoch + 1, version + 1
        channels = Channels(self._channel_factory, self._answered, self._broker_refused)
        office = self._office = _Office(Tenure(self._store, context, channels, self._settings, self._hints()))
        _log.info("elected controller with epoch %d", context.epoch)
        await office.tenure.load()
        await office.tenure.begin()
        await self._advance()
        await office.deletions.requested()
        await office.tenure.preferred_requested()
        await office.reassignments.requested()
        await office.tenure.isr_notified()
        await office.tenure.log_dirs_failed()
        self._schedule_rebalance()

    async def _read_epoch(self) -> tuple[int, int]:
        found = await self._store.find(znodes.CONTROLLER_EPOCH)
        if found is None:
            try:
                await self._store.create(znodes.CONTROLLER_EPOCH, b"0")
            except NodeExistsError:
                _log.debug("another candidate created %s", znodes.CONTROLLER_EPOCH)
            found = await self._store.get(znodes.CONTROLLER_EPOCH)
        return znodes.decode_controller_epoch(found[0]), found[1].version

    def _resign(self) -> None:
        """Forget everything and stop sending.  An event that still runs can't write once somebody else took the office."""
        office, self._office = self._office, None
        if self._rebalance is not None:
            self._rebalance.cancel()
            self._rebalance = None
        if office is not None:
            _log.info("no longer controller, epoch %d", office.tenure.context.epoch)
            task = asyncio.get_running_loop().create_task(office.tenure.channels.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    # Events

    def _event_failed(self, error: Exception) -> None:
        # Where things stand is no longer known; the office is taken again, or found to be another's, by a new election.
        delay = _RETRY_SECONDS
        if isinstance(error, ControllerMovedError | StoreError):
            _log.warning("the controller stops: %s", error)
        else:
            _log.error("an event of the controller failed", exc_info=error)
            delay = _RETRY_AFTER_DEFECT_SECONDS
        self._resign()
        if not self._closed:
            asyncio.get_running_loop().call_later(delay, self._queue.hint, "elect", self._elect)

    def _hints(self) -> Hints:
        def hint(name: str, handler: Callable[[_Office], Awaitable[None]]) -> Callable[[str], None]:
            return lambda _path: self._queue.hint(name, lambda: self._in_office(handler))

        def topic_changed(path: str) -> None:
            name = path.removeprefix(f"{znodes.TOPICS}/")
            self._queue.hint(("topic", name), lambda: self._in_office(lambda office: office.tenure.topic_changed(name)))

        brokers = hint("brokers", self._brokers_changed)
        return Hints(
            brokers=brokers,
            broker=brokers,
            topics=hint("topics", lambda office: office.tenure.topics_changed()),
            topic=topic_changed,
            deletions=hint("deletions", lambda office: office.deletions.requested()),
            preferred=hint("preferred", lambda office: office.tenure.preferred_requested()),
            reassignments=hint("reassignments", lambda office: office.reassignments.requested()),
            isr_changes=hint("isr", lambda office: office.tenure.isr_notified()),
            log_dirs=hint("log dirs", lambda office: office.tenure.log_dirs_failed()),
        )

    async def _in_office(self, handler: Callable[[_Office], Awaitable[None]]) -> None:
        if self._office is not None:
            await handler(self._office)

    async def _brokers_changed(self, office: _Office) -> None:
        await office.tenure.brokers_changed()
        await self._advance()

    async def _advance(self) -> None:
        """Go on with what waited for a broker or an ISR."""
        if self._office is not None:
            await self._office.reassignments.advance([partition for partition, _ in self._office.reassignments.under_way()])
            await self._office.deletions.advance()

    def _answered(self, broker_id: int, request: ControlRequest, response: Response) -> None:
        if isinstance(request, StopReplicaRequest) and isinstance(response, StopReplicaResponse):
            self._queue.put(lambda: self._in_office(lambda office: office.deletions.stopped(broker_id, request, response)))
        elif isinstance(request, LeaderAndIsrRequest) and isinstance(response, LeaderAndIsrResponse):
            offline = _offline_replicas(request, response)
            if offline:
                self._queue.put(lambda: self._in_office(lambda office: office.tenure.replicas_offline(broker_id, offline)))

    def _broker_refused(self, broker: LiveBroker) -> None:
        async def remove(office: _Office) -> None:
            if await office.tenure.remove_dead(broker):
                await self._brokers_changed(office)

        key = ("refused", broker.registration.broker_id)
        self._queue.hint(key, lambda: self._in_office(remove))

    def _schedule_rebalance(self) -> None:
        if self._settings.auto_rebalance and self._office is not None:
            loop = asyncio.get_running_loop()
            self._rebalance = loop.call_later(self._settings.rebalance_interval_s, self._queue.put, self._rebalance_leaders)

    async def _rebalance_leaders(self) -> None:
        if self._office is not None:
            await self._office.tenure.rebalance()
            self._schedule_rebalance()

    # Requests

    async def _request(self, handler: Callable[[_Office], Awaitable[_T]]) -> _T:
        """Run a request on the queue.

        Raises:
            KafkaError: NOT_CONTROLLER when the office is another's or was lost on the way.
        """

        async def event() -> _T:
            if self._office is None:
                raise KafkaError(ErrorCode.NOT_CONTROLLER)
            return await handler(self._office)

        try:
            return await self._queue.run(event)
        except (ControllerMovedError, StoreError) as error:
            self._event_failed(error)
            raise KafkaError(ErrorCode.NOT_CONTROLLER, f"the controller stopped: {error}") from error

    async def alter_partition(self, request: AlterPartitionRequest) -> AlterPartitionResponse:
        """Change ISRs as their leader asks (KIP-497)."""

        async def handle(office: _Office) -> AlterPartitionResponse:
            response, changed = await alter_partitions(office.tenure.context, office.tenure.ledger, request)
            with office.tenure.batch() as batch:
                batch.metadata(office.tenure.context.brokers if changed else (), sorted(changed))
            await office.reassignments.advance(sorted(changed))
            return response

        try:
            return await self._request(handle)
        except KafkaError as error:
            return AlterPartitionResponse(error_code=error.code)

    async def shut_down_broker(self, broker_id: int, broker_epoch: int) -> list[TopicPartition]:
        """Hand over what a broker leads before it stops; returns what it still leads.

        Raises:
            KafkaError: NOT_CONTROLLER, BROKER_NOT_AVAILABLE, STALE_BROKER_EPOCH.
        """
        return await self._request(lambda office: shut_down_broker(office.tenure, broker_id, broker_epoch))

    async def allocate_producer_ids(self, broker_id: int, broker_epoch: int) -> ProducerIdBlock:
        """Take the next block of producer ids for a broker (KIP-730).

        Raises:
            KafkaError: NOT_CONTROLLER, STALE_BROKER_EPOCH, UNKNOWN_SERVER_ERROR when the ids are used up.
        """

        async def handle(office: _Office) -> ProducerIdBlock:
            live = office.tenure.context.brokers.get(broker_id)
            if live is None or live.epoch != broker_epoch:
                raise KafkaError(ErrorCode.STALE_BROKER_EPOCH)
            return await allocate_block(self._store, broker_id)

        return await self._request(handle)

    async def elect_leaders(
        self, election: ElectionType, partitions: Sequence[TopicPartition] | None
    ) -> dict[TopicPartition, KafkaError | None]:
        """Elect leaders as an operator asks; None: for every partition that needs it, which alone are then in the answer.

        Raises:
            KafkaError: NOT_CONTROLLER.
        """
        return await self._request(lambda office: _elect_leaders(office.tenure, election, partitions))

    async def alter_reassignments(
        self, targets: Mapping[TopicPartition, Sequence[int] | None]
    ) -> dict[TopicPartition, KafkaError | None]:
        """Begin, replace or (None) cancel moves of partitions to other replicas (KIP-455).

        Raises:
            KafkaError: NOT_CONTROLLER.
        """
        return await self._request(lambda office: office.reassignments.alter(targets))

    async def list_reassignments(self) -> list[tuple[TopicPartition, ReplicaAssignment]]:
        """The moves under way.

        Raises:
            KafkaError: NOT_CONTROLLER.
        """

        async def handle(office: _Office) -> list[tuple[TopicPartition, ReplicaAssignment]]:
            return office.reassignments.under_way()

        return await self._request(handle)


def _offline_replicas(request: LeaderAndIsrRequest, response: LeaderAndIsrResponse) -> set[TopicPartition]:
    names = {topic.topic_id: topic.topic_name for topic in request.topic_states}
    errors = [(names.get(topic.topic_id, ""), error) for topic in response.topics for error in topic.partition_errors]
    errors += [(error.topic_name, error) for error in response.partition_errors]
    return {
        TopicPartition(name, error.partition_index) for name, error in errors if error.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    }


async def _elect_leaders(
    tenure: Tenure, election: ElectionType, partitions: Sequence[TopicPartition] | None
) -> dict[TopicPartition, KafkaError | None]:
    context = tenure.context
    asked = [partition for partition, _ in context.partitions()] if partitions is None else list(partitions)
    outcomes: dict[TopicPartition, KafkaError | None] = {}
    needed: list[TopicPartition] = []
    for partition in asked:
        assignment = context.assignment(partition)
        if assignment is None or partition.topic in context.deleting:
            outcomes[partition] = KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{partition} does not exist")
        elif (
            context.leader(partition) == assignment.replicas[0]
            if election is ElectionType.PREFERRED
            else not context.lacks_leader(partition)
        ):
            outcomes[partition] = KafkaError(ErrorCode.ELECTION_NOT_NEEDED)
        else:
            needed.append(partition)
    if election is ElectionType.PREFERRED:
        elected = await tenure.elect_preferred(needed)
        failure = ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
    else:
        elected = await tenure.elect_leaderless(forced=frozenset(needed))
        failure = ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
    outcomes.update((p, None if p in elected else KafkaError(failure, f"{p}: no replica can lead")) for p in needed)
    if partitions is None:
        outcomes = {p: e for p, e in outcomes.items() if e is None or e.code is not ErrorCode.ELECTION_NOT_NEEDED}
    return outcomes
