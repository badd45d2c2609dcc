"""The partitions that a consumer has, and what is to be fetched for them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar
from uuid import UUID

from kafkax._core.fetched import FetchedBatch
from kafkax._core.message import Message

B = TypeVar("B", bound=FetchedBatch)
C = TypeVar("C")
S = TypeVar("S")
Key = tuple[str, int]

class Assigned:
    """One partition of the consumer.

    Attributes:
        position: offset of the next record for the caller; OFFSET_INVALID before it is known.
        fetch_offset: offset of the next record to be fetched.
        epoch: rises when what was fetched before counts no more.
        stored: offset to be committed when the caller stores offsets itself.
        committed: what was committed last.
        queued: bytes that wait for the caller.
        preferred: broker id to fetch from in place of the leader, -1 for none, and until when (loop's time).
        topic_id: of the topic that the offsets belong to.
        start: wish for where to begin, an offset or one of ``OFFSET_*``.
        batch: what the caller reads at the moment.
    """

    key: Key
    start: int
    position: int
    fetch_offset: int
    epoch: int
    stored: int
    committed: int
    queued: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    paused: bool
    live: bool
    resolving: bool
    preferred: tuple[int, float]
    topic_id: UUID
    batch: FetchedBatch | None

    def __init__(self, key: Key, start: int, topic_id: UUID) -> None: ...
    def place(self, offset: int) -> None:
        """Go on from an offset; what was fetched before is dropped."""

    def drop(self) -> None:
        """Give nothing more out of the batch that is being read."""

    def at_end(self, committed: int) -> bool:
        """Whether all that was there when last seen is fetched; of what is committed only if ``committed``."""

    def current(self) -> int:
        """Offset after the last record that the caller got."""

def wanted(
    assigned: dict[Key, Assigned],
    version: int,
    most_queued: int,
    most_of_one: int,
    source: Callable[[Assigned], int],
    unplaced: Callable[[Assigned], object],
) -> tuple[dict[int, dict[Key, Assigned]], set[int]]:
    """What to fetch: partitions by broker, and the brokers that others of their partitions have no room for.

    Args:
        version: of the metadata; what ``source`` said is believed until it changes.
        most_queued: bytes for the caller beyond which only partitions without any are fetched.
        most_of_one: the same for each partition.
        source: broker id to fetch a partition from, -1 for none.
        unplaced: called with each partition whose offset must be found first.
    """

class Fetched(Generic[B]):
    """Something for the caller: batches of a partition and the offset after them, or an event in place of a record.

    Attributes:
        epoch: of the partition when it was fetched.
        size: bytes that it counts for among those queued.
    """

    state: Assigned
    epoch: int
    batches: Iterator[B]
    size: int
    next_offset: int
    event: Message | None

    def __init__(
        self, state: Assigned, epoch: int, batches: Iterator[B], size: int, next_offset: int, event: Message | None = None
    ) -> None: ...

class Exchange(Generic[C, S]):
    """A request for what is to be fetched of partitions now.

    Attributes:
        epochs, offsets: of the partitions when it was made.
    """

    connection: C
    session: S
    version: int
    states: dict[Key, Assigned]
    epochs: dict[Key, int]
    offsets: dict[Key, int]

    def __init__(self, connection: C, session: S, version: int, states: dict[Key, Assigned]) -> None: ...

class FetchForm:
    """Writes the bodies of incremental fetch requests (KIP-227), version 13 or later.

    Args:
        most: bytes of one partition.
    """

    def __init__(self, min_bytes: int, max_bytes: int, most: int, isolation: int, rack: str) -> None: ...
    def body(
        self,
        version: int,
        wait: int,
        session_id: int,
        session_epoch: int,
        sent: dict[Key, int],
        offsets: dict[Key, int],
        topics: Mapping[str, Any],
    ) -> bytes | None:
        """A request for ``offsets`` in a session that knows ``sent``; None when it must forget some.

        Args:
            wait: milliseconds that the broker may wait.
            topics: metadata by name.
        """

def plain_batches(
    records: memoryview, topic: str, partition: int, offset: int, kind: type[B]
) -> tuple[list[B], int, int] | None:
    """The batches that were fetched, the offset after them and how many offsets they span; None if one is compressed, of an old
    format, damaged or a control batch, or if there is none."""
