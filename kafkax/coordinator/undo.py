"""Taking back what was replayed before the log accepted it.

A shard replays the records of an operation at once, so that the next operation sees them, and appends them a moment later
together with those of other operations.  When the append is refused, everything replayed since the last good one
goes back.  State that takes part lives in :class:`UndoDict` with immutable values.
"""

from __future__ import annotations

from typing import Any

from kafkax._core.undo_dict import ABSENT, UndoDict

__all__ = ["UndoDict", "UndoLog"]


class UndoLog:
    """What the changed keys held before, oldest first."""

    __slots__ = ("active", "entries")

    def __init__(self) -> None:
        self.active = False
        """Whether changes are noted; a load that fails discards the whole shard, so it notes nothing."""
        self.entries: list[tuple[dict[Any, Any], Any, Any]] = []

    def mark(self) -> int:
        """A point that :meth:`rollback` can return to."""
        return len(self.entries)

    def rollback(self, mark: int = 0) -> None:
        """Take back every change made since the mark, newest first."""
        entries = self.entries
        while len(entries) > mark:
            mapping, key, value = entries.pop()
            if value is ABSENT:
                dict.pop(mapping, key, None)
            else:
                dict.__setitem__(mapping, key, value)

    def clear(self, mark: int | None = None) -> None:
        """Forget what was noted, up to a mark or all of it: the log has accepted it."""
        del self.entries[:mark]
