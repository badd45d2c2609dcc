"""Taking back what was replayed before the log accepted it.

A shard replays the records of an operation at once, so that the next operation sees them, and appends them a moment later
together with those of other operations.  When the append is refused, everything replayed since the last good one
goes back.  State that takes part lives in :class:`UndoDict` with immutable values.
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["UndoDict", "UndoLog"]

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Any = object()


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
            if value is _ABSENT:
                dict.pop(mapping, key, None)
            else:
                dict.__setitem__(mapping, key, value)

    def clear(self, mark: int | None = None) -> None:
        """Forget what was noted, up to a mark or all of it: the log has accepted it."""
        del self.entries[:mark]


class UndoDict(dict[K, V]):
    """A dict whose changes through item assignment, ``del``, ``pop`` and ``setdefault`` can be taken back.

    Values must be immutable, or be undoable themselves.
    """

    __slots__ = ("_undo",)

    def __init__(self, undo: UndoLog) -> None:
        super().__init__()
        self._undo = undo

    def __setitem__(self, key: K, value: V) -> None:
        if self._undo.active:
            self._undo.entries.append((self, key, self.get(key, _ABSENT)))
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        if self._undo.active:
            self._undo.entries.append((self, key, self[key]))
        super().__delitem__(key)

    def pop(self, key: K, default: Any = None) -> Any:
        """Remove the key and return its value; ``default`` when it is absent."""
        if key not in self:
            return default
        value = self[key]
        del self[key]
        return value

    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of the key, which becomes ``default`` when it is absent."""
        if key not in self:
            self[key] = default
        return self[key]
