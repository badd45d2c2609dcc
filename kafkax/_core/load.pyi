"""A load generator for any broker that speaks Kafka's protocol: one thread without the GIL over many connections."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from kafkax._core.histogram import Histogram
from kafkax._core.load_connection import Target

class Load:
    """One run against one or more brokers.  ``run`` blocks without the GIL; other threads may read the counters meanwhile."""

    def __init__(
        self,
        connections: Sequence[tuple[socket.socket, Sequence[Target]]],
        *,
        in_flight: int = 1,
        max_requests: int = 0,
        max_records: int = 0,
        duration: float = 0.0,
        rate: float = 0.0,
        silence: float = 30.0,
        slow: float = 0.0,
    ) -> None:
        """``connections``: connected sockets (the caller closes them), each with the requests that it sends in turn.

        ``in_flight``: unanswered requests per connection.  The run ends after ``max_requests``, ``max_records`` (answered) or
        ``duration`` (seconds), whichever comes first; 0 is no limit, but one there must be.  ``rate``: requests per second
        over all connections, 0 for as many as answers allow.  ``silence``: seconds without an answer after which ``run``
        raises TimeoutError.  ``slow``: seconds from which on a request is noted in ``slow``; 0: none.  A reading target has one
        place in the log, so for more than one fetch in flight give a connection at least as many targets.  Raises ValueError
        for limits that make no sense.
        """

    def run(self) -> None:
        """Send, and return when the last answer is in.

        Raises ConnectionError when the broker closes a connection, ProtocolError for an answer that does not parse or is
        out of order, TimeoutError when answers cease, OSError for what the system refuses.  What was counted stays readable.
        """

    def stop(self) -> None:
        """End the run from another thread within 50 ms; what is in flight is not waited for."""

    @property
    def latency(self) -> Histogram:
        """Nanoseconds from when a request was due (closed loop: sent) to its answer; with acks=0, until it was sent."""

    @property
    def requests(self) -> int:
        """Requests answered (with acks=0: sent), refused ones included."""

    @property
    def records(self) -> int:
        """Records that the broker took or returned."""

    @property
    def bytes(self) -> int:
        """Bytes of the accepted requests, or of the record batches that fetches returned."""

    @property
    def failed(self) -> int:
        """Answers that carried an error."""

    @property
    def errors(self) -> dict[int, int]:
        """Kafka error code: how many answers carried it."""

    @property
    def slow(self) -> list[tuple[float, float]]:
        """The first 16,384 slow requests, to be read after the run: when each was due, in seconds of ``time.monotonic``, and how
        many it took."""

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the last answer."""
