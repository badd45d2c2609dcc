"""Moving partitions between log directories while they serve (AlterReplicaLogDirs, KIP-113).

A move fills a copy, the future log, in the other directory; reads and appends go on at the log in place.  Once the copy is nearly
there, appends wait for the moment that it takes to copy the rest, sync it, exchange the folders' names and put the copy in the
log's place.  A move that a stop or a crash interrupts goes on at the next start from what the copy holds.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from kafkax._core.log import Log
from kafkax._core.replication_quota import ReplicationQuota
from kafkax.clock import Clock
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.storage.manager import LogManager
from kafkax.storage.settings import Configs

__all__ = ["Moves"]

_log = logging.getLogger(__name__)

CHUNK = 1 << 20
"""Bytes copied at a time, and the most that is left to be copied while appends wait."""
RETRY_SECONDS = 1.0
"""Pause where nothing can be done for now."""


class Movable(Protocol):
    """What serves a partition; :class:`kafkax._core.partition.Partition` is one."""

    def replace_log(self, log: Log, settle: Callable[[], object]) -> None:
        """Have another log stand for the partition, once ``settle`` has made it equal."""


class Moves:
    """The moves of one broker.  Thread-safe.

    Args:
        logs: holds the logs and their copies.
        serving: gives what serves a partition, None while nothing does: its move then waits.
        broker: the broker's configs.
        clock: for ``replica.alter.log.dirs.io.max.bytes.per.second``, which may change while moves are under way.
    """

    def __init__(
        self, logs: LogManager, serving: Callable[[TopicPartition], Movable | None], broker: Configs, clock: Clock
    ) -> None:
        self._logs = logs
        self._serving = serving
        samples = broker["alter.log.dirs.replication.quota.window.num"]
        self._quota = ReplicationQuota(samples, broker["alter.log.dirs.replication.quota.window.size.seconds"] * 1000)
        self._broker = broker
        self._clock = clock
        self._most = broker["num.replica.alter.log.dirs.threads"] or len(logs.directories)
        self._queue: deque[TopicPartition] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def move(self, partition: TopicPartition, path: str) -> None:
        """Begin to move a partition to the log directory ``path``; nothing happens when it lies or is going there already.

        A move to another directory that is under way is given up.

        Raises:
            KafkaError: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR when that directory or the partition's is out of service,
                REPLICA_NOT_AVAILABLE when the partition is not here; it is then created in ``path`` when it comes.
        """
        if self._logs.begin_move(partition, path):
            _log.info("%s is being moved to %s", partition, path)
            self._enqueue(partition)

    def resume(self) -> None:
        """Go on with the moves that the last stop interrupted."""
        for partition in self._logs.moving():
            self._enqueue(partition)

    def stop(self) -> None:
        """Leave moves under way to the next start.  Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _enqueue(self, partition: TopicPartition) -> None:
        with self._changed:
            if partition not in self._queue:
                self._queue.append(partition)
            if len(self._threads) < min(self._most, len(self._queue)):
                thread = threading.Thread(target=self._run, name=f"move-logs-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while (partition := self._next()) is not None:
            wait = self.step(partition)
            with self._changed:
                if wait is not None and partition not in self._queue:
                    self._queue.append(partition)
                if wait:
                    self._changed.wait_for(lambda: self._stopping, wait)

    def _next(self) -> TopicPartition | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._queue)
            return None if self._stopping else self._queue.popleft()

    def step(self, partition: TopicPartition) -> float | None:
        """Copy a little, or finish; seconds to wait before the next step, None when the move is over."""
        current, future = self._logs.get(partition), self._logs.future(partition)
        if current is None or future is None:
            return None
        try:
            wait = self._over_quota()
            if wait:
                return wait
            copied = copy(current.log, future.log)
            self._quota.record(copied, self._now_ms())
            if copied >= CHUNK:
                return 0.0
            serving = self._serving(partition)
            if serving is None:
                return RETRY_SECONDS
            # Most of it is synced here; what comes meanwhile is synced while appends wait.
            future.log.flush()
            self._logs.replace_current(partition, serving.replace_log, catch_up)
        except KafkaError as error:
            if self._logs.get(partition) is not current or self._logs.future(partition) is not future:
                return 0.0
            _log.error("the move of %s to %s failed and is tried again: %s", partition, future.directory.path, error)
            return RETRY_SECONDS
        _log.info("%s lies in %s now", partition, future.directory.path)
        return None

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)

    def _over_quota(self) -> float:
        """Seconds to wait before more may be copied, but not so long that a higher limit would be noticed late."""
        self._quota.limit = self._broker["replica.alter.log.dirs.io.max.bytes.per.second"]
        return min(self._quota.wait_ms(self._now_ms()) / 1000, RETRY_SECONDS)


def copy(current: Log, future: Log, size: int = CHUNK) -> int:
    """Append to ``future`` what comes next in ``current``: ``size`` bytes or a little more, fewer only up to its end.

    Returns the number of bytes.  Raises :class:`KafkaError`.
    """
    begin, end = current.log_start_offset, current.log_end_offset
    if future.log_end_offset < begin:
        future.truncate_fully(begin)
    elif future.log_end_offset > end:
        future.truncate(end)
    before = future.size
    while (copied := future.size - before) < size:
        _copy_epochs(current, future)
        piece = current.read(future.log_end_offset, size - copied)
        if piece is None:
            break
        future.append_follower(piece.read())
    future.high_watermark = min(current.high_watermark, future.log_end_offset)
    if future.log_start_offset < begin <= future.high_watermark:
        future.set_log_start_offset(begin)
    return copied


def catch_up(current: Log, future: Log) -> None:
    """Copy all that is left and sync it; nothing is appended meanwhile.

    Raises:
        KafkaError: the copy cannot be made equal.
    """
    while copy(current, future):
        continue
    _copy_epochs(current, future)
    future.flush()
    if (future.log_end_offset, future.log_start_offset) != (current.log_end_offset, current.log_start_offset):
        raise KafkaError(
            ErrorCode.KAFKA_STORAGE_ERROR,
            f"the copy in {future.directory} holds offsets {future.log_start_offset} to {future.log_end_offset}, "
            f"the log {current.log_start_offset} to {current.log_end_offset}",
        )


def _copy_epochs(current: Log, future: Log) -> None:
    """Epochs that begin at or before the copy's end, those without a batch included."""
    known = max((epoch for epoch, _ in future.epochs()), default=-1)
    for epoch, start in current.epochs():
        if epoch > known and start <= future.log_end_offset:
            future.assign_epoch(epoch, start)
