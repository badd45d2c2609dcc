"""Batches that a consumer fetched: decoded record by record when they are touched."""

from typing_extensions import Buffer

from kafkax._core.message import Message

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

    def columns(self) -> tuple[int, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]:
        """What is left, as Arrow's buffers.

        Returns:
            Number of records; int64 offsets; int64 timestamps (ms); for keys and then for values: validity bits, int32 ends (one
            more than records), bytes.
        """
