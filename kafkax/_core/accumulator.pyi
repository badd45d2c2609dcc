"""What a producer has taken and not yet sent: a batch per partition, filled by the caller's threads."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from typing_extensions import Buffer

from kafkax._core.lookout import Lookout
from kafkax._core.message import Message
from kafkax._core.produced import Delivery, ProducedBatch
from kafkax.errors import KafkaError

Block = str | Buffer | None
Callback = Callable[[KafkaError | None, Message], Any]

class PartitionQueue:
    """The batches of one partition that wait; partition -1 holds what came before the topic was known."""

    topic: str
    partition: int
    current: ProducedBatch | None
    full: list[ProducedBatch]
    active: bool
    state: Any

class TopicQueue:
    """A topic: its partitions' queues."""

    topic: str
    count: int

class Accumulator:
    """Takes records from any thread, in the order in which each thread gives them.

    Args:
        batch_size: most bytes of a batch.
        batch_count: most records of a batch.
        message_max: most bytes of a record.
        most_count, most_bytes: what may wait at once.
        partitioner: ``murmur2_random``, ``consistent_random``, ``murmur2``, ``consistent`` or ``random``.

    Attributes:
        reports: batches that are done, for :meth:`serve`.
        waiting: lookouts of callers who wait for something to report, or for nothing to be outstanding.
    """

    outstanding: int
    outstanding_bytes: int
    active: list[PartitionQueue]
    failed: list[ProducedBatch]
    reports: deque[ProducedBatch]
    waiting: list[Lookout]
    refused: BaseException | None
    on_delivery: Callback | None
    hurry: Callable[[], None] | None
    when_full: Callable[..., Awaitable[Delivery]] | None

    def __init__(
        self, batch_size: int, batch_count: int, message_max: int, most_count: int, most_bytes: int, partitioner: str
    ) -> None: ...
    def attach(self, wake: Callable[[], object], on_topic: Callable[[str], object], on_full: Callable[[], object]) -> None:
        """Name the functions that are called when the sender has something to do, when a topic is not known yet, and when a batch
        is full. They must not run Python of their own on the caller's thread, where Ctrl-C could end it."""

    def refuse(self, error: BaseException | None) -> None:
        """Have :meth:`produce` raise this from now on."""

    def produce(
        self,
        topic: str,
        value: Block = None,
        key: Block = None,
        partition: int = -1,
        on_delivery: Callback | None = None,
        timestamp: int = 0,
        headers: Mapping[str, Block] | Sequence[tuple[str, Block]] | None = None,
        *,
        callback: Callback | None = None,
    ) -> None:
        """Take a record to be sent in the background.

        Args:
            topic: its name.
            value: bytes, or text that is encoded as UTF-8; None is a tombstone.
            key: likewise; decides the partition when none is given.
            partition: -1 lets the partitioner choose.
            on_delivery: called by :meth:`poll` or :meth:`flush` with the error (or None) and the record; None calls the
                one that the config names.
            timestamp: milliseconds since the epoch; 0 is now.
            headers: names and values.
            callback: another name of ``on_delivery``.

        Raises:
            BufferError: ``queue.buffering.max.messages`` or ``queue.buffering.max.kbytes`` wait already; poll and try again.
            KafkaError: the record is larger than ``message.max.bytes``, or the partition does not exist.
            RuntimeError: the producer is closed, or was forked.
        """

    def deliver(
        self,
        topic: str,
        value: Block = None,
        key: Block = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Mapping[str, Block] | Sequence[tuple[str, Block]] | None = None,
    ) -> Delivery:
        """:meth:`produce` for a caller that awaits what becomes of the record."""

    def send(
        self,
        topic: str,
        value: Block = None,
        key: Block = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Mapping[str, Block] | Sequence[tuple[str, Block]] | None = None,
    ) -> Awaitable[Delivery]:
        """:meth:`deliver`, where the first await gives the :class:`Delivery` itself, at once; while the queue is full, what
        ``when_full`` gives for the same arguments."""

    def resume(self) -> None:
        """Let the next batch wake the sender again; the sender calls it before it looks."""

    def quiet(self) -> None:
        """Don't have a new batch wake the sender until :meth:`resume`: it looks again before one would be due."""

    def topic_known(self, topic: str, count: int) -> None:
        """Say how many partitions a topic has; records that waited for it get theirs."""

    def topic_failed(self, topic: str, error: KafkaError) -> list[ProducedBatch]:
        """Give up what waits for an unknown topic."""

    def take(self, queue: PartitionQueue, force: bool) -> ProducedBatch | None:
        """The oldest batch of a partition: a full one, or with ``force`` the one that is being filled."""

    def settle(self) -> None:
        """Forget the queues that are empty from the active ones."""

    def done(self, count: int, size: int) -> None:
        """Count records as reported."""

    def finished(self, batch: ProducedBatch) -> None:
        """Take a batch that was delivered, or failed for good."""

    def serve(self) -> int:
        """Run the ``on_delivery`` functions of what is done; how many records were reported.

        Raises:
            Exception: what a function raised; the rest is served by the next call.
        """
