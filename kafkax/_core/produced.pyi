"""A batch that a producer fills: records are written in place, the header when it is sealed."""

from collections.abc import Callable, Iterator
from typing import Any

from kafkax._core.message import Message
from kafkax.errors import KafkaError

class ProducedBatch:
    """One batch of one partition. It exports its bytes as a buffer once it is sealed."""

    topic: str
    partition: int
    count: int
    size: int
    payload: int
    created: float
    base_offset: int
    append_time: int
    error: KafkaError | None
    producer_id: int
    producer_epoch: int
    base_sequence: int
    attempts: int
    reopened: bool

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def records(self) -> memoryview:
        """The records' bytes, to be compressed."""

    def seal(self, codec: int, compressed: bytes | None, transactional: bool) -> None:
        """Write the header and the checksum.

        Args:
            codec: the number in the attributes.
            compressed: the records, compressed; None sends them as they are.
        """

    def number(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        """Give a sealed batch its producer and sequence; computes the checksum again."""

    def wire(self) -> ProducedBatch | bytearray:
        """What is sent: an object with a buffer and a length."""

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for reports of this batch."""

    def serve(self) -> int:
        """Call the functions that wait, each with the error (or None) and the record; how many records there were.

        Raises:
            Exception: what a function raised; the rest is served by the next call.
        """

    def each(self) -> Iterator[tuple[Callable[..., Any] | None, Message]]:
        """Every record with the function that waits for it."""
