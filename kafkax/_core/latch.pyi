"""A lock of a client that no signal interrupts, and that whoever holds it may take again."""

from types import TracebackType

class Latch:
    """Held for moments, in ``with``. Waiting for it can't be ended by Ctrl-C, so what it guards is never left half done by a
    thread that has no Python to run under it."""

    def __enter__(self) -> None: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
