"""One connection of the load generator: requests copied from templates, several in flight, answers in order."""

from __future__ import annotations

class Target:
    """A prebuilt request that is sent again and again, to one partition as a rule.

    ``head`` + ``tail`` is the frame with its length prefix; the head holds everything that changes from one sending to the
    next (the correlation id at byte 8, a base sequence, a fetch offset), the tail is shared by all requests in flight.
    Raises ValueError when the pieces do not fit together.
    """

    def __init__(
        self,
        head: bytes,
        tail: bytes = b"",
        *,
        answered: bool = True,
        records: int = 0,
        batch_at: int = -1,
        offset_at: int = -1,
        next: int = 0,
        first: int = -1,
    ) -> None:
        """``answered``: False for Produce with acks=0.  ``records``: how many the request carries.

        ``batch_at``: where in ``head`` the only record batch starts if its base sequence (first ``next``) and checksum are
        to run on, -1 to send it as it is.  ``offset_at``: where in ``head`` the fetch offset stands (first ``next``), -1 for
        none; at the end of the log reading starts over from ``first``, or waits there if that is -1.
        """

    @property
    def head(self) -> bytes: ...
    @property
    def tail(self) -> bytes: ...
