"""The coordinator runtime: operation, records, append, replay, answer on commit.

A coordinator's state is the replay of an internal topic.  Each partition of the topic has its own shard of state, which
lives on the broker that leads the partition.  An operation looks at the shard and returns records and a response.  The
runtime replays the records at once, so that the next operation sees their effect, appends those of all operations
that came in together as one batch, and gives out each response once its records are committed.  An append that is refused
takes the state back to where it was.  The runtime knows nothing of what the records mean.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from kafkax._core.batch_writer import BatchWriter
from kafkax.clock import Clock
from kafkax.coordinator.batches import Block, Entries, Entry, batch_size, encode_marker, finish_batch, read_batches
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.timers import KeyedTimers, TimerHandle, Timers
from kafkax.coordinator.undo import UndoLog
from kafkax.errors import ErrorCode, KafkaError

__all__ = [
    "Appender",
    "CoordinatorRuntime",
    "Kept",
    "Lanes",
    "Loader",
    "Producer",
    "Result",
    "RuntimeSettings",
    "Shard",
    "Waiter",
]

log = logging.getLogger(__name__)

R = TypeVar("R", contravariant=True)
S = TypeVar("S", bound="Shard[Any]")
T = TypeVar("T")


class Producer(NamedTuple):
    """The transactional producer on whose behalf records are written."""

    id: int
    epoch: int


@dataclass(slots=True)
class Result(Generic[T]):
    """What an operation returns.

    Attributes:
        records: to append, in order, all or none; may be empty.
        response: given out once the records, and everything written before them, are committed.
        replay: false when the shard has applied the records itself; what it changed in its undoable state is taken
            back all the same when the operation or the append fails.
        on_commit: called with None once the records are committed, or with the error that kept them from it, before
            the response is given out.
        on_undo: called when what the operation did was taken back, for what the undo log does not know.  An answer that
            only waits too long for its commit takes nothing back: the records stay, and may yet be committed.
        block: records to append instead of ``records``, which the shard has applied itself.
    """

    records: list[Any]
    response: T
    replay: bool = True
    on_commit: Callable[[KafkaError | None], None] | None = None
    on_undo: Callable[[], None] | None = None
    block: Block | None = None


class Shard(Protocol[R]):
    """The state that one partition of the internal topic holds."""

    def encode(self, record: R) -> Entry:
        """The record's key and value as they stand in the log."""

    def replay(self, record: R, producer: Producer | None) -> None:
        """Apply a record; the only way in which committed state changes."""

    def keep(self, block: Any) -> bool:
        """Apply what is its own records, unless there is something to object; it raises nothing."""

    def load(self, entries: Iterable[Entry], producer: Producer | None) -> None:
        """Apply the records of one batch of the log."""

    def load_plain(self, piece: bytes, position: int) -> int:
        """Apply plain batches (neither compressed, transactional nor control) of a piece of the log from ``position`` on.

        A quick way for what is read by the million: it may end before any batch.

        Returns:
            Where it ended: the start of a batch, or of one that is not whole.
        """

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """Make what the producer wrote count, or drop it."""

    def loaded(self) -> None:
        """The whole log has been applied; the shard serves from now on."""

    def catch_up(self, batches: bytes) -> None:
        """Apply plain batches that reached the log past the runtime; they are not undone."""

    def unloaded(self) -> None:
        """The shard serves no more; whoever waits in it must be answered now."""


class Appender(Protocol):
    """Writes to the internal topic."""

    def append(self, partition: int, batch: bytes) -> int:
        """Append a record batch to the log of a partition led here.

        Returns:
            The offset after the batch.

        Raises:
            KafkaError: nothing was appended.
        """

    def when_committed(self, partition: int, offset: int, done: Callable[[KafkaError | None], None]) -> None:
        """Call ``done`` once the high watermark has reached ``offset``, or with the error that makes it never."""


class Loader(Protocol):
    """Reads the internal topic."""

    def read(self, partition: int) -> Iterator[bytes]:
        """Whole batches from the log's start to its end, in pieces of a few hundred KiB; may raise KafkaError."""

    def end_offset(self, partition: int) -> int:
        """The log end offset."""


class Lanes(Protocol):
    """Appends records past the runtime, of the kind that a shard has allowed; see ``kafkax._core.commit_lanes``."""

    def open(self, index: int) -> None:
        """A shard serves; may raise KafkaError."""

    def shut(self, index: int) -> None:
        """It serves no more."""

    def halt(self, index: int) -> tuple[bytes, int]:
        """Append nothing before ``resume``; otherwise as ``take``."""

    def resume(self, index: int) -> None:
        """Append again."""

    def take(self, index: int) -> tuple[bytes, int]:
        """What was appended since this was last asked, and the offset after it."""


@dataclass(frozen=True)
class RuntimeSettings:
    """Limits of a runtime.

    Attributes:
        commit_timeout_ms: how long an answer waits for the commit (offsets.commit.timeout.ms).
        max_batch_bytes: largest batch that the internal topic takes (max.message.bytes).
    """

    commit_timeout_ms: int = 5_000
    max_batch_bytes: int = 1_048_588


class _State(Enum):
    LOADING = "loading"
    ACTIVE = "active"
    FAILED = "failed"


class Waiter(Protocol):
    """Whoever waits for records to be committed."""

    def undone(self, error: KafkaError) -> None:
        """They were not appended, and what they did was taken back."""

    def settle(self, error: KafkaError | None) -> None:
        """They are committed, or why that is not known."""


class Kept(Block, Waiter, Protocol):
    """Records of the ordinary kind that wait for themselves."""


@dataclass(slots=True)
class _Operation:
    """An operation that waits for its commit."""

    promise: Promise[Any]
    response: Any
    on_commit: Callable[[KafkaError | None], None] | None
    on_undo: Callable[[], None] | None

    def undone(self, error: KafkaError) -> None:
        """What the operation did was taken back."""
        if self.on_undo is not None:
            self.on_undo()
        self.settle(error)

    def settle(self, error: KafkaError | None) -> None:
        if self.on_commit is not None:
            self.on_commit(error)
        if error is None:
            self.promise.resolve(self.response)
        else:
            self.promise.fail(error)


@dataclass(slots=True)
class _Batch:
    """An appended batch that is not committed yet."""

    end_offset: int
    deadline: float
    waiters: list[Waiter]


@dataclass
class _Partition(Generic[S]):
    """One shard and its unfinished writes."""

    index: int
    epoch: int
    shard: S
    timers: KeyedTimers
    undo: UndoLog
    state: _State = _State.LOADING
    batch: BatchWriter = field(default_factory=BatchWriter)
    waiters: list[Waiter] = field(default_factory=list)
    flush_scheduled: bool = False
    busy: int = 0
    """Operations that run, one within the other."""
    lane_end: int = 0
    """The offset after what reached the log past the runtime."""
    uncommitted: deque[_Batch] = field(default_factory=deque)
    watchdog: TimerHandle | None = None


class CoordinatorRuntime(Generic[S]):
    """Runs operations on the shards of one internal topic.  Single-threaded.

    Args:
        make_shard: makes an empty shard from its partition, its timers and its undo log.  A timer's action is an
            operation on the shard: it takes the shard and returns a :class:`Result`.
        appender: writes to the internal topic.
        loader: reads it.
        timers: queue of callbacks.
        clock: time.
        settings: limits.
        lanes: append past the runtime while it has nothing of its own to append; the shard is told before anybody looks at it.
    """

    def __init__(
        self,
        make_shard: Callable[[int, KeyedTimers, UndoLog], S],
        appender: Appender,
        loader: Loader,
        timers: Timers,
        clock: Clock,
        settings: RuntimeSettings | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self._lanes = lanes
        self._make_shard = make_shard
        self._appender = appender
        self._loader = loader
        self._timers = timers
        self._clock = clock
        self._settings = settings or RuntimeSettings()
        self._partitions: dict[int, _Partition[S]] = {}

    # -- leadership ------------------------------------------------------------------------------------------------

    def load(self, index: int, epoch: int) -> Promise[None]:
        """Become the coordinator of a partition: replay its log, then serve.

        Args:
            index: the partition of the internal topic.
            epoch: its leader epoch; a load at an epoch that is not newer does nothing.

        Returns:
            Done when the shard serves; fails when the log cannot be read or leadership is lost meanwhile.
        """
        current = self._partitions.get(index)
        if current is not None:
            if current.epoch >= epoch:
                return Promise.of(None)
            if current.state is _State.ACTIVE:
                # The same broker leads on: its state is the log's already.
                current.epoch = epoch
                return Promise.of(None)
            self._drop(current)
        undo = UndoLog()
        keyed = KeyedTimers(self._timers, self._clock, lambda operation: self._timer_fired(index, operation))
        partition = _Partition(index, epoch, self._make_shard(index, keyed, undo), keyed, undo)
        self._partitions[index] = partition
        promise: Promise[None] = Promise()
        self._timers.soon(lambda: self._load_step(partition, self._loader.read(index), promise))
        return promise

    def unload(self, index: int, epoch: int | None = None) -> None:
        """Stop being the coordinator of a partition; waiting operations fail with NOT_COORDINATOR.

        Args:
            index: the partition of the internal topic.
            epoch: the leader epoch in which leadership went; an older one than the loaded one is ignored.
        """
        partition = self._partitions.get(index)
        if partition is not None and (epoch is None or epoch >= partition.epoch):
            self._drop(partition)

    def _drop(self, partition: _Partition[S]) -> None:
        del self._partitions[partition.index]
        if self._lanes is not None:
            self._lanes.shut(partition.index)
        partition.timers.cancel_all()
        if partition.watchdog is not None:
            partition.watchdog.cancel()
        error = KafkaError(ErrorCode.NOT_COORDINATOR, f"partition {partition.index} moved to another coordinator")
        batches, partition.uncommitted = partition.uncommitted, deque()
        waiters, partition.waiters = partition.waiters, []
        for waiter in [waiter for batch in batches for waiter in batch.waiters] + waiters:
            waiter.settle(error)
        partition.shard.unloaded()
        # What callbacks set anew while they were told must not fire either.
        partition.timers.cancel_all()

    def _load_step(self, partition: _Partition[S], pieces: Iterator[bytes], promise: Promise[None]) -> None:
        if self._partitions.get(partition.index) is not partition:
            promise.fail(KafkaError(ErrorCode.NOT_COORDINATOR, f"partition {partition.index} moved while it was loaded"))
            return
        try:
            piece = next(pieces, None)
            if piece is not None:
                _replay_piece(partition.shard, piece)
                # One piece per turn: the loop serves everything else between two.
                self._timers.soon(lambda: self._load_step(partition, pieces, promise))
                return
            end_offset = self._loader.end_offset(partition.index)
            partition.shard.loaded()
            if self._lanes is not None:
                self._lanes.open(partition.index)
        except Exception as error:
            log.exception("coordinator partition %d could not be loaded", partition.index)
            partition.state = _State.FAILED
            promise.fail(error)
            return
        partition.state = _State.ACTIVE
        partition.undo.active = True
        self._await_commit(partition, end_offset, [])
        promise.resolve(None)

    def active(self) -> list[int]:
        """The partitions that serve, sorted."""
        return sorted(index for index, partition in self._partitions.items() if partition.state is _State.ACTIVE)

    def serving(self, index: int) -> S | None:
        """The shard of a partition that is loaded; None of others."""
        partition = self._partitions.get(index)
        return partition.shard if partition is not None and partition.state is _State.ACTIVE else None

    def loading(self) -> list[int]:
        """The partitions that are being loaded, sorted."""
        return sorted(index for index, partition in self._partitions.items() if partition.state is _State.LOADING)

    # -- operations ------------------------------------------------------------------------------------------------

    def shard(self, index: int) -> S:
        """The shard itself, for operations that neither write nor depend on what is not committed yet.

        Raises:
            KafkaError: NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS.
        """
        return self._active(index).shard

    def catch_up(self, index: int) -> None:
        """Have a shard apply what reached its log past the runtime, if it serves."""
        partition = self._partitions.get(index)
        if partition is not None and partition.state is _State.ACTIVE:
            self._catch_up(partition)

    def _catch_up(self, partition: _Partition[S], *, halt: bool = False) -> None:
        if self._lanes is None or partition.batch.count:
            # halted since before the first record of the batch
            return
        batches, end = self._lanes.halt(partition.index) if halt else self._lanes.take(partition.index)
        partition.lane_end = max(partition.lane_end, end)
        if batches:
            partition.shard.catch_up(batches)

    @contextmanager
    def _working(self, partition: _Partition[S]) -> Iterator[None]:
        """While the shard may change nothing reaches its log past the runtime, nor before what changed is appended."""
        partition.busy += 1
        try:
            self._catch_up(partition, halt=True)
            yield
        finally:
            partition.busy -= 1
            self._resume(partition)

    def _resume(self, partition: _Partition[S]) -> None:
        if self._lanes is not None and not partition.busy and not partition.batch.count:
            self._lanes.resume(partition.index)

    def write(self, index: int, operation: Callable[[S], Result[T]], producer: Producer | None = None) -> Promise[T]:
        """Run an operation.

        Args:
            index: the partition of the internal topic.
            operation: takes the shard; raises KafkaError instead of returning when it refuses.
            producer: the transactional producer in whose name the records are written, in a batch of their own.

        Returns:
            The response, once committed; fails with a KafkaError otherwise.
        """
        promise: Promise[T] = Promise()
        with _failing(promise):
            partition = self._active(index)
            with self._working(partition):
                self._run(partition, operation, promise, producer)
        return promise

    def read(self, index: int, operation: Callable[[S], T]) -> Promise[T]:
        """Look at the state; the answer is given out once everything that it may show is committed."""
        promise: Promise[T] = Promise()
        with _failing(promise):
            partition = self._active(index)
            self._catch_up(partition)
            self._join_last_write(partition, _Operation(promise, operation(partition.shard), None, None))
        return promise

    def keep(self, index: int, block: Kept) -> bool:
        """Run an operation that is its own records and waits for them itself: many such come at once.

        Args:
            index: the partition of the internal topic.
            block: told once it is committed, or why it is not.

        Returns:
            False when this broker does not serve the partition or the shard does not take it; nothing was done then.
        """
        partition = self._partitions.get(index)
        if partition is None or partition.state is not _State.ACTIVE:
            return False
        with self._working(partition):
            mark = len(partition.undo.entries)
            if not partition.shard.keep(block):
                return False
            self._gather(partition, block, mark, block)
        return True

    def end_transaction(self, index: int, producer: Producer, coordinator_epoch: int, *, commit: bool) -> Promise[None]:
        """Write a transaction marker and apply it.

        Args:
            index: the partition of the internal topic.
            producer: whose transaction ends.
            coordinator_epoch: epoch of the transaction coordinator.
            commit: whether its records count.
        """
        promise: Promise[None] = Promise()
        with _failing(promise):
            partition = self._active(index)
            with self._working(partition):
                self._flush(partition)
                marker = encode_marker(producer, coordinator_epoch, self._clock.wall_ms(), commit=commit)
                end_offset = self._appender.append(index, marker)
                partition.shard.end_transaction(producer.id, commit=commit)
                partition.undo.clear()
                self._await_commit(partition, end_offset, [_Operation(promise, None, None, None)])
        return promise

    def _active(self, index: int) -> _Partition[S]:
        partition = self._partitions.get(index)
        if partition is None or partition.state is _State.FAILED:
            raise KafkaError(ErrorCode.NOT_COORDINATOR, f"this broker does not lead partition {index} of the internal topic")
        if partition.state is _State.LOADING:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, f"partition {index} is still being loaded; try again")
        return partition

    def _run(
        self, partition: _Partition[S], operation: Callable[[S], Result[T]], promise: Promise[T], producer: Producer | None
    ) -> None:
        mark = partition.undo.mark()
        try:
            result = operation(partition.shard)
            waiter = _Operation(promise, result.response, result.on_commit, result.on_undo)
            block = result.block
            if block is None:
                if not result.records:
                    self._join_last_write(partition, waiter)
                    return
                block = Entries([partition.shard.encode(record) for record in result.records])
                if result.replay:
                    for record in result.records:
                        partition.shard.replay(record, producer)
        except Exception:
            partition.undo.rollback(mark)
            raise
        self._gather(partition, block, mark, waiter, producer)

    def _gather(
        self, partition: _Partition[S], block: Block, mark: int, waiter: Waiter, producer: Producer | None = None
    ) -> None:
        """Add records that are applied to those that are appended together.

        Args:
            partition: whose.
            block: the records.
            mark: where the undo log stood before they were applied.
            waiter: told once they are committed.
            producer: in whose transaction.
        """
        limit = self._settings.max_batch_bytes
        if block.size > limit:
            partition.undo.rollback(mark)
            why = f"the records take {block.size} bytes, the internal topic takes {limit}"
            waiter.undone(KafkaError(ErrorCode.RECORD_LIST_TOO_LARGE, why))
            return
        if producer is not None or partition.batch.size + block.size > limit:
            # What was gathered before goes first; when it goes wrong, this operation saw what is no more.
            error = self._flush(partition, upto=mark)
            if error is not None:
                waiter.undone(error)
                return
        block.write(partition.batch)
        partition.waiters.append(waiter)
        if producer is not None:
            self._flush(partition, producer)
        elif not partition.flush_scheduled:
            partition.flush_scheduled = True
            self._timers.soon(lambda: self._scheduled_flush(partition))

    def _join_last_write(self, partition: _Partition[S], waiter: Waiter) -> None:
        """Answer an operation without records once what was written before it is committed."""
        if partition.batch.count:
            partition.waiters.append(waiter)
        elif partition.lane_end > (partition.uncommitted[-1].end_offset if partition.uncommitted else 0):
            self._await_commit(partition, partition.lane_end, [waiter])
        elif partition.uncommitted:
            partition.uncommitted[-1].waiters.append(waiter)
        else:
            waiter.settle(None)

    def _timer_fired(self, index: int, operation: Callable[[S], Result[Any]]) -> None:
        def report(promise: Promise[Any]) -> None:
            if promise.error is not None:
                log.info("a timed coordinator operation on partition %d failed: %s", index, promise.error)

        self.write(index, operation).on_done(report)

    # -- appending and committing ----------------------------------------------------------------------------------

    def _scheduled_flush(self, partition: _Partition[S]) -> None:
        partition.flush_scheduled = False
        if self._partitions.get(partition.index) is partition:
            self._flush(partition)
            self._resume(partition)

    def _flush(self, partition: _Partition[S], producer: Producer | None = None, upto: int | None = None) -> KafkaError | None:
        """Append what has been gathered, as one batch; the error if that failed.

        Args:
            partition: whose.
            producer: in whose transaction.
            upto: mark in the undo log up to which changes belong to the batch; by default all do.
        """
        if not partition.batch.count:
            return None
        waiters, partition.waiters = partition.waiters, []
        try:
            batch = finish_batch(partition.batch, self._clock.wall_ms(), producer)
            end_offset = self._appender.append(partition.index, batch)
        except Exception as failure:
            partition.undo.rollback()
            if isinstance(failure, KafkaError):
                error = failure
            else:
                log.exception("appending to coordinator partition %d failed", partition.index)
                error = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the append failed: {failure!r}")
            for waiter in waiters:
                waiter.undone(error)
            return error
        partition.undo.clear(upto)
        self._await_commit(partition, end_offset, waiters)
        return None

    def _await_commit(self, partition: _Partition[S], end_offset: int, waiters: list[Waiter]) -> None:
        deadline = self._clock.monotonic() + self._settings.commit_timeout_ms / 1000
        partition.uncommitted.append(_Batch(end_offset, deadline, waiters))
        if partition.watchdog is None:
            partition.watchdog = self._timers.after(self._settings.commit_timeout_ms, lambda: self._expire(partition))
        self._appender.when_committed(partition.index, end_offset, lambda error: self._committed(partition, end_offset, error))

    def _committed(self, partition: _Partition[S], end_offset: int, error: KafkaError | None) -> None:
        uncommitted = partition.uncommitted
        while uncommitted and uncommitted[0].end_offset <= end_offset:
            for waiter in uncommitted.popleft().waiters:
                waiter.settle(error)

    def _expire(self, partition: _Partition[S]) -> None:
        """Fail the answers that waited too long for the commit; the records stay and may yet be committed."""
        partition.watchdog = None
        now = self._clock.monotonic() + 0.001
        overdue: list[Waiter] = []
        for batch in partition.uncommitted:
            if batch.deadline <= now:
                overdue += batch.waiters
                batch.waiters = []
            else:
                delay_ms = (batch.deadline - now) * 1000 + 1
                partition.watchdog = self._timers.after(delay_ms, lambda: self._expire(partition))
                break
        error = KafkaError(ErrorCode.REQUEST_TIMED_OUT, "the records were not committed in time; try again")
        for waiter in overdue:
            waiter.settle(error)


@contextmanager
def _failing(promise: Promise[Any]) -> Iterator[None]:
    """What is raised is what the promise fails with."""
    try:
        yield
    except KafkaError as error:
        promise.fail(error)
    except Exception as error:
        log.exception("a coordinator operation failed")
        promise.fail(KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the operation failed: {error!r}"))


def _replay_piece(shard: Shard[Any], piece: bytes) -> None:
    position = 0
    while position < len(piece):
        position = shard.load_plain(piece, position)
        size = batch_size(piece, position)
        if size is None:
            return
        for batch in read_batches(memoryview(piece)[position : position + size]):
            producer = Producer(batch.producer_id, batch.producer_epoch) if batch.transactional else None
            if batch.marker is not None:
                shard.end_transaction(batch.producer_id, commit=batch.marker)
            else:
                shard.load(batch.entries, producer)
        position += size
