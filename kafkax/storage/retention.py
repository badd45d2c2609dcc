"""Which segments a log may let go: by the age of their records, by the log's size, and by where the log begins.

Segments go from the oldest on and only as long as each one in turn may go, so that a log never gets holes; nothing goes that
is not below the high watermark, for a follower could still need it.  A log that is only compacted keeps what has not been
deleted on request (DeleteRecords).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from kafkax._core.log import SegmentInfo
from kafkax.storage.settings import Configs, is_deleted

__all__ = ["RetentionPolicy", "Verdict", "breached"]


@dataclass(frozen=True)
class RetentionPolicy:
    """What a topic says about letting go.

    Attributes:
        retention_ms: age (ms) beyond which records may go; -1: none (``retention.ms``).
        retention_bytes: log size beyond which the oldest segments go; -1: none (``retention.bytes``).
        deletes: whether ``cleanup.policy`` names ``delete``; otherwise neither of the two counts.
    """

    retention_ms: int
    retention_bytes: int
    deletes: bool

    @classmethod
    def of(cls, config: Configs) -> RetentionPolicy:
        """The policy in a topic's configs."""
        return cls(config["retention.ms"], config["retention.bytes"], is_deleted(config))


class Verdict(NamedTuple):
    """What may go: all segments below ``offset``, for ``reason``; ``roll`` when that takes the active one with it."""

    offset: int
    reason: str
    roll: bool


def breached(
    segments: Sequence[SegmentInfo],
    policy: RetentionPolicy,
    *,
    log_start_offset: int,
    high_watermark: int,
    log_end_offset: int,
    now_ms: int,
    max_timestamp: Callable[[SegmentInfo], int],
) -> Verdict | None:
    """The segments that go now; None when all stay.

    Args:
        segments: all of the log's, oldest first.
        policy: what the topic says.
        log_start_offset: segments wholly below it go under every policy.
        high_watermark: segments that reach above it stay.
        log_end_offset: where the active segment ends.
        now_ms: wall clock.
        max_timestamp: gives a segment's largest timestamp (ms); asked of the oldest ones only, up to the first that stays.
    """
    ends = [segment.base_offset for segment in segments[1:]] + [log_end_offset]
    whole = zip(segments, ends, strict=True)
    candidates = list(takewhile(lambda pair: pair[0].base_offset < pair[1] <= high_watermark, whole))
    best = Verdict(-1, "", False)
    for reason, count in (
        ("log start offset", _below(candidates[: len(segments) - 1], log_start_offset)),
        ("retention.ms", _expired(candidates, policy, now_ms, max_timestamp)),
        ("retention.bytes", _excess(candidates, policy, sum(segment.size for segment in segments))),
    ):
        if count and candidates[count - 1][1] > best.offset:
            best = Verdict(candidates[count - 1][1], reason, count == len(segments))
    return None if best.offset < 0 else best


def _below(candidates: Sequence[tuple[SegmentInfo, int]], offset: int) -> int:
    """How many end at or below ``offset``."""
    return sum(1 for _, end in candidates if end <= offset)


def _expired(
    candidates: Sequence[tuple[SegmentInfo, int]],
    policy: RetentionPolicy,
    now_ms: int,
    max_timestamp: Callable[[SegmentInfo], int],
) -> int:
    """How many of the oldest have only records older than the retention time."""
    if not policy.deletes or policy.retention_ms < 0:
        return 0
    for count, (segment, _) in enumerate(candidates):
        if now_ms - max_timestamp(segment) <= policy.retention_ms:
            return count
    return len(candidates)


def _excess(candidates: Sequence[tuple[SegmentInfo, int]], policy: RetentionPolicy, size: int) -> int:
    """How many of the oldest can go with the log still at least as large as its retention size."""
    if not policy.deletes or policy.retention_bytes < 0:
        return 0
    for count, (segment, _) in enumerate(candidates):
        size -= segment.size
        if size < policy.retention_bytes:
            return count
    return len(candidates)
