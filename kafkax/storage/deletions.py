"""Files and folders that are out of service and go after ``file.delete.delay.ms``.

They carry a ``.deleted`` or ``-delete`` name already, so a crash before their time only means that the next start deletes them.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable

from kafkax.clock import Clock

__all__ = ["Deletions"]

_log = logging.getLogger(__name__)


class Deletions:
    """What is still to be deleted, by time.  Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, str, Callable[[], None] | None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add_files(self, paths: Iterable[str], delay_ms: int) -> None:
        """Delete files once ``delay_ms`` have passed."""
        due = self._clock.monotonic() + delay_ms / 1000
        with self._lock:
            for path in paths:
                heapq.heappush(self._waiting, (due, next(self._order), path, None))

    def add_folder(self, path: str, delay_ms: int, before: Callable[[], None] | None = None) -> None:
        """Delete a partition's folder once ``delay_ms`` have passed, after calling ``before``."""
        due = self._clock.monotonic() + delay_ms / 1000
        with self._lock:
            heapq.heappush(self._waiting, (due, next(self._order), path, before or _nothing))

    def next_due(self) -> float | None:
        """Monotonic time (s) of the next deletion; None when nothing waits."""
        with self._lock:
            return self._waiting[0][0] if self._waiting else None

    def run(self) -> int:
        """Delete what is due; how many went.  What cannot be deleted is logged and left to the next start."""
        done = 0
        while True:
            with self._lock:
                if not self._waiting or self._waiting[0][0] > self._clock.monotonic():
                    return done
                _, _, path, before = heapq.heappop(self._waiting)
            done += 1
            try:
                if before is None:
                    os.unlink(path)
                else:
                    before()
                    shutil.rmtree(path)
            except FileNotFoundError:
                _log.debug("%s was gone already", path)
            except OSError as error:
                _log.warning("%s cannot be deleted and stays until the next start: %s", path, error)


def _nothing() -> None:
    """What comes before deleting a folder that no log is open in."""
