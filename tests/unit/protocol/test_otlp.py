"""OpenTelemetry metrics from protobuf, written by hand here as a client writes them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.errors import ProtocolError
from kafkax.protocol.otlp import Measurement, read_metrics


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def message(field: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def double(field: int, number: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", number)


def pair(field: int, key: str, value: str) -> bytes:
    return message(field, message(1, key.encode()), message(2, message(1, value.encode())))


def metrics(*each: bytes) -> bytes:
    """``MetricsData`` with one resource, whose label is ``of=me``."""
    return message(1, message(1, pair(1, "of", "me")), message(2, *(message(2, one) for one in each)))


GAUGE = message(1, b"g") + message(5, message(1, pair(7, "topic", "t"), double(4, 1.5)))
SUM = message(1, b"s") + message(7, message(1, varint(6 << 3 | 1) + struct.pack("<q", -3)), varint(2 << 3) + varint(2))
HISTOGRAM = message(1, b"h") + message(9, message(1, varint(4 << 3 | 1) + struct.pack("<Q", 7), double(5, 0.25)))


def test_gauges_sums_and_histograms_are_read() -> None:
    assert read_metrics(metrics(GAUGE, SUM, HISTOGRAM)) == [
        Measurement("g", (("of", "me"), ("topic", "t")), 1.5, False),
        Measurement("s", (("of", "me"),), -3.0, True),
        Measurement("h.count", (("of", "me"),), 7.0, False),
        Measurement("h.sum", (("of", "me"),), 0.25, False),
    ]


def test_nothing_is_nothing() -> None:
    assert read_metrics(b"") == []


@pytest.mark.parametrize("cut", range(1, 20))
def test_what_is_cut_short_does_not_parse(cut: int) -> None:
    with pytest.raises(ProtocolError):
        read_metrics(metrics(GAUGE)[:-cut])


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    try:
        read_metrics(data)
    except ProtocolError:
        return
