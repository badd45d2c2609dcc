"""A batch that a producer fills: records are written in place, the header when it is sealed."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
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
    latency: float
    base_offset: int
    append_time: int
    error: KafkaError | None
    producer_id: int
    producer_epoch: int
    base_sequence: int
    attempts: int
    reopened: bool
    urgent: bool
    settled: bool

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

    def settle(self, loop: AbstractEventLoop | None, between: Callable[[], object] | None = None) -> None:
        """Give those who wait for its records their results.

        Args:
            loop: the event loop that this is called on; those of other loops go on there. None when it is on none.
            between: called each time that a few hundred of them went on, to send what they sent while others follow.
        """

class Delivery:
    """What becomes of a record that was sent; await it for the delivered record with its offset.

    It is used on the event loop that it was made on. Awaiting it has its batch sent without lingering.
    """

    def done(self) -> bool:
        """Whether the record is delivered, or has failed."""

    def result(self) -> Message:
        """The delivered record.

        Raises:
            KafkaError: it was not delivered.
            asyncio.InvalidStateError: that is not known yet.
        """

    def exception(self) -> KafkaError | None:
        """Why the record was not delivered; None when it was.

        Raises:
            asyncio.InvalidStateError: that is not known yet.
        """

    def message(self) -> Message:
        """The record, delivered or not.

        Raises:
            asyncio.InvalidStateError: that is not known yet.
        """

    def add_done_callback(self, function: Callable[[Delivery], object]) -> None:
        """Have a function called by the loop when the record is delivered or has failed."""

    def __await__(self) -> Generator[Any, None, Message]: ...
