"""A partition's log together with where it lies and what its topic says about it."""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass, field

from kafkax._core.log import Log, SegmentInfo
from kafkax.model import TopicPartition
from kafkax.storage.directory import LogDirectory
from kafkax.storage.names import LOG_SUFFIX, segment_file
from kafkax.storage.partition_metadata import write_topic_id
from kafkax.storage.settings import Configs

__all__ = ["PartitionLog"]


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

    def segments(self) -> list[SegmentInfo]:
        """All segments, oldest first; a segment without any timestamp shows when its file was last written."""
        return [self._dated(segment) for segment in self.log.segments()]

    def _dated(self, segment: SegmentInfo) -> SegmentInfo:
        if segment.max_timestamp >= 0:
            return segment
        path = os.path.join(self.log.directory, segment_file(segment.base_offset, LOG_SUFFIX))
        return segment._replace(max_timestamp=os.stat(path).st_mtime_ns // 1_000_000)

    def assign_topic_id(self, topic_id: uuid.UUID) -> None:
        """Write the topic's id beside the log, once; raises :class:`OSError`."""
        if self.topic_id != topic_id:
            write_topic_id(self.log.directory, topic_id)
            self.topic_id = topic_id
