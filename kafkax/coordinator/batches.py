"""Coordinator records to batches of the internal topic, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kafkax._core.batch_writer import BatchWriter
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.control import ControlType, end_transaction_batch
from kafkax.protocol.records import RecordBatch, iter_batches

if TYPE_CHECKING:
    from kafkax.coordinator.runtime import Producer

__all__ = ["Block", "Entries", "Entry", "ReadBatch", "batch_size", "encode_marker", "finish_batch", "read_batches"]

Entry = tuple[bytes, "bytes | None"]
"""Key and value of a record; a value of None deletes the key."""

_SIZE_AT, _SIZE_END = 8, 12
"""Where a batch of any magic tells how many bytes follow."""

_RECORD_OVERHEAD = 24
"""Most bytes that a record takes besides its key and value: lengths, deltas, attributes, header count."""


class ReadBatch(NamedTuple):
    """A batch read back.

    Attributes:
        producer_id: of a transactional batch; -1 otherwise.
        producer_epoch: the same.
        transactional: whether the entries count only once the producer's transaction has committed.
        marker: for the end of a transaction: whether it committed; None for data.
        entries: keys and values.
    """

    producer_id: int
    producer_epoch: int
    transactional: bool
    marker: bool | None
    entries: list[Entry]


class Block(Protocol):
    """Records that write themselves into a batch."""

    @property
    def size(self) -> int:
        """Bytes that they take in a batch at most."""

    def write(self, batch: BatchWriter) -> None:
        """Add them."""


class Entries:
    """A block of keys and values."""

    __slots__ = ("_entries", "size")

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.size = sum(len(key) + len(value or b"") + _RECORD_OVERHEAD for key, value in entries)

    def write(self, batch: BatchWriter) -> None:
        """Add them."""
        for key, value in self._entries:
            batch.add(key, value)


def finish_batch(batch: BatchWriter, timestamp_ms: int, producer: Producer | None = None) -> bytes:
    """What was written as one batch; transactional when a producer is given."""
    if producer is None:
        return batch.finish(timestamp_ms)
    return batch.finish(timestamp_ms, producer.id, producer.epoch, transactional=True)


def encode_marker(producer: Producer, coordinator_epoch: int, timestamp_ms: int, *, commit: bool) -> bytes:
    """The batch that ends a producer's transaction."""
    return end_transaction_batch(
        commit,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        coordinator_epoch=coordinator_epoch,
        timestamp=timestamp_ms,
    )


def batch_size(piece: bytes, position: int) -> int | None:
    """Bytes of the whole batch that begins at a position; None when it is cut short there."""
    if len(piece) - position < _SIZE_END:
        return None
    size = _SIZE_END + int.from_bytes(piece[position + _SIZE_AT : position + _SIZE_END], "big", signed=True)
    if size <= _SIZE_END:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch claims to be of {size} bytes")
    return size if position + size <= len(piece) else None


def read_batches(piece: bytes | memoryview) -> Iterator[ReadBatch]:
    """The batches of a piece of the log.

    Raises:
        KafkaError: a batch is damaged.
    """
    for batch in iter_batches(piece):
        if not isinstance(batch, RecordBatch):
            yield ReadBatch(-1, -1, False, None, [(record.key or b"", record.value) for record in batch.records()])
        elif batch.control:
            for record in batch.records():
                kind = ControlType.of(record)
                if kind in (ControlType.COMMIT, ControlType.ABORT):
                    yield ReadBatch(batch.producer_id, batch.producer_epoch, True, kind is ControlType.COMMIT, [])
        else:
            entries = [(record.key or b"", record.value) for record in batch.records()]
            yield ReadBatch(batch.producer_id, batch.producer_epoch, batch.transactional, None, entries)
