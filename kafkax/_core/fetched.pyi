"""Batches that a consumer fetched: decoded record by record when they are touched."""

from typing import NamedTuple

from typing_extensions import Buffer

from kafkax._core.message import Message

class Columns(NamedTuple):
    """Records as Arrow lays them out: ``*_valid`` are bits, ``*_ends`` int32 with one more entry than there are fields.

    Offsets and timestamps (milliseconds since the epoch) are int64. ``headers_ends`` says where each record's headers end among
    all headers, whose names and values follow.
    """

    rows: int
    header_count: int
    null_keys: int
    null_values: int
    null_header_values: int
    offsets: bytes
    timestamps: bytes
    keys_valid: bytes
    keys_ends: bytes
    keys: bytes
    values_valid: bytes
    values_ends: bytes
    values: bytes
    headers_ends: bytes
    names_valid: bytes
    names_ends: bytes
    names: bytes
    header_values_valid: bytes
    header_values_ends: bytes
    header_values: bytes

class FetchedBatch:
    """The records of one batch, decompressed.

    Args:
        header: the batch from its first byte on, at least its header of 61 bytes.
        records: the records' bytes.
        topic, partition: where they come from.
        position: the first offset that is wanted; records before it are skipped.
    """

    topic: str
    partition: int
    base_offset: int
    next_offset: int
    leader_epoch: int
    position: int
    given: bool

    def __init__(self, header: Buffer, records: Buffer, topic: str, partition: int, position: int) -> None: ...
    def next(self) -> Message | None:
        """The next record; None at the end.

        Raises:
            KafkaError: INVALID_RECORD when the bytes do not fit.
        """

    def drop(self) -> None:
        """Give nothing more; from any thread."""

    def take(self, count: int, into: list[Message]) -> int:
        """Append up to ``count`` records to a list; how many there were."""

    def columns(self) -> Columns:
        """What is left, as Arrow's buffers; no Python object is made for a record, and the GIL is not held.

        Raises:
            KafkaError: INVALID_RECORD when the bytes do not fit.
        """
