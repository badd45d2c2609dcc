"""Saying who broke which rule, once: a hostile peer must not fill the log."""

from __future__ import annotations

import logging

from kafkax.clock import Clock

__all__ = ["FaultLog"]

_log = logging.getLogger("kafkax.net")


class FaultLog:
    """Logs each (host, reason) at most once per ``interval`` seconds, with the number of times it was kept quiet since.

    At most ``capacity`` pairs are remembered; the oldest is forgotten first.
    """

    def __init__(self, clock: Clock, *, interval: float = 60.0, capacity: int = 1000) -> None:
        self._clock = clock
        self._interval = interval
        self._capacity = capacity
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def report(self, peer: str, reason: str, detail: str = "") -> bool:
        """Note that the connection of ``peer`` (``host:port``) was closed for ``reason``; whether a line was logged."""
        key = (peer.rpartition(":")[0], reason)
        now = self._clock.monotonic()
        logged_at, quiet = self._seen.pop(key, (None, 0))
        if logged_at is not None and now - logged_at < self._interval:
            self._seen[key] = (logged_at, quiet + 1)
            return False
        if len(self._seen) >= self._capacity:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = (now, 0)
        repeats = f" ({quiet} more times since the last line)" if quiet else ""
        _log.warning("closed connection of %s: %s%s%s", peer, reason, f": {detail}" if detail else "", repeats)
        return True
