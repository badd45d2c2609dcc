"""Reading a log directory without a broker: batches and records straight from the segment files.

The files are only read, so a running broker may own them; what it appends while one reads may be seen or not.

    with PartitionReader("/var/lib/kafka/topic-0") as log:
        for record in log.records(isolation="read_committed"):
            ...
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.record import Record
from kafkax.protocol.records import AnyBatch, RecordBatch, iter_batches
from kafkax.storage.names import LOG_SUFFIX, TXN_INDEX_SUFFIX, offset_of, segment_file
from kafkax.storage.txn_index import AbortedTransaction, read_transactions

__all__ = ["DamagedSegment", "PartitionReader", "PlacedBatch", "UnwrittenRoom", "read_segment"]

_CHUNK = 1 << 20
_PREFIX = struct.Struct(">qi")
_SMALLEST = 14
"""Bytes behind the length field of the shortest message that any format knows."""


class DamagedSegment(KafkaError):
    """A segment file that holds something else than whole batches; carries CORRUPT_MESSAGE.

    Attributes:
        path: the file.
        position: first byte of what is no whole, intact batch.
        torn: whether the file just ends within a batch, as after a crash or while a broker appends.
    """

    def __init__(self, path: Path, position: int, problem: str, *, torn: bool = False) -> None:
        super().__init__(ErrorCode.CORRUPT_MESSAGE, f"{path}: byte {position}: {problem}")
        self.path, self.position, self.torn = path, position, torn


class UnwrittenRoom(DamagedSegment):
    """A segment goes on with nothing but zeros: room that a broker made ahead (``preallocate``, or for hasty small syncs).

    It is damage where another segment follows, since room is cut off before the next one begins.
    """


class PlacedBatch(NamedTuple):
    """A batch and the byte of its file where it begins."""

    position: int
    batch: AnyBatch


def read_segment(path: str | os.PathLike[str], position: int = 0, *, check: bool = True) -> Iterator[PlacedBatch]:
    """The batches of a segment file from byte ``position`` on.

    Args:
        path: a ``.log`` file, or another file of batches.
        position: where a batch begins.
        check: whether checksums are compared.

    Raises:
        DamagedSegment: when the first batch that is not whole and intact is reached.
        OSError: the file cannot be read.
    """
    where = Path(path)
    with open(where, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(position)
        chunk = b""
        at = 0
        while position < size:
            if len(chunk) - at < _PREFIX.size or len(chunk) - at < _whole(chunk, at):
                chunk, at = _refill(file, chunk[at:], where, position, size), 0
            length = _whole(chunk, at)
            if length == _PREFIX.size and _only_zeros(file, chunk[at:]):
                raise UnwrittenRoom(where, position, f"{size - position} bytes of room that nothing is written to yet", torn=True)
            if length < _SMALLEST + _PREFIX.size:
                raise DamagedSegment(where, position, f"no batch has a length of {length} bytes")
            try:
                batch = next(iter_batches(memoryview(chunk)[at : at + length]))
                if check:
                    batch.check()
            except (KafkaError, StopIteration) as error:
                raise DamagedSegment(where, position, str(error) or "no batch") from None
            yield PlacedBatch(position, batch)
            at += length
            position += length


def _whole(chunk: bytes, at: int) -> int:
    """Bytes of the batch that begins at ``at``, as it says itself."""
    return int(_PREFIX.unpack_from(chunk, at)[1]) + _PREFIX.size


def _only_zeros(file: BinaryIO, chunk: bytes) -> bool:
    """Whether neither ``chunk`` nor the rest of the file holds anything else; up to a gigabyte, so not byte by byte."""
    while chunk:
        if chunk.strip(b"\0"):
            return False
        chunk = file.read(_CHUNK)
    return True


def _refill(file: BinaryIO, rest: bytes, where: Path, position: int, size: int) -> bytes:
    """``rest`` and what follows it, at least one whole batch."""
    chunk = rest + file.read(_CHUNK)
    if len(chunk) < _PREFIX.size:
        raise DamagedSegment(where, position, f"{size - position} bytes are less than a batch's prefix", torn=True)
    length = _whole(chunk, 0)
    if position + length > size:
        raise DamagedSegment(where, position, f"a batch of {length} bytes, {size - position} are left in the file", torn=True)
    if length > len(chunk):
        chunk += file.read(length - len(chunk))
    return chunk


class PartitionReader:
    """Reads the log in a partition's folder.

    Args:
        folder: the folder, for example ``/var/lib/kafka/topic-0``.

    Raises:
        KafkaError: LOG_DIR_NOT_FOUND when there is no segment in it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        names = sorted(path.name for path in self.folder.glob("*" + LOG_SUFFIX))
        self.base_offsets = [offset for offset in map(offset_of, names) if offset is not None]
        if not self.base_offsets:
            raise KafkaError(ErrorCode.LOG_DIR_NOT_FOUND, f"{self.folder} holds no log segment")
        self._aborted: list[AbortedTransaction] | None = None

    def __enter__(self) -> PartitionReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._aborted = None

    def batches(self, start_offset: int = 0) -> Iterator[AnyBatch]:
        """The batches from the one that holds ``start_offset`` (or the next there is) on.

        A torn batch at the end of the newest segment ends the log; anywhere else it raises :class:`DamagedSegment`.
        """
        first = max(bisect_right(self.base_offsets, start_offset) - 1, 0)
        for base_offset in self.base_offsets[first:]:
            try:
                for _, batch in read_segment(self.folder / segment_file(base_offset, LOG_SUFFIX)):
                    if batch.next_offset > start_offset:
                        yield batch
            except DamagedSegment as damage:
                if not (damage.torn and base_offset == self.base_offsets[-1]):
                    raise

    def records(
        self, start_offset: int = 0, *, isolation: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    ) -> Iterator[Record]:
        """The records from ``start_offset`` on, without control records.

        With ``read_committed`` records of aborted transactions are left out; those of transactions that have not ended are not.
        """
        for batch in self.batches(start_offset):
            if isinstance(batch, RecordBatch) and (batch.control or (isolation == "read_committed" and self._is_aborted(batch))):
                continue
            for record in batch.records():
                if record.offset >= start_offset:
                    yield record

    def aborted_transactions(self) -> list[AbortedTransaction]:
        """All aborted transactions of the log, by their markers' offsets."""
        if self._aborted is None:
            self._aborted = [
                entry
                for base_offset in self.base_offsets
                for entry in read_transactions(self.folder / segment_file(base_offset, TXN_INDEX_SUFFIX))
            ]
        return self._aborted

    def _is_aborted(self, batch: RecordBatch) -> bool:
        return batch.transactional and any(
            entry.producer_id == batch.producer_id and entry.first_offset <= batch.base_offset <= entry.last_offset
            for entry in self.aborted_transactions()
        )
