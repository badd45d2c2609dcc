"""Heartbeats of a process whose interpreter is stuck: sent by a thread that never needs the GIL."""

from typing_extensions import Buffer

class Keepalive:
    """Sends a frame when Python has been silent for too long.

    Attributes:
        sent: frames that were sent.
    """

    sent: int

    def run(self) -> None:
        """Work until :meth:`stop`, without the GIL; to be the body of a thread."""

    def adopt(self, fd: int) -> None:
        """Send to a duplicate of this socket from now on."""

    def pet(self, frame: Buffer, interval: float, limit: float) -> None:
        """Say that Python runs.

        Args:
            frame: what to send once it does not any more; nothing when empty.
            interval: seconds between frames; the first goes out after one and a half without another call.
            limit: seconds after which none is sent any more.
        """

    def rest(self) -> None:
        """Send nothing until the next :meth:`pet`."""

    def stop(self) -> None:
        """End :meth:`run`."""
