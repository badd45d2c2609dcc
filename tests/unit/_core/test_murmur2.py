"""Murmur2: the values that Kafka's Java client computes."""

from __future__ import annotations

import pytest

from kafkax._core.murmur2 import murmur2, partition_for_key

JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_matches_java(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected
    assert partition_for_key(key, 7) == (expected & 0x7FFFFFFF) % 7


def test_empty_key_has_a_partition() -> None:
    assert 0 <= partition_for_key(b"", 3) < 3


def test_no_partitions_is_an_error() -> None:
    with pytest.raises(ValueError, match="partitions is 0"):
        partition_for_key(b"k", 0)
