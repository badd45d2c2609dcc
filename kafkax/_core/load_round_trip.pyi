"""One record at a time from a producer to a waiting consumer: how long until it is there, end to end."""

from __future__ import annotations

import socket

from kafkax._core.histogram import Histogram
from kafkax._core.load_connection import Target

class RoundTrip:
    """A producer's and a consumer's connection to the same partition; a fetch always waits when a record is sent."""

    def __init__(self, producer: socket.socket, produced: Target, consumer: socket.socket, fetched: Target) -> None:
        """``produced``: a Produce request with acks other than 0; ``fetched``: a Fetch that waits at the partition's end."""

    def run(self, count: int, *, rate: float = 0.0, silence: float = 30.0) -> None:
        """Send ``produced`` ``count`` times, each once the one before is acknowledged and delivered.

        ``rate``: requests per second, 0 for one right after the other; when a record is late, the next ones count from when
        they were due.  ``silence``: seconds after which an undelivered record raises TimeoutError.  Raises
        KafkaError when the broker answers an error, ConnectionError when it hangs up, ProtocolError for nonsense.
        """

    def stop(self) -> None:
        """End the run from another thread after the record under way."""

    @property
    def acknowledged(self) -> Histogram:
        """Nanoseconds from when a record was due to its acknowledgement."""

    @property
    def delivered(self) -> Histogram:
        """Nanoseconds from when a record was due to its arrival at the consumer."""

    @property
    def sent(self) -> int:
        """Records acknowledged and delivered so far (requests, when they carry more than one)."""
