"""A dict that notes what it held before, for state that changes thousands of times a second."""

from typing import Any, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ABSENT: Any
"""What a key held that was not there."""

class Notes(Protocol):
    """Where changes are noted: dict, key and what the key held, while ``active``."""

    active: bool
    entries: list[tuple[dict[Any, Any], Any, Any]]

class UndoDict(dict[K, V]):
    """A dict whose changes through item assignment, ``del``, ``pop`` and ``setdefault`` are noted, to be taken back.

    Values must be immutable, or be undoable themselves.
    """

    def __init__(self, undo: Notes) -> None: ...
    def pop(self, key: K, default: Any = None) -> Any:
        """Remove the key and return its value; ``default`` when it is absent."""

    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of the key, which becomes ``default`` when it is absent."""
