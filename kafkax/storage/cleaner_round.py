"""One round of compaction over one log.

The keys of the dirty part are noted, then every group of segments is copied without what a later record of its key replaced,
synced under ``.cleaned`` names and put in the old segments' place.  Appends and reads go on meanwhile: they only meet the moment
in which the segments change.  A crash leaves either the old segments or the new one (see ``Log.replace_segments``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kafkax._core.compact import CleanedSegment, Compactor, CorruptSegment
from kafkax._core.log import Log, SegmentInfo
from kafkax._core.offset_map import OffsetMap
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS, compress, decompress
from kafkax.storage.cleaner_policy import CleaningPlan, CompactionPolicy, group_segments
from kafkax.storage.names import CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_file
from kafkax.storage.txn_index import AbortedTransaction, read_transactions

__all__ = ["CleaningResult", "CleaningRound", "CleaningStopped"]

_MAX_INFLATED = 1 << 30
"""Bytes that one batch may inflate to; more is no batch that a broker took."""

_CHUNK = 4 << 20
"""Bytes between two looks at the throttle and at whether to stop."""

Paced = Callable[[int], bool]
"""Told how many bytes were read and written; waits as the throttle asks; False to give the round up."""


class CleaningStopped(Exception):
    """The round was given up, because the broker stops or the log went away; nothing of it is lost but the work."""


@dataclass(frozen=True)
class CleaningResult:
    """What a round did: bytes, counts, and the offset up to which the log is clean now.

    ``deleted`` names the files that are out of service.
    """

    cleaned_to: int
    bytes_read: int
    bytes_before: int
    bytes_after: int
    records_read: int
    records_kept: int
    deleted: list[str]


class CleaningRound:
    """A round over ``log`` by ``plan``; :meth:`run` does it on the calling thread.

    Args:
        log: what to clean; the caller keeps retention and other rounds away from it meanwhile.
        plan: what to do.
        policy: what the topic says.
        now_ms: wall clock, against which tombstones are old or get their horizon.
        memory: bytes for the map of keys.
        load_factor: how full it may get.
        paced: throttle and stop.
    """

    def __init__(
        self,
        log: Log,
        plan: CleaningPlan,
        policy: CompactionPolicy,
        now_ms: int,
        *,
        memory: int,
        load_factor: float,
        paced: Paced,
    ) -> None:
        self._log = log
        self._folder = Path(log.directory)
        self._plan = plan
        self._policy = policy
        self._paced = paced
        self._compactor = Compactor(
            OffsetMap(memory, max(plan.upper_bound - plan.first_dirty, 1), load_factor),
            now_ms,
            policy.delete_retention_ms,
            plan.first_dirty,
            plan.upper_bound,
            self._aborted(),
            [(entry.producer_id, entry.last_offset, entry.producer_epoch) for entry in log.producers()],
            _inflate,
            _deflate,
        )
        self._ends = [segment.base_offset for segment in plan.segments[1:]] + [plan.upper_bound]

    def run(self) -> CleaningResult:
        """Clean.

        Raises:
            CleaningStopped: the round was given up.
            KafkaError: CORRUPT_MESSAGE when a batch does not check out, INVALID_CONFIG when the map of keys is too small.
            OSError: a file cannot be read or written.
        """
        end = self._index()
        self._compactor.rewind()
        chosen = [segment for segment in self._plan.segments if segment.base_offset < end]
        index_sizes = [self._file_size(segment, INDEX_SUFFIX) for segment in chosen]
        before = after = 0
        deleted: list[str] = []
        for group in group_segments(chosen, self._ends[len(chosen) - 1], self._policy, index_sizes=index_sizes):
            before += sum(segment.size for segment in group)
            cleaned = self._filter(group)
            after += cleaned.size
            deleted.extend(self._log.replace_segments([group[0].base_offset], [segment.base_offset for segment in group]))
        made = self._compactor
        return CleaningResult(end, made.bytes_read, before, after, made.records_read, made.records_kept, deleted)

    def _index(self) -> int:
        """Note the keys of the dirty part; the offset up to which that came."""
        made, first = self._compactor, self._plan.first_dirty
        for segment, end in zip(self._plan.segments, self._ends, strict=True):
            if end <= first:
                continue
            with self._opened(segment) as descriptor:
                self._walk(made.index, descriptor, segment)
            if made.full:
                break
            made.map.see(end - 1)
        if made.map.latest_offset < first:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                f"the keys of one batch of {self._folder} do not fit into the cleaner's map of {made.map.capacity} keys; "
                "raise log.cleaner.dedupe.buffer.size",
            )
        return made.map.latest_offset + 1

    def _filter(self, group: list[SegmentInfo]) -> CleanedSegment:
        """Copy what stays of a group into ``.cleaned`` files, synced."""
        base = group[0].base_offset
        path = self._cleaned_path(base, LOG_SUFFIX)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self._compactor.begin(descriptor, base, self._policy.index_interval_bytes)
            for segment in group:
                with self._opened(segment) as source:
                    self._walk(self._compactor.filter, source, segment)
            cleaned = self._compactor.finish()
            os.fsync(descriptor)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        self._write_synced(self._cleaned_path(base, INDEX_SUFFIX), cleaned.offset_index)
        self._write_synced(self._cleaned_path(base, TIME_INDEX_SUFFIX), cleaned.time_index)
        if cleaned.transaction_index:
            self._write_synced(self._cleaned_path(base, TXN_INDEX_SUFFIX), cleaned.transaction_index)
        written = os.stat(self._folder / segment_file(group[-1].base_offset, LOG_SUFFIX))
        os.utime(path, ns=(written.st_mtime_ns, written.st_mtime_ns))
        return cleaned

    def _walk(self, step: Callable[[int, int, int, int], int], descriptor: int, segment: SegmentInfo) -> None:
        """Take a segment through ``step`` in chunks, at the throttle's pace, until its end or until the map is full."""
        position, made = 0, self._compactor
        indexing = step == made.index
        while position < segment.size and not (indexing and made.full):
            moved = made.bytes_read + made.bytes_written
            position = self._checked(step, descriptor, position, segment)
            if not self._paced(made.bytes_read + made.bytes_written - moved):
                raise CleaningStopped

    def _checked(self, step: Callable[[int, int, int, int], int], descriptor: int, position: int, segment: SegmentInfo) -> int:
        try:
            return step(descriptor, position, segment.size, _CHUNK)
        except CorruptSegment as error:
            raise KafkaError(
                ErrorCode.CORRUPT_MESSAGE,
                f"{self._folder / segment_file(segment.base_offset, LOG_SUFFIX)}: the batch at byte {error.position} is corrupt",
            ) from None

    def _aborted(self) -> list[AbortedTransaction]:
        """The aborted transactions of the whole log: a transaction may end in a segment behind its records'."""
        found: list[AbortedTransaction] = []
        for segment in self._log.segments(times=False):
            found.extend(read_transactions(self._folder / segment_file(segment.base_offset, TXN_INDEX_SUFFIX)))
        return found

    @contextlib.contextmanager
    def _opened(self, segment: SegmentInfo) -> Iterator[int]:
        descriptor = os.open(self._folder / segment_file(segment.base_offset, LOG_SUFFIX), os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _cleaned_path(self, base_offset: int, suffix: str) -> Path:
        return self._folder / (segment_file(base_offset, suffix) + CLEANED_SUFFIX)

    def _file_size(self, segment: SegmentInfo, suffix: str) -> int:
        path = self._folder / segment_file(segment.base_offset, suffix)
        return path.stat().st_size if path.exists() else 0

    @staticmethod
    def _write_synced(path: Path, data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _inflate(codec: int, data: bytes) -> bytes:
    """Records of a compressed batch."""
    return decompress(CODECS[codec], data, _MAX_INFLATED)


def _deflate(codec: int, records: bytes) -> bytes:
    """Records compressed as their batch was."""
    return compress(CODECS[codec], records)
