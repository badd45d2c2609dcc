"""Messages of magic 0 and 1, as they stand in old segments."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS, compress
from kafkax.protocol.legacy import LegacyBatch
from kafkax.protocol.record import Record
from kafkax.protocol.records import RecordBatch, build_batch, iter_batches


def block(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def message(
    magic: int, offset: int, key: bytes | None, value: bytes | None, timestamp: int = 0, attributes: int = 0
) -> bytes:
    stamp = struct.pack(">q", timestamp) if magic else b""
    checked = struct.pack(">bb", magic, attributes) + stamp + block(key) + block(value)
    body = struct.pack(">I", zlib.crc32(checked)) + checked
    return struct.pack(">qi", offset, len(body)) + body


def read(data: bytes) -> list[Record]:
    return [record for batch in iter_batches(data) for record in batch.records(10_000)]


def only(data: bytes) -> LegacyBatch:
    (batch,) = iter_batches(data)
    assert isinstance(batch, LegacyBatch)
    batch.check()
    return batch


def test_plain_messages() -> None:
    zero, one = iter_batches(message(0, 5, None, b"v") + message(1, 6, b"k", None, timestamp=77))
    assert list(zero.records()) == [Record(None, b"v", (), -1, 5)]
    assert list(one.records()) == [Record(b"k", None, (), 77, 6)]
    assert (zero.magic, one.magic, one.base_offset, one.last_offset, one.next_offset) == (0, 1, 6, 6, 7)


@pytest.mark.parametrize("codec", CODECS[1:])
@pytest.mark.parametrize(("magic", "inside"), [(0, (40, 41, 42)), (1, (0, 1, 2))])
def test_compressed_messages(codec: str, magic: int, inside: tuple[int, ...]) -> None:
    inner = b"".join(message(magic, offset, b"k", b"v%d" % offset, timestamp=offset) for offset in inside)
    batch = only(message(magic, 42, None, compress(codec, inner), timestamp=9, attributes=CODECS.index(codec)))
    records = list(batch.records())
    assert [record.offset for record in records] == [40, 41, 42]
    assert [record.value for record in records] == [b"v%d" % offset for offset in inside]
    assert [record.timestamp for record in records] == ([-1, -1, -1] if magic == 0 else [0, 1, 2])
    assert (batch.base_offset, batch.next_offset, batch.compression) == (40, 43, codec)


def test_lz4_of_magic_0_has_a_wrong_header_checksum() -> None:
    frame = bytearray(compress("lz4", message(0, 3, None, b"v")))
    frame[6] ^= 0xFF
    assert list(only(message(0, 3, None, bytes(frame), attributes=3)).records()) == [Record(None, b"v", (), -1, 3)]
    with pytest.raises(KafkaError, match="damaged"):
        read(message(1, 3, None, bytes(frame), attributes=3))


def test_the_append_time_of_a_compressed_message_stands_for_all_inside() -> None:
    inner = message(1, 0, None, b"a", timestamp=1) + message(1, 1, None, b"b", timestamp=2)
    batch = only(message(1, 8, None, compress("gzip", inner), timestamp=99, attributes=0x08 | 1))
    assert [(record.offset, record.timestamp) for record in batch.records()] == [(7, 99), (8, 99)]


def test_records_convert_to_a_batch_of_today() -> None:
    inner = message(1, 0, b"k", b"a", timestamp=1) + message(1, 3, None, b"b", timestamp=2)
    old = only(message(1, 10, None, compress("lz4", inner), attributes=3))
    (new,) = iter_batches(build_batch(old.records(), base_offset=old.base_offset, compression=old.compression))
    assert isinstance(new, RecordBatch)
    assert list(new.records()) == [Record(b"k", b"a", (), 1, 7), Record(None, b"b", (), 2, 10)]


def test_a_changed_byte_is_noticed() -> None:
    data = bytearray(message(1, 5, b"key", b"value"))
    data[-1] ^= 1
    (batch,) = iter_batches(data)
    with pytest.raises(KafkaError, match="checksum") as caught:
        batch.check()
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


NESTED = compress("gzip", message(1, 0, None, compress("gzip", message(1, 0, None, b"x")), attributes=1))
BAD: dict[str, Callable[[], bytes]] = {
    "a wrapper with nothing inside": lambda: message(1, 5, None, compress("gzip", b""), attributes=1),
    "a wrapper without value": lambda: message(1, 5, None, None, attributes=2),
    "a wrapper in a wrapper": lambda: message(1, 5, None, NESTED, attributes=1),
    "a codec that does not exist": lambda: message(1, 5, None, b"x", attributes=6),
    "a key longer than the message": lambda: struct.pack(">qiIbbii", 0, 18, 0, 0, 0, 100, 0) + b"abcd",
    "a size below null": lambda: struct.pack(">qiIbbii", 0, 14, 0, 0, 0, -2, 0),
    "bytes after the value": lambda: struct.pack(">qiIbbii", 0, 18, 0, 0, 0, 0, 0) + b"abcd",
    "too short for magic 1": lambda: struct.pack(">qiIbbii", 0, 14, 0, 1, 0, 0, 0),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit(name: str) -> None:
    with pytest.raises(KafkaError) as caught:
        read(BAD[name]())
    assert caught.value.code in (ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE)


@given(st.binary(max_size=60), st.integers(0, 1), st.integers(0, 255))
def test_random_bytes_raise_nothing_else(noise: bytes, magic: int, attributes: int) -> None:
    data = struct.pack(">qiIBB", 0, 6 + len(noise), 0, magic, attributes) + noise
    with suppress(KafkaError):
        read(data)
