from __future__ import annotations

from dataclasses import replace

import pytest

from kafkax.storage.cleaner_policy import CleaningPlan, CompactionPolicy, group_segments, plan
from tests.unit.storage.segments import segment

NOW = 1_000_000
FOREVER = 2**63 - 1
POLICY = CompactionPolicy(0.5, 0, FOREVER, 86_400_000, 1000, 800, 4096)
SEGMENTS = [
    segment(offset, size=100, max_timestamp=NOW - 500 + offset, first_timestamp=NOW - 500 + offset) for offset in range(0, 50, 10)
]


def planned(
    cleaned_to: int | None = None, policy: CompactionPolicy = POLICY, *, stable: int = 45, start: int = 0, end: int = 45
) -> CleaningPlan:
    return plan(
        SEGMENTS,
        policy,
        cleaned_to=cleaned_to,
        log_start_offset=start,
        log_end_offset=end,
        stable_offset=stable,
        now_ms=NOW,
        max_timestamp=lambda each: each.max_timestamp,
    )


def test_a_log_that_was_never_cleaned_is_dirty_up_to_the_active_segment() -> None:
    found = planned()
    assert (found.first_dirty, found.upper_bound, found.clean_bytes, found.dirty_bytes) == (0, 40, 0, 400)
    assert found.dirty_ratio == 1.0
    assert found.worthwhile(POLICY)


def test_what_was_cleaned_counts_as_clean() -> None:
    found = planned(30)
    assert (found.first_dirty, found.clean_bytes, found.dirty_bytes, found.dirty_ratio) == (30, 300, 100, 0.25)
    assert not found.worthwhile(POLICY)
    assert found.worthwhile(replace(POLICY, min_dirty_ratio=0.2))


def test_nothing_dirty_nothing_to_do() -> None:
    found = planned(40)
    assert found.dirty_bytes == 0
    assert not found.worthwhile(replace(POLICY, min_dirty_ratio=0.0))


@pytest.mark.parametrize(("stable", "bound"), [(45, 40), (40, 40), (39, 30), (9, 0), (0, 0)])
def test_nothing_above_the_stable_offset_is_touched(stable: int, bound: int) -> None:
    assert planned(stable=stable).upper_bound == bound


def test_young_segments_wait() -> None:
    assert planned(policy=replace(POLICY, min_lag_ms=485)).upper_bound == 20
    assert planned(policy=replace(POLICY, min_lag_ms=10_000)).upper_bound == 0


def test_a_clean_segment_is_not_too_young_to_be_copied() -> None:
    assert planned(20, replace(POLICY, min_lag_ms=475)).upper_bound == 30


def test_records_older_than_the_maximum_lag_make_a_round_due_whatever_the_ratio() -> None:
    lagging = replace(POLICY, max_lag_ms=450, min_dirty_ratio=1.0)
    assert planned(10, lagging).worthwhile(lagging)
    patient = replace(lagging, max_lag_ms=500)
    assert not planned(10, patient).worthwhile(patient)


@pytest.mark.parametrize("cleaned_to", [5, 46, 10**12])
def test_a_checkpoint_from_an_older_life_of_the_log_is_not_trusted(cleaned_to: int) -> None:
    assert planned(cleaned_to, start=10, end=45).first_dirty == 10


def test_small_neighbours_become_one_segment() -> None:
    assert [
        [s.base_offset for s in group]
        for group in group_segments(SEGMENTS[:4], 40, replace(POLICY, segment_bytes=250), index_sizes=[8] * 4)
    ] == [
        [0, 10],
        [20, 30],
    ]


def test_an_index_would_not_grow_beyond_its_size() -> None:
    groups = group_segments(SEGMENTS[:4], 40, POLICY, index_sizes=[300, 400, 200, 500])
    assert [[s.base_offset for s in group] for group in groups] == [[0, 10], [20, 30]]


def test_offsets_stay_within_31_bits_of_the_base() -> None:
    far = [
        segment(0, size=1, max_timestamp=0),
        segment(2**31 - 5, size=1, max_timestamp=0),
        segment(2**31 + 5, size=1, max_timestamp=0),
    ]
    assert [len(group) for group in group_segments(far, 2**31 + 10, POLICY, index_sizes=[0, 0, 0])] == [1, 2]
    assert [len(group) for group in group_segments(far[:2], 2**31, POLICY, index_sizes=[0, 0])] == [2]
