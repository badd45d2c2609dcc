"""Variable-length integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.errors import ProtocolError
from kafkax.protocol.varint import read_uvarint, read_varint, uvarint, varint


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (-1, "01"), (1, "02"), (-64, "7f"), (64, "8001"), (-(1 << 31), "ffffffff0f")]
)
def test_zigzag(value: int, data: str) -> None:
    assert varint(value).hex() == data
    assert read_varint(bytes.fromhex(data), 0) == (value, len(data) // 2)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_signed_integers_of_64_bits(value: int) -> None:
    data = varint(value)
    assert len(data) <= 10
    assert read_varint(b"\xff" + data, 1, 64) == (value, 1 + len(data))


@given(st.integers(0, (1 << 32) - 1))
def test_unsigned_integers_of_32_bits(value: int) -> None:
    data = uvarint(value)
    assert len(data) <= 5
    assert read_uvarint(memoryview(data), 0) == (value, len(data))


@pytest.mark.parametrize("data", ["ffffffff10", "808080808000", "ffffffffff01"])
def test_too_many_bits(data: str) -> None:
    with pytest.raises(ProtocolError, match="more than 32 bits"):
        read_uvarint(bytes.fromhex(data), 0)


@pytest.mark.parametrize("data", ["", "80", "ffff"])
def test_an_end_within(data: str) -> None:
    with pytest.raises(IndexError):
        read_uvarint(bytes.fromhex(data), 0)
