"""The way of a partition's batches to its leader, when each goes alone."""

from collections.abc import Callable
from typing import Generic, TypeVar

from kafkax._core.channel import Channel
from kafkax._core.produced import ProducedBatch
from kafkax.errors import KafkaError

C = TypeVar("C", bound=Channel)

class ProduceRoute(Generic[C]):
    """Requests of one batch of one partition, and their plain answers.

    Args:
        channel: to the leader.
        stamp: version of the metadata that this holds for.
        version: of the requests, 13 or later; without a transaction.
        acks: -1 or 1.
        timeout_ms: how long the broker may wait for replicas.
        topic_id: 16 bytes.
        partition: its number.
        timeout: seconds until the connection is given up without an answer.
    """

    channel: C
    stamp: int
    version: int

    def __init__(
        self,
        channel: C,
        stamp: int,
        version: int,
        acks: int,
        timeout_ms: int,
        topic_id: bytes,
        partition: int,
        timeout: float,
    ) -> None: ...
    def send(self, batch: ProducedBatch, answer: Callable[[memoryview | KafkaError], object]) -> None:
        """Send a sealed batch; see :meth:`Channel.send`."""

    def read(self, frame: memoryview) -> tuple[int, int] | None:
        """First offset and append time (-1 for none) from an answer that says just that; None for any other."""
