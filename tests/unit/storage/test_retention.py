from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.storage.retention import RetentionPolicy, Verdict, breached
from tests.unit.storage.segments import segment

NOW = 1_000_000


def verdict(segments: list, end: int = 50, start: int = 0, watermark: int | None = None, **policy: object) -> Verdict | None:
    chosen = {"retention_ms": -1, "retention_bytes": -1, "deletes": True, **policy}
    return breached(
        segments,
        RetentionPolicy(**chosen),  # type: ignore[arg-type]
        log_start_offset=start,
        high_watermark=end if watermark is None else watermark,
        log_end_offset=end,
        now_ms=NOW,
        max_timestamp=lambda each: each.max_timestamp,
    )


FIVE = [segment(offset, size=100, max_timestamp=NOW - 1000 + offset * 10) for offset in range(0, 50, 10)]


def test_without_limits_everything_stays() -> None:
    assert verdict(FIVE) is None


def test_segments_go_whose_latest_record_is_older_than_the_retention_time() -> None:
    assert verdict(FIVE, retention_ms=850) == Verdict(20, "retention.ms", False)
    assert verdict(FIVE, retention_ms=800) == Verdict(20, "retention.ms", False)
    assert verdict(FIVE, retention_ms=799) == Verdict(30, "retention.ms", False)


def test_the_active_segment_goes_too_when_all_of_it_is_old() -> None:
    assert verdict(FIVE, retention_ms=10) == Verdict(50, "retention.ms", True)


def test_an_empty_active_segment_is_not_rolled() -> None:
    empty = segment(40, size=0, max_timestamp=0)
    assert verdict([*FIVE[:4], empty], end=40, retention_ms=10) == Verdict(40, "retention.ms", False)
    assert verdict([segment(0, size=0, max_timestamp=0)], end=0, retention_ms=0) is None


def test_a_segment_from_the_future_keeps_everything_behind_it() -> None:
    assert verdict([FIVE[0], segment(10, size=100, max_timestamp=NOW + 10**9), *FIVE[2:]], retention_ms=1) == Verdict(
        10, "retention.ms", False
    )


def test_segments_go_while_the_rest_is_as_large_as_the_retention_size() -> None:
    assert verdict(FIVE, retention_bytes=500) is None
    assert verdict(FIVE, retention_bytes=400) == Verdict(10, "retention.bytes", False)
    assert verdict(FIVE, retention_bytes=399) == Verdict(10, "retention.bytes", False)
    assert verdict(FIVE, retention_bytes=300) == Verdict(20, "retention.bytes", False)
    assert verdict(FIVE, retention_bytes=0) == Verdict(50, "retention.bytes", True)


def test_what_lies_below_the_log_start_goes_but_never_the_active_segment() -> None:
    assert verdict(FIVE, start=25) == Verdict(20, "log start offset", False)
    assert verdict(FIVE, start=50) == Verdict(40, "log start offset", False)


def test_the_furthest_limit_decides() -> None:
    assert verdict(FIVE, start=10, retention_ms=850, retention_bytes=200) == Verdict(30, "retention.bytes", False)


def test_nothing_above_the_high_watermark_goes() -> None:
    assert verdict(FIVE, watermark=25, retention_ms=0) == Verdict(20, "retention.ms", False)
    assert verdict(FIVE, watermark=9, retention_ms=0) is None


def test_a_log_that_is_only_compacted_keeps_what_is_old_and_large() -> None:
    assert verdict(FIVE, retention_ms=0, retention_bytes=0, deletes=False) is None
    assert verdict(FIVE, retention_ms=0, retention_bytes=0, deletes=False, start=30) == Verdict(30, "log start offset", False)


@given(
    sizes=st.lists(st.integers(0, 100), min_size=1, max_size=8),
    ages=st.lists(st.integers(-100, 1000), min_size=8, max_size=8),
    retention_ms=st.integers(-1, 1000),
    retention_bytes=st.integers(-1, 400),
    watermark=st.integers(0, 80),
    start=st.integers(0, 80),
)
def test_what_goes_is_a_run_of_the_oldest_below_the_watermark(
    sizes: list[int], ages: list[int], retention_ms: int, retention_bytes: int, watermark: int, start: int
) -> None:
    segments = [segment(10 * i, size=size, max_timestamp=NOW - ages[i]) for i, size in enumerate(sizes)]
    end = 10 * len(segments)
    found = verdict(
        segments, end, min(start, end), min(watermark, end), retention_ms=retention_ms, retention_bytes=retention_bytes
    )
    if found is not None:
        assert found.offset in {10 * i for i in range(1, len(segments) + 1)}
        assert found.offset <= watermark
        assert found.roll == (found.offset == end)
        if found.reason == "retention.bytes":
            assert sum(sizes[found.offset // 10 :]) >= retention_bytes


@pytest.mark.parametrize("policy", ["delete", "compact", "compact,delete"])
def test_the_policy_is_read_from_the_topics_configs(policy: str) -> None:
    config = {"retention.ms": 5, "retention.bytes": 6, "cleanup.policy": tuple(policy.split(","))}
    assert RetentionPolicy.of(config) == RetentionPolicy(5, 6, "delete" in policy)
