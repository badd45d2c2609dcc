"""Record batches in Python: building them and reading them, for coordinators, tools and tests.

A batch (magic 2, KIP-98) is a header of 61 bytes and its records, which may be compressed together.  The header's checksum
is CRC-32C over everything from the attributes on; offset, length, leader epoch and magic stand before it, so that a broker
can assign offsets without computing it again.  Integers within records are zigzag varints, offsets and timestamps deltas.

The broker's data plane has its own implementation in ``kafkax._core``; older formats are in :mod:`kafkax.protocol.legacy`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from kafkax._core.crc32c import crc32c
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.compression import CODECS, compress, decompress
from kafkax.protocol.legacy import LegacyBatch
from kafkax.protocol.record import Record
from kafkax.protocol.varint import read_varint, varint

__all__ = ["HEADER_SIZE", "AnyBatch", "RecordBatch", "build_batch", "first_size", "iter_batches"]

HEADER_SIZE = 61
"""Bytes of a batch before its records."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_PREFIX = struct.Struct(">qiibI")
_CHECKED = struct.Struct(">hiqqqhii")
_ENTRY = struct.Struct(">qi")
_CRC_START = 21
_MAGIC_AT = 16
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_DELETE_HORIZON = 0x40
_DECOMPRESSED_LIMIT = 1 << 30
_SMALL = [varint(n) for n in range(512)]


class RecordBatch:
    """A batch of magic 2: its header, and its records on demand.

    Attributes:
        data: the whole batch.
        base_offset: offset of the first record when the batch was written; compaction may have removed that record.
        leader_epoch: epoch of the leader that appended it, -1 before that.
        crc: the stored checksum.
        last_offset_delta: last offset minus ``base_offset``.
        base_timestamp: what the records' timestamps count from, milliseconds since the epoch.
        max_timestamp: the latest timestamp, or the append time for all records.
        producer_id, producer_epoch, base_sequence: -1 without idempotence.
        count: records that the header claims.
    """

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "count",
        "crc",
        "data",
        "last_offset_delta",
        "leader_epoch",
        "magic",
        "max_timestamp",
        "producer_epoch",
        "producer_id",
    )

    def __init__(self, data: memoryview) -> None:
        if len(data) < HEADER_SIZE:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{len(data)} bytes are no record batch: its header has {HEADER_SIZE}")
        self.data = data
        (
            self.base_offset,
            length,
            self.leader_epoch,
            self.magic,
            self.crc,
            self.attributes,
            self.last_offset_delta,
            self.base_timestamp,
            self.max_timestamp,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            self.count,
        ) = _HEADER.unpack_from(data)
        if self.magic != 2 or length + _ENTRY.size != len(data):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"magic {self.magic} and length {length} in a batch of {len(data)} bytes")

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return int(self.base_offset + self.last_offset_delta)

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.last_offset + 1

    @property
    def compression(self) -> str:
        """Name of the codec.

        Raises:
            KafkaError: CORRUPT_MESSAGE when the number has no meaning.
        """
        number = self.attributes & 0x07
        if number >= len(CODECS):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"compression {number} is not known")
        return CODECS[number]

    @property
    def log_append_time(self) -> bool:
        """Whether the broker set the timestamps."""
        return bool(self.attributes & _LOG_APPEND_TIME)

    @property
    def transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def control(self) -> bool:
        """Whether the records are marks of the broker (:mod:`kafkax.protocol.control`) and not data."""
        return bool(self.attributes & _CONTROL)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When compaction may drop the batch's tombstones, milliseconds since the epoch (KIP-534); None when not yet set."""
        return self.base_timestamp if self.attributes & _DELETE_HORIZON else None

    def check(self) -> None:
        """Compare the checksum.

        Raises:
            KafkaError: CORRUPT_MESSAGE when it differs.
        """
        actual = crc32c(self.data[_CRC_START:])
        if actual != self.crc:
            raise KafkaError(
                ErrorCode.CORRUPT_MESSAGE, f"checksum {self.crc:#010x} stored at offset {self.base_offset}, {actual:#010x} found"
            )

    def records(self, limit: int = _DECOMPRESSED_LIMIT) -> Iterator[Record]:
        """The records, decompressed to at most ``limit`` bytes.

        Raises:
            KafkaError: INVALID_RECORD when they don't fit their batch, CORRUPT_MESSAGE or MESSAGE_TOO_LARGE from decompression.
        """
        body = decompress(self.compression, self.data[HEADER_SIZE:], limit)
        position = 0
        try:
            for _ in range(self.count):
                record, position = self._record(body, position)
                yield record
        except (IndexError, ProtocolError) as error:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"batch at offset {self.base_offset}: {error}") from None
        if position != len(body):
            raise KafkaError(
                ErrorCode.INVALID_RECORD,
                f"batch at offset {self.base_offset}: {len(body) - position} bytes are left after {self.count} records",
            )

    def _record(self, body: bytes, start: int) -> tuple[Record, int]:
        size, p = read_varint(body, start)
        end = p + size
        if size < 0 or end > len(body):
            raise ProtocolError(f"a record of {size} bytes, {len(body) - p} remain")
        timestamp_delta, p = read_varint(body, p + 1, 64)
        offset_delta, p = read_varint(body, p)
        key, p = _block(body, p, end)
        value, p = _block(body, p, end)
        count, p = read_varint(body, p)
        if not 0 <= count <= end - p:
            raise ProtocolError(f"{count} headers in {end - p} bytes")
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, p = _block(body, p, end)
            if name is None:
                raise ProtocolError("a header without name")
            content, p = _block(body, p, end)
            headers.append((str(name, "utf-8", "surrogateescape"), content))
        if p != end:
            raise ProtocolError(f"a record ends at byte {p} instead of {end}")
        timestamp = self.max_timestamp if self.log_append_time else self.base_timestamp + timestamp_delta
        return Record(key, value, tuple(headers), timestamp, self.base_offset + offset_delta), p

    def __repr__(self) -> str:
        return (
            f"RecordBatch(base_offset={self.base_offset}, last_offset={self.last_offset}, count={self.count}, "
            f"compression={CODECS[self.attributes & 3]}, producer_id={self.producer_id}, {len(self.data)} bytes)"
        )


AnyBatch: TypeAlias = "RecordBatch | LegacyBatch"


def _block(body: bytes, p: int, end: int) -> tuple[bytes | None, int]:
    """A key, a value or a part of a header: its length and its bytes."""
    size, p = read_varint(body, p)
    if size < 0:
        return None, p
    if size > end - p:
        raise ProtocolError(f"{size} bytes in a record with {end - p} left")
    return body[p : p + size], p + size


def first_size(data: bytes | memoryview) -> int:
    """Bytes that the batch at the beginning says it has; 0 where not even that can be read."""
    return _ENTRY.size + int(_ENTRY.unpack_from(data)[1]) if len(data) >= _ENTRY.size else 0


def iter_batches(data: bytes | bytearray | memoryview) -> Iterator[AnyBatch]:
    """Split what a Fetch answered, or a segment holds, into batches; an incomplete one at the end is left out.

    Checksums are not compared: :meth:`RecordBatch.check` does.

    Raises:
        KafkaError: CORRUPT_MESSAGE when a length or magic is impossible.
    """
    view, position = memoryview(data), 0
    while len(view) - position > _MAGIC_AT:
        size = _ENTRY.unpack_from(view, position)[1]
        end = position + _ENTRY.size + size
        magic = view[position + _MAGIC_AT]
        if size < 14 or magic > 2:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"length {size} and magic {magic} at byte {position}")
        if end > len(view):
            return
        yield RecordBatch(view[position:end]) if magic == 2 else LegacyBatch(view[position:end])
        position = end


def build_batch(
    records: Iterable[Record],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    compression: str = "none",
    level: int | None = None,
    append_time: int | None = None,
    transactional: bool = False,
    control: bool = False,
    delete_horizon_ms: int | None = None,
) -> bytes:
    """Build one batch.

    Args:
        records: at least one. Those with an offset keep it and must ascend from ``base_offset``; the others are numbered by
            their place.
        compression: one of :data:`kafkax.protocol.compression.CODECS`.
        level: see :func:`kafkax.protocol.compression.compress`.
        append_time: milliseconds since the epoch, given to all records as the broker's time; None keeps their own.
        delete_horizon_ms: see :attr:`RecordBatch.delete_horizon_ms`.

    Raises:
        ValueError: no records, an offset out of order, or an unknown codec.
    """
    chosen = list(records)
    if not chosen:
        raise ValueError("a batch needs at least one record")
    if compression not in CODECS:
        raise ValueError(f"compression {compression!r} is none of {', '.join(CODECS)}")
    base_timestamp = chosen[0].timestamp if delete_horizon_ms is None else delete_horizon_ms
    parts: list[bytes] = []
    delta = -1
    for place, record in enumerate(chosen):
        previous, delta = delta, place if record.offset < 0 else record.offset - base_offset
        if not previous < delta < 1 << 31:
            raise ValueError(f"offset {base_offset + delta} does not follow {base_offset + previous}")
        _encode(parts, record, record.timestamp - base_timestamp, delta)
    body = b"".join(parts)
    attributes = (
        CODECS.index(compression)
        | (_LOG_APPEND_TIME if append_time is not None else 0)
        | (_TRANSACTIONAL if transactional else 0)
        | (_CONTROL if control else 0)
        | (_DELETE_HORIZON if delete_horizon_ms is not None else 0)
    )
    max_timestamp = max(record.timestamp for record in chosen) if append_time is None else append_time
    producer = (producer_id, producer_epoch, base_sequence)
    checked = _CHECKED.pack(attributes, delta, base_timestamp, max_timestamp, *producer, len(chosen))
    checked += body if compression == "none" else compress(compression, body, level)
    return _PREFIX.pack(base_offset, len(checked) + 9, leader_epoch, 2, crc32c(checked)) + checked


def _varint(value: int) -> bytes:
    return _SMALL[value] if 0 <= value < 512 else varint(value)


def _encode(parts: list[bytes], record: Record, timestamp_delta: int, offset_delta: int) -> None:
    """Append one record's bytes."""
    body = [b"\0", _varint(timestamp_delta), _varint(offset_delta)]
    for block in (record.key, record.value):
        if block is None:
            body.append(b"\x01")
        else:
            body += (_varint(len(block)), block)
    body.append(_varint(len(record.headers)))
    for name, content in record.headers:
        raw = name.encode("utf-8", "surrogateescape")
        body += (_varint(len(raw)), raw)
        body += (b"\x01",) if content is None else (_varint(len(content)), content)
    whole = b"".join(body)
    parts += (_varint(len(whole)), whole)
