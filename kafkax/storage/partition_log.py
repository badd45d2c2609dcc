"""A partition's log together with where it lies and what its topic says about it."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from kafkax._core.log import Log, SegmentInfo
from kafkax.model import TopicPartition
from kafkax.storage.directory import LogDirectory
from kafkax.storage.files import sync_directory, sync_file
from kafkax.storage.names import LOG_SUFFIX, TIME_INDEX_SUFFIX, segment_file
from kafkax.storage.partition_metadata import PARTITION_METADATA, write_topic_id
from kafkax.storage.settings import Configs

__all__ = ["PartitionLog"]

_TIME_ENTRY = struct.Struct(">qi")


@dataclass(eq=False)
class PartitionLog:
    """One log that the manager looks after.

    Attributes:
        partition: topic and number.
        log: the log itself; closed when its directory went offline or it was deleted.
        directory: the entry of ``log.dirs`` that holds it.
        config: the topic's configs.
        topic_id: the topic's id as ``partition.metadata`` has it; None while nobody told.
        future: whether it is the copy that a move between directories fills.
    """

    partition: TopicPartition
    log: Log
    directory: LogDirectory
    config: Configs
    topic_id: uuid.UUID | None = None
    future: bool = False
    maintenance: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while old segments are removed or replaced, so that retention and compaction never work on the same ones."""

    waiting: int = 0
    """How many want ``maintenance`` so much that a compaction that holds it is to be given up."""

    _times: dict[tuple[int, int], int] = field(default_factory=dict, repr=False)

    @contextlib.contextmanager
    def without_compaction(self) -> Iterator[None]:
        """Hold ``maintenance``, for which a compaction under way is given up."""
        self.waiting += 1
        try:
            with self.maintenance:
                yield
        finally:
            self.waiting -= 1

    def max_timestamp(self, segment: SegmentInfo) -> int:
        """The largest timestamp (ms) in a segment; when its file was last written for one without any.

        What the log has not looked at yet is read from the end of the time index, once: the log itself would keep the segment
        open from then on, which thousands of idle logs could not afford.
        """
        if segment.max_timestamp >= 0:
            return segment.max_timestamp
        key = segment.base_offset, segment.size
        if key not in self._times:
            self._times[key] = self._read_max_timestamp(segment)
        return self._times[key]

    def _read_max_timestamp(self, segment: SegmentInfo) -> int:
        base = os.path.join(self.log.directory, segment_file(segment.base_offset, ""))
        try:
            with open(base + TIME_INDEX_SUFFIX, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - _TIME_ENTRY.size, 0))
                tail = file.read()
        except FileNotFoundError:
            tail = b""
        if len(tail) == _TIME_ENTRY.size and _TIME_ENTRY.unpack(tail)[0] > 0:
            return int(_TIME_ENTRY.unpack(tail)[0])
        return os.stat(base + LOG_SUFFIX).st_mtime_ns // 1_000_000

    def assign_topic_id(self, topic_id: uuid.UUID, *, sync: bool = True) -> None:
        """Write the topic's id beside the log, once, synced by the caller unless ``sync``; raises :class:`OSError`."""
        if self.topic_id != topic_id:
            write_topic_id(self.log.directory, topic_id, sync=sync)
            self.topic_id = topic_id

    def sync_creation(self) -> None:
        """Make the folder's files outlast a power cut, but not yet the folder's own name; raises :class:`OSError`."""
        if self.topic_id is not None:
            sync_file(os.path.join(self.log.directory, PARTITION_METADATA))
        sync_directory(self.log.directory)
