"""Checking a log directory without a broker: every checksum, and every other file against the log that it speaks of.

Nothing is changed.  What is found wrong is a :class:`Problem`; a broker that opens the directory repairs what it can (indexes,
a torn tail, snapshots) and says what it cannot.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kafkax.errors import KafkaError
from kafkax.protocol.records import RecordBatch
from kafkax.storage.checkpoints import parse_offsets
from kafkax.storage.directory import CLEAN_SHUTDOWN_MARKER
from kafkax.storage.dump import parse_index, parse_time_index
from kafkax.storage.epoch_checkpoint import EpochStart, read_epochs
from kafkax.storage.files import MalformedFile
from kafkax.storage.meta_properties import read_meta_properties
from kafkax.storage.names import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    FolderKind,
    offset_of,
    parse_folder,
    segment_file,
)
from kafkax.storage.partition_metadata import read_topic_id
from kafkax.storage.producer_snapshot import read_snapshot
from kafkax.storage.reader import DamagedSegment, UnwrittenRoom, read_segment
from kafkax.storage.txn_index import parse_transactions

__all__ = ["Problem", "Verification", "verify"]


class Problem(NamedTuple):
    """What is wrong with a file."""

    path: str
    problem: str


@dataclass
class Verification:
    """What was looked at and what is wrong.

    Attributes:
        partitions, segments, batches, records, bytes: how much was checked; ``records`` as the batches count them.
        problems: in the order in which they were met.
    """

    partitions: int = 0
    segments: int = 0
    batches: int = 0
    records: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)


class _Batch(NamedTuple):
    position: int
    base_offset: int
    last_offset: int
    max_timestamp: int


def verify(path: Path, *, deep: bool = False, progress: Callable[[int], None] | None = None) -> Verification:
    """Check a partition's folder, or a log directory with all partitions in it.

    Args:
        path: the folder.
        deep: whether records are decompressed and parsed as well.
        progress: told how many bytes of log were checked since the last time.

    Raises:
        NotADirectoryError: ``path`` is no folder.
        OSError: it cannot be read.
    """
    if not path.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(path))
    result = Verification()
    if any(path.glob("*" + LOG_SUFFIX)):
        _Partition(path, result, deep=deep, progress=progress or _ignore).check()
        return result
    _check_directory(path, result)
    for folder in sorted(entry.path for entry in os.scandir(path) if entry.is_dir()):
        name = parse_folder(os.path.basename(folder))
        if name is not None and name.kind is not FolderKind.DELETE:
            _Partition(Path(folder), result, deep=deep, progress=progress or _ignore).check()
    return result


def _ignore(_: int) -> None:
    """Progress that nobody looks at."""


def _check_directory(path: Path, result: Verification) -> None:
    """The files of a log directory itself."""
    with _noting(result):
        read_meta_properties(path)
    for file in sorted(path.glob("*-offset-checkpoint")):
        with _noting(result):
            parse_offsets(file, file.read_bytes())


class _noting:
    """Notes a malformed file as a problem and goes on behind the ``with``."""

    def __init__(self, result: Verification) -> None:
        self._result = result

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, MalformedFile):
            return False
        self._result.problems.append(Problem(str(error.path), error.problem))
        return True


class _Partition:
    """The check of one partition's folder."""

    def __init__(self, folder: Path, result: Verification, *, deep: bool, progress: Callable[[int], None]) -> None:
        self._folder = folder
        self._result = result
        self._deep = deep
        self._progress = progress
        self._epochs: list[EpochStart] = []
        self._newest = -1
        """Base offset of the newest segment."""
        self._epochs_end = -1
        """Offset from which on the epoch file may be behind, -1: nowhere."""

    def check(self) -> None:
        """Look at everything in the folder."""
        self._result.partitions += 1
        with _noting(self._result):
            read_topic_id(self._folder)
        with _noting(self._result):
            self._epochs = read_epochs(self._folder)
        for path in sorted(self._folder.glob("*" + SNAPSHOT_SUFFIX)):
            with _noting(self._result):
                read_snapshot(path)
        offsets = sorted(offset for path in self._folder.glob("*" + LOG_SUFFIX) if (offset := offset_of(path.name)) is not None)
        if offsets and not (self._folder.parent / CLEAN_SHUTDOWN_MARKER).exists():
            # It is written when a segment is sealed and from time to time; after a crash recovery looks at the last segment.
            self._epochs_end = offsets[-1]
        next_offset = -1
        self._newest = offsets[-1] if offsets else -1
        for base_offset in offsets:
            if base_offset < next_offset:
                self._note(LOG_SUFFIX, base_offset, f"the segment before it reaches up to offset {next_offset - 1}")
            next_offset = self._check_segment(base_offset)

    def _check_segment(self, base_offset: int) -> int:
        """Check a segment and its indexes; the offset behind its last whole batch."""
        self._result.segments += 1
        batches = list(self._batches(base_offset))
        next_offset = batches[-1].last_offset + 1 if batches else base_offset
        for suffix, check in (
            (INDEX_SUFFIX, self._check_index),
            (TIME_INDEX_SUFFIX, self._check_time_index),
            (TXN_INDEX_SUFFIX, self._check_transactions),
        ):
            path = self._folder / segment_file(base_offset, suffix)
            if path.exists():
                with _noting(self._result):
                    check(path, base_offset, batches)
            elif suffix != TXN_INDEX_SUFFIX:
                self._note(suffix, base_offset, "it is missing")
        return next_offset

    def _batches(self, base_offset: int) -> Iterator[_Batch]:
        """The segment's whole batches; notes where they stop or do not fit."""
        path = self._folder / segment_file(base_offset, LOG_SUFFIX)
        expected = base_offset
        try:
            for position, batch in read_segment(path):
                first, last = batch.base_offset, batch.last_offset
                if first < expected:
                    self._note(LOG_SUFFIX, base_offset, f"byte {position}: offset {first} after {expected - 1}")
                expected = last + 1
                if isinstance(batch, RecordBatch):
                    self._check_epoch(base_offset, position, first, batch.leader_epoch)
                if self._deep:
                    self._check_records(path, position, batch.records())
                self._result.batches += 1
                self._result.records += batch.count if isinstance(batch, RecordBatch) else 1
                self._result.bytes += len(batch.data)
                self._progress(len(batch.data))
                yield _Batch(position, first, last, batch.max_timestamp if isinstance(batch, RecordBatch) else batch.timestamp)
        except DamagedSegment as damage:
            if isinstance(damage, UnwrittenRoom) and base_offset == self._newest:
                return
            self._result.problems.append(Problem(str(path), str(damage).removeprefix(f"{path}: ")))

    def _check_records(self, path: Path, position: int, records: Iterator[object]) -> None:
        try:
            for _ in records:
                pass
        except KafkaError as error:
            self._result.problems.append(Problem(str(path), f"byte {position}: {error}"))

    def _check_epoch(self, base_offset: int, position: int, offset: int, epoch: int) -> None:
        """A batch's epoch against the epoch file, where that speaks of its offset."""
        if 0 <= self._epochs_end <= offset:
            return
        at = bisect_right(self._epochs, offset, key=lambda entry: entry.start_offset) - 1
        if at >= 0 and self._epochs[at].epoch != epoch:
            problem = f"byte {position}: leader epoch {epoch} at offset {offset}, the epoch file says {self._epochs[at].epoch}"
            self._note(LOG_SUFFIX, base_offset, problem)

    def _check_index(self, path: Path, base_offset: int, batches: list[_Batch]) -> None:
        by_position = {batch.position: batch for batch in batches}
        for offset, position in parse_index(path, path.read_bytes(), base_offset):
            batch = by_position.get(position)
            if batch is None:
                raise MalformedFile(path, f"offset {offset} at byte {position}, where no batch begins")
            if not batch.base_offset <= offset:
                raise MalformedFile(path, f"offset {offset} at byte {position}, where offset {batch.base_offset} begins")

    def _check_time_index(self, path: Path, base_offset: int, batches: list[_Batch]) -> None:
        at, latest = 0, -1
        for timestamp, offset in parse_time_index(path, path.read_bytes(), base_offset):
            while at < len(batches) and batches[at].last_offset <= offset:
                latest = max(latest, batches[at].max_timestamp)
                at += 1
            if latest > timestamp:
                raise MalformedFile(path, f"timestamp {timestamp} up to offset {offset}, but a batch there has {latest}")

    def _check_transactions(self, path: Path, base_offset: int, batches: list[_Batch]) -> None:
        last = batches[-1].last_offset if batches else base_offset - 1
        for entry in parse_transactions(path, path.read_bytes(), base_offset):
            if entry.last_offset > last:
                raise MalformedFile(path, f"a transaction that ends at offset {entry.last_offset}, the segment ends at {last}")

    def _note(self, suffix: str, base_offset: int, problem: str) -> None:
        self._result.problems.append(Problem(str(self._folder / segment_file(base_offset, suffix)), problem))
