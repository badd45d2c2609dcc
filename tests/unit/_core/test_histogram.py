"""The latency histogram: exact where it is linear, within 0.8 % above, and additive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.histogram import Histogram


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_an_empty_histogram_answers_zero_everywhere() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.lowest, histogram.highest, histogram.mean, histogram.percentile(99)) == (0, 0, 0, 0.0, 0)


def test_small_values_are_kept_exactly() -> None:
    histogram = filled(list(range(1, 101)))
    assert [histogram.percentile(p) for p in (0, 1, 50, 99, 100)] == [1, 1, 50, 99, 100]
    assert histogram.mean == 50.5


@given(st.integers(0, 2**63 - 1))
def test_any_value_comes_back_to_within_a_bucket(value: int) -> None:
    histogram = filled([value, 2**63 - 1])
    assert value <= histogram.percentile(50) <= value + value // 128 + 1


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.sampled_from([50.0, 90.0, 99.0, 100.0]))
def test_percentiles_agree_with_sorting(values: list[int], percent: float) -> None:
    rank = max(1, int(percent / 100 * len(values) + 0.5))
    exact = sorted(values)[rank - 1]
    assert exact <= filled(values).percentile(percent) <= exact + exact // 128 + 1


@given(st.lists(st.integers(0, 10**12)), st.lists(st.integers(0, 10**12)))
def test_adding_is_the_same_as_recording_everything_in_one(first: list[int], second: list[int]) -> None:
    summed, whole = filled(first), filled(first + second)
    summed.add(filled(second))
    for attribute in ("count", "lowest", "highest", "mean"):
        assert getattr(summed, attribute) == getattr(whole, attribute)
    assert [summed.percentile(p) for p in range(101)] == [whole.percentile(p) for p in range(101)]


def test_a_negative_value_counts_as_zero() -> None:
    assert filled([-5]).percentile(100) == 0


@pytest.mark.parametrize("percent", [-0.1, 100.1])
def test_a_percentile_out_of_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentile(percent)
