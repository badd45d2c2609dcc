from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.offset_map import OffsetMap

SLOT = 24


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2**62)), max_size=200))
def test_the_map_is_a_dictionary_of_last_offsets(entries: list[tuple[bytes, int]]) -> None:
    offsets, expected = OffsetMap(64 * 1024), dict[bytes, int]()
    for key, offset in entries:
        assert offsets.store(key, offset)
        expected[key] = offset
    assert len(offsets) == len(expected)
    assert all(offsets.find(key) == offset for key, offset in expected.items())
    assert offsets.find(b"x" * 41) == -1


def test_a_full_map_takes_no_new_key_but_goes_on_with_known_ones() -> None:
    offsets = OffsetMap(SLOT * 100, load_factor=0.5)
    assert offsets.capacity == 50
    assert [offsets.store(b"%d" % key, key) for key in range(51)] == [True] * 50 + [False]
    assert offsets.store(b"7", 1000)
    assert offsets.find(b"7") == 1000
    assert offsets.find(b"50") == -1


def test_a_small_job_gets_a_small_table() -> None:
    assert OffsetMap(128 << 20, expected=10).capacity < 20
    assert OffsetMap(128 << 20, expected=10).capacity >= 10


def test_lookups_stay_right_at_the_highest_load() -> None:
    offsets = OffsetMap(SLOT * 20_000, load_factor=0.9)
    count = offsets.capacity
    for key in range(count):
        assert offsets.store(b"key-%d" % key, key)
    assert not offsets.store(b"one more", 0)
    assert all(offsets.find(b"key-%d" % key) == key for key in range(count))
    assert all(offsets.find(b"absent-%d" % key) == -1 for key in range(1000))


def test_the_offset_seen_only_grows() -> None:
    offsets = OffsetMap(1024)
    assert offsets.latest_offset == -1
    offsets.see(10)
    offsets.see(5)
    assert offsets.latest_offset == 10


@pytest.mark.parametrize(("memory", "load_factor"), [(0, 0.9), (23, 0.9), (1000, 0.0), (1000, 1.0)])
def test_what_holds_no_key_is_refused(memory: int, load_factor: float) -> None:
    with pytest.raises(ValueError, match="hold no key"):
        OffsetMap(memory, load_factor=load_factor)
