"""CRC-32C: the instruction, the tables and the known values agree."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.crc32c import crc32c, crc32c_portable, implementation

# RFC 3720, B.4
KNOWN = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C),
]


@pytest.mark.parametrize(("data", "expected"), KNOWN)
def test_known_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
    assert crc32c_portable(data) == expected


SIZES = (1, 7, 8, 9, 767, 768, 769, 1023, 1024, 1025, 1279, 1280, 1281, 1535, 12287, 12288, 12289, 40000, 1 << 20)


@pytest.mark.parametrize("size", SIZES)
def test_interleaved_streams_agree_with_the_tables(size: int) -> None:
    data = os.urandom(size)
    assert crc32c(data) == crc32c_portable(data)


@given(st.binary(max_size=3000), st.data())
def test_parts_make_the_whole(data: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, len(data)))
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)
    assert crc32c(memoryview(data)[cut:]) == crc32c_portable(data[cut:])


def test_says_what_it_runs() -> None:
    assert implementation() in ("avx512", "sse4.2", "armv8", "portable")
