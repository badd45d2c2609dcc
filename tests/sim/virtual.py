"""A world in virtual time: a queue of callbacks that is the clock and the event loop, and an internal topic in memory."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from itertools import count

from kafkax.errors import ErrorCode, KafkaError

_COUNT_AT = 57
"""Where a batch's header holds the number of its records."""


class Handle:
    """A callback that can be called off."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback

    def cancel(self) -> None:
        """Call it off."""
        self.callback = None


class VirtualTime:
    """Clock and timers; time moves only when :meth:`run` has nothing to do before the next callback."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = start_ms
        self.now = 0.0
        self._queue: list[tuple[float, int, Handle]] = []
        self._ids = count()

    def wall_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._start_ms + int(self.now * 1000)

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self.now

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back after everything that is ready now."""
        self.after(0, callback)

    def after(self, delay_ms: float, callback: Callable[[], None]) -> Handle:
        """Call back after ``delay_ms``."""
        handle = Handle(callback)
        heapq.heappush(self._queue, (self.now + max(delay_ms, 0) / 1000, next(self._ids), handle))
        return handle

    def next_at(self) -> float | None:
        """When the next callback is due, in seconds."""
        while self._queue and self._queue[0][2].callback is None:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def step(self) -> bool:
        """Run the next callback; false when there is none."""
        when = self.next_at()
        if when is None:
            return False
        callback = heapq.heappop(self._queue)[2].callback
        self.now = max(self.now, when)
        assert callback is not None
        callback()
        return True

    def run(self, for_ms: float = 0) -> None:
        """Let ``for_ms`` pass."""
        until = self.now + for_ms / 1000
        while (when := self.next_at()) is not None and when <= until:
            self.step()
        self.now = until

    def forget(self) -> None:
        """Drop every callback: the process that wanted them is gone."""
        self._queue.clear()


class MemoryTopic:
    """An internal topic in memory, for one broker after the other.

    Attributes:
        commit_delay_ms: asked for how long the commit of each batch takes.
        fail_append: asked before each append for the error that it ends with, if any.
    """

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.batches: dict[int, list[tuple[int, bytes]]] = {}
        self.committed: dict[int, int] = {}
        self.commit_delay_ms: Callable[[], float] = lambda: 0
        self.fail_append: Callable[[], ErrorCode | None] = lambda: None
        self.stalled = False
        self._life = 0
        self._waiting: list[tuple[int, int, Callable[[KafkaError | None], None]]] = []

    def append(self, partition: int, batch: bytes) -> int:
        """Append a batch."""
        code = self.fail_append()
        if code is not None:
            raise KafkaError(code, "the append was made to fail")
        end = self.end_offset(partition) + int.from_bytes(batch[_COUNT_AT : _COUNT_AT + 4], "big")
        self.batches.setdefault(partition, []).append((end, batch))
        life = self._life
        self._time.after(self.commit_delay_ms(), lambda: self._commit(partition, end, life))
        return end

    def when_committed(self, partition: int, offset: int, done: Callable[[KafkaError | None], None]) -> None:
        """Tell when everything before ``offset`` is committed."""
        if self.committed.get(partition, 0) >= offset:
            done(None)
        else:
            self._waiting.append((partition, offset, done))

    def read(self, partition: int) -> Iterator[bytes]:
        """The log, a batch at a time."""
        for _, batch in list(self.batches.get(partition, [])):
            yield batch

    def end_offset(self, partition: int) -> int:
        """The log end offset."""
        batches = self.batches.get(partition)
        return batches[-1][0] if batches else 0

    def crash(self, keep: random.Random | None = None) -> None:
        """Lose what was appended and not committed, all of it or a random tail, and whoever waits."""
        self._life += 1
        self._waiting.clear()
        for partition, batches in self.batches.items():
            committed = self.committed.get(partition, 0)
            while batches and batches[-1][0] > committed and (keep is None or keep.random() < 0.7):
                batches.pop()
            self.committed[partition] = self.end_offset(partition)

    def resume(self) -> None:
        """End a stall: everything appended is committed."""
        self.stalled = False
        for partition in list(self.batches):
            self._commit(partition, self.end_offset(partition), self._life)

    def _commit(self, partition: int, offset: int, life: int) -> None:
        if life != self._life or self.stalled:
            return
        self.committed[partition] = max(self.committed.get(partition, 0), offset)
        mark = self.committed[partition]
        ready = [done for index, wanted, done in self._waiting if index == partition and wanted <= mark]
        self._waiting = [each for each in self._waiting if not (each[0] == partition and each[1] <= mark)]
        for done in ready:
            done(None)
