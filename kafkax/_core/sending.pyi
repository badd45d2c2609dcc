"""What a producer sends and is told in the ordinary case, on any thread; nothing of it runs Python between its steps."""

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from kafkax._core.accumulator import Accumulator, PartitionQueue
from kafkax._core.channel import Channel, Pending
from kafkax._core.latch import Latch
from kafkax._core.produced import ProducedBatch
from kafkax.errors import KafkaError

C = TypeVar("C", bound=Channel)

class ProduceRoute:
    """The way of a partition's batches to its leader.

    Args:
        channel: to the leader.
        stamp: version of the metadata that this holds for.
        version: of the requests, 13 or later.
        topic_id: 16 bytes.
    """

    def __init__(self, channel: Channel, stamp: int, version: int, topic_id: bytes) -> None: ...

class PartitionState:
    """What the sender knows of a partition.

    Args:
        backoff: has ``attempts``, which a delivery sets to 0.

    Attributes:
        retry: batches that are to be sent again, in their order.
        not_before: monotonic seconds before which they are not.
        confirmed: whether the broker has taken a batch under the current producer id.
        route: how the core sends its batches; None while it does not.
    """

    queue: PartitionQueue
    backoff: Any
    retry: deque[ProducedBatch]
    in_flight: list[ProducedBatch]
    next_sequence: int
    not_before: float
    poisoned: bool
    confirmed: bool
    route: ProduceRoute | None

    def __init__(self, queue: PartitionQueue, backoff: Any) -> None: ...

class ProduceCall(Pending, Generic[C]):
    """A Produce request of batches of different partitions, all of one leader."""

    channel: C
    version: int
    batches: list[tuple[PartitionState, ProducedBatch]]

    def __init__(self, sender: Dispatcher, channel: C, version: int) -> None: ...
    def send(
        self,
        batches: Sequence[tuple[PartitionState, ProducedBatch]],
        topic_ids: Sequence[bytes],
        parts: list[Any] | None,
    ) -> None:
        """Send batches that are sealed.

        Args:
            topic_ids: of each.
            parts: the body where it is not one of version 13 or later without a transaction, which is written here.
        """

class Dispatcher:
    """Sends what an accumulator holds, as far as it is ordinary. Who inherits does the rest.

    Args:
        loop, owner: of the I/O thread: its event loop and its number.
        acks: -1 or 1; with 0 nothing is ordinary.
        timeout_ms: how long a broker may wait for replicas.
        timeout: seconds until a connection is given up without an answer.
        linger, delivery_timeout: seconds.
        most_in_flight: requests of a connection.
        codec: the number in a batch's attributes.
        compress: makes of a batch's records what is sent.
        shared: whether callers receive, too.

    Attributes:
        lock: held by whoever sends or takes an answer; callers hold it for moments only.
        channels: those that callers receive from; another list when they change.
        retrying: partitions with batches to be sent again.
        producer: producer id and epoch; None while there is none to send under.
        bumping: nothing new is sent until everything in doubt is settled.
        ordinary: False where everything is the I/O thread's, as with transactions.
        stamp: version of the metadata that routes hold for.
        flushing: how many wait until everything is sent.
        asked: the I/O thread is to run, soon.
        attended_until: monotonic seconds until which a caller does what there is to be done.
    """

    accumulator: Accumulator
    lock: Latch
    channels: list[Channel]
    retrying: set[PartitionState]
    producer: tuple[int, int] | None
    bumping: bool
    ordinary: bool
    stamp: int
    flushing: int
    asked: bool
    attended_until: float
    shared: bool
    metrics: Any

    def __init__(
        self,
        accumulator: Accumulator,
        loop: AbstractEventLoop,
        owner: int | None,
        *,
        acks: int,
        timeout_ms: int,
        timeout: float,
        linger: float,
        delivery_timeout: float,
        most_in_flight: int,
        codec: int,
        compress: Callable[[memoryview], bytes],
        shared: bool,
    ) -> None: ...
    def ask(self) -> None:
        """Have :meth:`run` called on the I/O thread; from any thread."""

    def dispatch(self, now: float) -> tuple[list[PartitionQueue], float]:
        """Send all that is due and ordinary, with the lock held.

        Args:
            now: monotonic seconds.

        Returns:
            The partitions that it left, and when the next of the others is due; infinite if none is.
        """

    def send_now(self) -> None:
        """Send what a caller just gave, on its own thread, if it is alone: then nothing is gained by waiting for others, nor for
        the I/O thread. In all other cases the I/O thread is told."""

    def filled(self) -> None:
        """Send what is due, and take what has arrived; for a caller who has filled a batch."""

    def visit(self) -> None:
        """Do the same for a caller who polls, as often as that makes sense."""

    def hurry(self) -> AbstractContextManager[None]:
        """In ``with``: nothing lingers."""

    def number(self, state: PartitionState, batch: ProducedBatch) -> None:
        """Give a sealed batch its producer and the partition's next sequence."""

    def delivered(self, state: PartitionState, batch: ProducedBatch, base_offset: int, append_time: int) -> None:
        """Note that a batch was delivered; -1 where the offset or the time is not known."""

    def count(self, batch: ProducedBatch) -> None:
        """Count a batch that was delivered."""

    # what who inherits supplies

    def run(self) -> None:
        """See to everything; on the I/O thread."""

    def unusual(self, call: ProduceCall[Any], answer: memoryview | KafkaError) -> None:
        """Take an answer that is not just that everything was delivered; on the I/O thread."""
