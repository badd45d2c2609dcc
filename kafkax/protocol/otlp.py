"""Clients' metrics as OpenTelemetry's protocol carries them (OTLP ``MetricsData`` in protobuf), as far as KIP-714 needs them.

Read are gauges, sums and the counts and sums of histograms; fields that are not known are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kafkax.errors import ProtocolError

__all__ = ["Measurement", "read_metrics"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_MEASUREMENTS = 100_000



class Measurement(NamedTuple):
    """One number of one metric."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    """Of the metric and of the client that it is of, by name."""
    value: float
    cumulative: bool
    """Counted since the client began; otherwise a gauge, or counted since the last push."""


def read_metrics(data: bytes) -> list[Measurement]:
    """Every measurement of a ``MetricsData`` message.

    Raises:
        ProtocolError: the bytes do not parse.
    """
    found: list[Measurement] = []
    for _, resource in _messages(memoryview(data), 1):
        common = [_key_value(pair) for _, each in _messages(resource, 1) for _, pair in _messages(each, 1)]
        for _, scope in _messages(resource, 2):
            for _, metric in _messages(scope, 2):
                found += _metric(metric, common)
                if len(found) > _MOST_MEASUREMENTS:
                    raise ProtocolError(f"a push holds more than {_MOST_MEASUREMENTS} measurements")
    return found


def _metric(metric: memoryview, common: list[tuple[str, str]]) -> Iterator[Measurement]:
    name = _text(next((value for field, value in _fields(metric) if field == 1), b""))
    for kind, body in ((field, value) for field, value in _fields(metric) if field in (5, 7, 9)):
        if not isinstance(body, memoryview):
            raise ProtocolError(f"metric {name!r} has no data")
        cumulative = any(field == 2 and value == 2 for field, value in _fields(body)) and kind != 5
        for _, point in _messages(body, 1):
            # numbers carry their attributes in field 7, histograms in field 9
            pairs = [_key_value(pair) for _, pair in _messages(point, 7 if kind != 9 else 9)]
            attributes = tuple(sorted({**dict(common), **dict(pairs)}.items()))
            for suffix, value in _values(point, kind):
                yield Measurement(name + suffix, attributes, value, cumulative)


def _values(point: memoryview, kind: int) -> Iterator[tuple[str, float]]:
    for field, value in _fields(point):
        if kind != 9 and field in (4, 6) and isinstance(value, int):
            yield "", _double(value) if field == 4 else float(value - (value >> 63 << 64))
        elif kind == 9 and field in (4, 5) and isinstance(value, int):
            yield (".count", float(value)) if field == 4 else (".sum", _double(value))


def _double(bits: int) -> float:
    number: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return number


def _key_value(pair: memoryview) -> tuple[str, str]:
    """A ``KeyValue``: its key, and its value as text."""
    key, text = "", ""
    for field, value in _fields(pair):
        if field == 1:
            key = _text(value)
        elif field == 2 and isinstance(value, memoryview):
            for kind, inner in _fields(value):
                text = _text(inner) if kind == 1 else str(_double(inner)) if kind == 4 and isinstance(inner, int) else str(inner)
    return key, text


def _text(value: int | bytes | memoryview) -> str:
    if isinstance(value, int):
        raise ProtocolError("a number stands where a text belongs")
    return bytes(value).decode("utf-8", "replace")


def _messages(data: memoryview, number: int) -> Iterator[tuple[int, memoryview]]:
    for field, value in _fields(data):
        if field == number:
            if not isinstance(value, memoryview):
                raise ProtocolError(f"field {number} is no message")
            yield field, value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and raw value of each field: an int, or the bytes of a text or message."""
    at = 0
    while at < len(data):
        tag, at = _varint64(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint64(data, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint64(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ProtocolError(f"a field has the wire type {kind}, which OTLP does not use")
        if size > len(data) - at:
            raise ProtocolError(f"a field of {size} bytes does not fit into the {len(data) - at} that remain")
        raw = data[at : at + size]
        at += size
        yield tag >> 3, raw if kind == _BYTES else int.from_bytes(raw, "little")


def _varint64(data: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise ProtocolError("a varint does not end")
