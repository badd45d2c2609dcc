"""Record batches for the core's tests, built byte by byte so that every field can be wrong on purpose."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kafkax._core.crc32c import crc32c
from kafkax._core.cursor import decode_varint, decode_varlong, encode_varint, encode_varlong

HEADER = struct.Struct(">qiibIhiqqqhii")
NOW = 1_700_000_000_000


class Rec(NamedTuple):
    """A record: key, value, timestamp in ms, headers."""

    key: bytes | None = b"k"
    value: bytes | None = b"v"
    timestamp: int = NOW
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def _nullable(data: bytes | None) -> bytes:
    return encode_varint(-1) if data is None else encode_varint(len(data)) + data


def record(rec: Rec, offset_delta: int, base_timestamp: int) -> bytes:
    """Bytes of one record."""
    body = b"\0" + encode_varlong(rec.timestamp - base_timestamp) + encode_varint(offset_delta)
    body += _nullable(rec.key) + _nullable(rec.value)
    body += encode_varint(len(rec.headers))
    for key, value in rec.headers:
        body += encode_varint(len(key)) + key + _nullable(value)
    return encode_varint(len(body)) + body


def batch(
    records: Sequence[Rec | bytes] | int = 1,
    *,
    base_offset: int = 0,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    attributes: int = 0,
    leader_epoch: int = -1,
    magic: int = 2,
    count: int | None = None,
    last_offset_delta: int | None = None,
    max_timestamp: int | None = None,
    length_error: int = 0,
    crc_error: int = 0,
    payload: bytes | None = None,
) -> bytes:
    """One batch; ``records`` may be a number, ready-made record bytes, or :class:`Rec`."""
    recs = [Rec(value=b"value-%d" % i) for i in range(records)] if isinstance(records, int) else list(records)
    stamps = [rec.timestamp for rec in recs if isinstance(rec, Rec)] or [NOW]
    base_timestamp = stamps[0]
    body = b"".join(rec if isinstance(rec, bytes) else record(rec, i, base_timestamp) for i, rec in enumerate(recs))
    body = body if payload is None else payload
    n = len(recs) if count is None else count
    tail = struct.pack(
        ">hiqqqhii",
        attributes,
        n - 1 if last_offset_delta is None else last_offset_delta,
        base_timestamp,
        max(stamps) if max_timestamp is None else max_timestamp,
        producer_id,
        epoch,
        sequence,
        n,
    )
    crc = crc32c(tail + body) ^ crc_error
    return struct.pack(">qiibI", base_offset, len(tail) + len(body) + 9 + length_error, leader_epoch, magic, crc) + tail + body


def marker(producer_id: int, epoch: int, *, commit: bool, coordinator_epoch: int = 0, timestamp: int = NOW) -> bytes:
    """A control batch that ends a transaction."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    value = struct.pack(">hi", 0, coordinator_epoch)
    return batch([Rec(key, value, timestamp)], producer_id=producer_id, epoch=epoch, attributes=0x30)


class Header(NamedTuple):
    """A batch as it stands in a log."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int


def headers(data: bytes) -> Iterator[tuple[int, Header]]:
    """(position, header) of each whole batch; its checksum must be right."""
    at = 0
    while at + 61 <= len(data):
        header = Header(*HEADER.unpack_from(data, at))
        end = at + 12 + header.length
        if end > len(data):
            return
        assert crc32c(data[at + 21 : end]) == header.crc
        yield at, header
        at = end


def values(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """(offset, value) of each record of uncompressed batches."""
    for position, header in headers(data):
        at = position + 61
        for _ in range(header.count):
            size, used = decode_varint(data[at : at + 5])
            at += used
            end = at + size
            at += 1
            _, used = decode_varlong(data[at : at + 10])
            at += used
            delta, used = decode_varint(data[at : at + 5])
            at += used
            key, used = decode_varint(data[at : at + 5])
            at += used + max(key, 0)
            length, used = decode_varint(data[at : at + 5])
            at += used
            yield header.base_offset + delta, None if length < 0 else data[at : at + length]
            at = end
