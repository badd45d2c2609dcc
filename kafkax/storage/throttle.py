"""A limit on bytes per second that evens out over time."""

from __future__ import annotations

import math

from kafkax.clock import Clock

__all__ = ["Throttle"]

_BURST = 0.3
"""Seconds of the rate that may go at once after a pause."""


class Throttle:
    """Tells how long to wait after moving bytes so that the rate is kept (``log.cleaner.io.max.bytes.per.second``).

    Args:
        bytes_per_second: the limit; infinity or Kafka's default, the largest double: none.
        clock: where time comes from.
    """

    def __init__(self, bytes_per_second: float, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = -math.inf

    def charge(self, size: int) -> float:
        """Note that ``size`` bytes were moved; seconds to wait before moving more."""
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now - _BURST) + size / self._rate
        return max(0.0, self._free_at - now)
