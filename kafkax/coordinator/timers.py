"""Timers of a shard: named, replaceable, cheap to push back.

A member's session timer is pushed back with every heartbeat and almost never fires.  So pushing back only moves a deadline;
the underlying timer finds out when it fires early, and arms itself for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from kafkax.clock import Clock

__all__ = ["KeyedTimers", "TimerHandle", "Timers"]


class TimerHandle(Protocol):
    """What can be called off."""

    def cancel(self) -> Any:
        """Call the timer off; no effect once it has fired."""


class Timers(Protocol):
    """Where callbacks are queued: an event loop, or a simulation's queue in virtual time."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back after everything that is ready now."""

    def after(self, delay_ms: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back once after ``delay_ms``."""


class _Entry:
    __slots__ = ("action", "armed", "deadline", "handle")

    def __init__(self, action: Any, deadline: float) -> None:
        self.action = action
        self.deadline = deadline
        self.armed = deadline
        self.handle: TimerHandle | None = None


class KeyedTimers:
    """At most one timer per key; setting a key again replaces it.

    Args:
        timers: where callbacks are queued.
        clock: what deadlines are measured by.
        fire: called with a timer's action when its time has come.
    """

    __slots__ = ("_clock", "_entries", "_fire", "_timers")

    def __init__(self, timers: Timers, clock: Clock, fire: Callable[[Any], None]) -> None:
        self._timers = timers
        self._clock = clock
        self._fire = fire
        self._entries: dict[Hashable, _Entry] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: Hashable, delay_ms: float, action: Any) -> None:
        """Fire ``action`` after ``delay_ms``; what stood under the key before is called off."""
        deadline = self._clock.monotonic() + delay_ms / 1000
        entry = self._entries.get(key)
        if entry is not None and entry.armed <= deadline:
            entry.action = action
            entry.deadline = deadline
            return
        if entry is not None and entry.handle is not None:
            entry.handle.cancel()
        entry = self._entries[key] = _Entry(action, deadline)
        self._arm(key, entry, delay_ms)

    def push_back(self, key: Hashable, delay_ms: float) -> bool:
        """Let the timer under the key fire ``delay_ms`` from now instead; false when there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        deadline = self._clock.monotonic() + delay_ms / 1000
        if deadline < entry.armed:
            self.set(key, delay_ms, entry.action)
        else:
            entry.deadline = deadline
        return True

    def cancel(self, key: Hashable) -> None:
        """Call the timer off, if there is one."""
        entry = self._entries.pop(key, None)
        if entry is not None and entry.handle is not None:
            entry.handle.cancel()

    def cancel_all(self) -> None:
        """Call off every timer."""
        for entry in self._entries.values():
            if entry.handle is not None:
                entry.handle.cancel()
        self._entries.clear()

    def _arm(self, key: Hashable, entry: _Entry, delay_ms: float) -> None:
        entry.handle = self._timers.after(delay_ms, lambda: self._fired(key, entry))

    def _fired(self, key: Hashable, entry: _Entry) -> None:
        if self._entries.get(key) is not entry:
            return
        rest_ms = (entry.deadline - self._clock.monotonic()) * 1000
        # A loop may fire a hair early; below a millisecond it is time.
        if rest_ms >= 1:
            entry.armed = entry.deadline
            self._arm(key, entry, rest_ms)
            return
        del self._entries[key]
        self._fire(entry.action)
