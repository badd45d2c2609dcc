"""Segments for policy tests."""

from __future__ import annotations

from kafkax._core.log import SegmentInfo


def segment(base_offset: int, *, size: int, max_timestamp: int, first_timestamp: int = -1) -> SegmentInfo:
    """A segment as a log describes it."""
    return SegmentInfo(base_offset, size, 0, max_timestamp, base_offset, first_timestamp)
