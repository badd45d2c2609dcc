"""Varints: every value comes back, nothing too long or cut off is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.cursor import decode_varint, decode_varlong, encode_varint, encode_varlong
from kafkax.errors import ProtocolError


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_varint_round_trip(value: int) -> None:
    data = encode_varint(value)
    assert len(data) <= 5
    assert decode_varint(data + b"\xff") == (value, len(data))
    with pytest.raises(ProtocolError):
        decode_varint(data[:-1])


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_varlong_round_trip(value: int) -> None:
    data = encode_varlong(value)
    assert len(data) <= 10
    assert decode_varlong(data + b"\xff") == (value, len(data))
    with pytest.raises(ProtocolError):
        decode_varlong(data[:-1])


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\x10", b"\x80" * 5 + b"\0", b"\xff" * 20])
def test_varint_above_32_bits_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_varint(data)


@pytest.mark.parametrize("data", [b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\0"])
def test_varlong_above_64_bits_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_varlong(data)


@given(st.binary(max_size=16))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    for decode in (decode_varint, decode_varlong):
        try:
            value, used = decode(data)
        except ProtocolError:
            continue
        assert 0 < used <= len(data)
        assert isinstance(value, int)
