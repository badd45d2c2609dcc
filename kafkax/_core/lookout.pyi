"""A caller who waits for what arrives on its client's sockets."""

from collections.abc import Callable, Sequence

from kafkax._core.channel import Channel

class Lookout:
    """Waits until something arrives, and receives it. Where that took little time lately, it looks again and again for a moment
    before it sleeps: to be woken takes longer than most answers do, and a processor that slept is slow at first.

    Args:
        patience_ns: nanoseconds that it looks for before it sleeps, if waits take less on average; by default 250,000, or none
            where there is one processor only.
    """

    patience_ns: int
    usual_ns: int
    event: int
    waiting: int

    def __init__(self, patience_ns: int | None = None) -> None: ...
    def wake(self) -> None:
        """Have whoever waits go on; from any thread."""

    def wait(self, done: Callable[[], bool], channels: Sequence[Channel], timeout: int) -> None:
        """Wait, without the GIL, until something has arrived, :meth:`wake` was called, a signal came or the time is over.

        Args:
            done: whether there is no need to wait; looked at when :meth:`wake` has an effect already.
            channels: a list of those to receive from; one with a ``shared_fd`` of -1 is never ready.
            timeout: milliseconds; negative waits as long as it takes.
        """
