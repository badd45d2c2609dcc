"""What the cleaner does next: which log is the dirtiest, up to where it may be cleaned, which segments become one.

A compacted log has a clean head, where each key stands once, and a dirty tail.  Compaction never touches the active segment,
anything above the last stable offset or the high watermark, or segments with records younger than ``min.compaction.lag.ms``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kafkax._core.log import SegmentInfo
from kafkax.storage.settings import Configs

__all__ = ["CleaningPlan", "CompactionPolicy", "group_segments", "plan"]

_MAX_RELATIVE_OFFSET = 2**31 - 1
_NO_LAG = 2**63 - 1


@dataclass(frozen=True)
class CompactionPolicy:
    """What a topic says about compaction; times in ms, ``min_dirty_ratio`` 0 to 1.  Attributes as the topic configs are named."""

    min_dirty_ratio: float
    min_lag_ms: int
    max_lag_ms: int
    delete_retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int

    @property
    def needs_first_timestamps(self) -> bool:
        """Whether ``max.compaction.lag.ms`` says anything."""
        return self.max_lag_ms < _NO_LAG

    @classmethod
    def of(cls, config: Configs) -> CompactionPolicy:
        """The policy in a topic's configs."""
        return cls(
            min_dirty_ratio=config["min.cleanable.dirty.ratio"],
            min_lag_ms=config["min.compaction.lag.ms"],
            max_lag_ms=config["max.compaction.lag.ms"],
            delete_retention_ms=config["delete.retention.ms"],
            segment_bytes=config["segment.bytes"],
            segment_index_bytes=config["segment.index.bytes"],
            index_interval_bytes=config["index.interval.bytes"],
        )


@dataclass(frozen=True)
class CleaningPlan:
    """What a round over a log would do.

    Attributes:
        first_dirty: offset where the part begins that no round has seen.
        upper_bound: offset up to which, exclusive, the round may go; a segment begins there.
        segments: the segments below ``upper_bound``, oldest first.
        clean_bytes, dirty_bytes: what of them lies below ``first_dirty``, and the rest.
        overdue: whether a dirty record is older than ``max.compaction.lag.ms``.
    """

    first_dirty: int
    upper_bound: int
    segments: tuple[SegmentInfo, ...]
    clean_bytes: int
    dirty_bytes: int
    overdue: bool

    @property
    def dirty_ratio(self) -> float:
        """Share of the bytes that are dirty, 0 to 1."""
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0

    def worthwhile(self, policy: CompactionPolicy) -> bool:
        """Whether a round should be made now."""
        return self.dirty_bytes > 0 and (self.overdue or self.dirty_ratio > policy.min_dirty_ratio)


def plan(
    segments: Sequence[SegmentInfo],
    policy: CompactionPolicy,
    *,
    cleaned_to: int | None,
    log_start_offset: int,
    log_end_offset: int,
    stable_offset: int,
    now_ms: int,
    max_timestamp: Callable[[SegmentInfo], int],
) -> CleaningPlan:
    """What a round over the log would do now.

    Args:
        segments: all of the log's, oldest first, the active one last; times known if the policy asks for lags.
        policy: what the topic says.
        cleaned_to: offset up to which earlier rounds came, as the checkpoint has it; None: no round yet.
        log_start_offset, log_end_offset: the log's bounds; a checkpoint outside them belongs to an older life of the log.
        stable_offset: the lower of high watermark and last stable offset.
        now_ms: wall clock.
        max_timestamp: gives a segment's largest timestamp (ms).
    """
    first_dirty = log_start_offset
    if cleaned_to is not None and log_start_offset <= cleaned_to <= log_end_offset:
        first_dirty = cleaned_to
    chosen: list[SegmentInfo] = []
    dirty: list[SegmentInfo] = []
    upper_bound = segments[0].base_offset
    for segment, following in pairwise(segments):
        dirty_segment = following.base_offset > first_dirty
        young = dirty_segment and policy.min_lag_ms > 0 and now_ms - max_timestamp(segment) < policy.min_lag_ms
        if following.base_offset > stable_offset or young:
            break
        chosen.append(segment)
        upper_bound = following.base_offset
        if dirty_segment:
            dirty.append(segment)
    dirty_bytes = sum(segment.size for segment in dirty)
    return CleaningPlan(
        first_dirty=first_dirty,
        upper_bound=upper_bound,
        segments=tuple(chosen),
        clean_bytes=sum(segment.size for segment in chosen) - dirty_bytes,
        dirty_bytes=dirty_bytes,
        overdue=any(0 <= segment.first_timestamp < now_ms - policy.max_lag_ms for segment in dirty),
    )


def group_segments(
    segments: Sequence[SegmentInfo], end_offset: int, policy: CompactionPolicy, *, index_sizes: Sequence[int]
) -> list[list[SegmentInfo]]:
    """Neighbouring segments that together fit into one, so that compaction doesn't leave ever smaller files.

    Args:
        segments: those to be cleaned, oldest first.
        end_offset: where the last of them ends.
        policy: how large a segment and its index may be.
        index_sizes: bytes of each segment's offset index.
    """
    ends = [segment.base_offset for segment in segments[1:]] + [end_offset]
    groups: list[list[SegmentInfo]] = []
    size = index_size = 0
    for segment, end, its_index in zip(segments, ends, index_sizes, strict=True):
        fits = (
            bool(groups)
            and size + segment.size <= policy.segment_bytes
            and index_size + its_index <= policy.segment_index_bytes
            and end - 1 - groups[-1][0].base_offset <= _MAX_RELATIVE_OFFSET
        )
        if not fits:
            groups.append([])
            size = index_size = 0
        groups[-1].append(segment)
        size += segment.size
        index_size += its_index
    return groups
