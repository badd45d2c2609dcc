"""Events from threads without the GIL to the Python loop: a queue behind an eventfd."""

from collections.abc import Callable

class NotifyQueue:
    """Queue whose file descriptor turns readable when an event waits (``loop.add_reader(queue.fileno(), queue.dispatch)``)."""

    def __init__(self) -> None: ...
    def fileno(self) -> int:
        """The eventfd."""

    def register(self, callback: Callable[[int], object], *, once: bool = False) -> int:
        """Token under which events call ``callback(value)``; dropped after the first one with ``once``."""

    def unregister(self, token: int) -> None:
        """Forget a token; events still queued for it are dropped."""

    def push(self, token: int, value: int) -> None:
        """Put an event, as the core's threads do."""

    def drain(self) -> list[tuple[int, int]]:
        """Take all events as (token, value) without calling anyone, and reset the eventfd."""

    def dispatch(self) -> int:
        """Take all events and call their callbacks; the number called. A callback's exception is raised after the others ran."""
