"""Compaction of segments: which records stay, and writing them, without the GIL."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kafkax._core.offset_map import OffsetMap

class CleanedSegment(NamedTuple):
    """What became of the segments of a group.

    ``size``: bytes of the log file; ``next_offset``: one more than the last offset that a batch in it covers (the
    base offset when it is empty); the rest: contents of ``.index``, ``.timeindex`` and ``.txnindex``.
    """

    size: int
    next_offset: int
    offset_index: bytes
    time_index: bytes
    transaction_index: bytes

class Compactor:
    """One round of cleaning one log: first :meth:`index` the dirty part, then :meth:`filter` every group of segments.

    Not thread-safe; the long methods work without the GIL and take it only for compressed batches.

    Args:
        offset_map: where keys are noted.
        now_ms: wall clock (ms) against which delete horizons are held.
        delete_retention_ms: how long a tombstone stays once a round has first seen it as the last of its key.
        first_dirty_offset: where the part begins that no round has cleaned.
        upper_bound: first offset that this round may not touch; the batch just before it stays, even if empty.
        aborted: producer id, first offset, last offset, last stable offset of the aborted transactions, by first offset.
        last_records: producer id, last data offset (-1: only a marker is left), epoch of every active producer.
        inflate: codec and compressed records to records; may raise.
        deflate: codec and records to compressed records.
    """

    map: OffsetMap
    full: bool
    """Whether the map filled up before the dirty part ended."""
    bytes_read: int
    bytes_written: int
    records_read: int
    records_kept: int
    batches_read: int

    def __init__(
        self,
        offset_map: OffsetMap,
        now_ms: int,
        delete_retention_ms: int,
        first_dirty_offset: int,
        upper_bound: int,
        aborted: Sequence[tuple[int, int, int, int]],
        last_records: Sequence[tuple[int, int, int]],
        inflate: Callable[[int, bytes], bytes],
        deflate: Callable[[int, bytes], bytes],
    ) -> None: ...
    def index(self, fd: int, position: int, end: int, budget: int) -> int:
        """Note the keys of the batches from byte ``position``, at least one batch, at most about ``budget`` bytes.

        Returns the position to go on from; ``end`` or :attr:`full` says that the segment is done.  Raises
        :class:`OSError`, :class:`MemoryError`, :class:`CorruptSegment`, and what ``inflate`` raises.
        """
    def rewind(self) -> None:
        """Forget which transactions the scan is inside of; between indexing and filtering."""
    def begin(self, fd: int, base_offset: int, index_interval: int) -> None:
        """Write to the (empty) log file ``fd`` of a new segment from here on; ``index_interval`` in bytes."""
    def filter(self, fd: int, position: int, end: int, budget: int) -> int:
        """Copy what stays of the batches from byte ``position``; arguments, result and errors as of :meth:`index`."""
    def finish(self) -> CleanedSegment:
        """Write out what is still buffered; the caller syncs.  Raises :class:`OSError`."""

class CorruptSegment(Exception):
    """A batch that does not check out; ``position`` is its first byte in the file."""

    position: int
