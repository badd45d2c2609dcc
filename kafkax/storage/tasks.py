"""Work that comes round again: what is due is decided by an injected clock, what runs it is the caller's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kafkax.clock import Clock

__all__ = ["PeriodicTasks"]

_log = logging.getLogger(__name__)


@dataclass
class _Task:
    name: str
    interval: float
    due: float
    run: Callable[[], object]


class PeriodicTasks:
    """Named tasks, each run again a fixed time after it ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: list[_Task] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, name: str, interval_ms: int, run: Callable[[], object]) -> None:
        """Run ``run`` every ``interval_ms``, for the first time after one interval.

        A task that fails is logged and runs again at its next time: one bad log must not end the care for the others.
        """
        interval = max(interval_ms, 1) / 1000
        self._tasks.append(_Task(name, interval, self._clock.monotonic() + interval, run))

    def tick(self) -> float:
        """Run what is due, in the order in which it fell due; seconds until the next is."""
        for task in sorted(self._tasks, key=lambda task: task.due):
            if task.due > self._clock.monotonic() or self._stop.is_set():
                continue
            try:
                task.run()
            except Exception:
                _log.exception("%s failed; it runs again in %.1f s", task.name, task.interval)
            task.due = self._clock.monotonic() + task.interval
        return max(0.0, min((task.due for task in self._tasks), default=60.0) - self._clock.monotonic())

    def start(self, name: str) -> None:
        """Tick on a thread of this name until :meth:`stop`."""
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._stop.wait(min(self.tick(), 60.0)):
            pass

    def stop(self) -> None:
        """End the thread once its present task is over; idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
