"""Reading the message formats before record batches: magic 0, and magic 1 which added timestamps (KIP-32).

Every message has an offset, a size and a CRC-32 of its own.  A compressed message wraps a set of messages in its value and has
the offset of the last of them; in magic 1 the offsets inside count from 0.  Brokers since 4.0 accept these formats
no more, but old log segments hold them: ``build_batch(batch.records(), base_offset=batch.base_offset)`` converts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS, decompress
from kafkax.protocol.record import NO_TIMESTAMP, Record

__all__ = ["LegacyBatch"]

_ENTRY = struct.Struct(">qi")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_CRC = struct.Struct(">I")
_SMALLEST = {0: 26, 1: 34}
_LOG_APPEND_TIME = 0x08
_LZ4_CONTENT_SIZE = 0x08


class LegacyBatch:
    """A message of magic 0 or 1 with what it wraps.

    Attributes:
        data: the whole message, offset and size included.
        offset: the offset in front of the message; for a compressed one that of the last message inside.
        magic: 0 or 1.
        crc: the stored checksum.
        timestamp: milliseconds since the epoch; :data:`NO_TIMESTAMP` in magic 0.
    """

    __slots__ = ("attributes", "crc", "data", "magic", "offset", "timestamp")

    def __init__(self, data: memoryview) -> None:
        if len(data) < _SMALLEST[0] or len(data) < _SMALLEST.get(data[16], 1 << 62):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{len(data)} bytes are no message of magic 0 or 1")
        self.data = data
        self.offset: int = _INT64.unpack_from(data)[0]
        self.crc: int = _CRC.unpack_from(data, 12)[0]
        self.magic = data[16]
        self.attributes = data[17]
        self.timestamp: int = _INT64.unpack_from(data, 18)[0] if self.magic else NO_TIMESTAMP

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
        """Whether the broker set the timestamp."""
        return bool(self.magic and self.attributes & _LOG_APPEND_TIME)

    @property
    def base_offset(self) -> int:
        """Offset of the first record; decompresses when there are several."""
        return next(iter(self.records())).offset if self.compression != "none" else self.offset

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return self.offset

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.offset + 1

    def check(self) -> None:
        """Compare the checksum.

        Raises:
            KafkaError: CORRUPT_MESSAGE when it differs.
        """
        actual = zlib.crc32(self.data[16:])
        if actual != self.crc:
            raise KafkaError(
                ErrorCode.CORRUPT_MESSAGE, f"checksum {self.crc:#010x} stored at offset {self.offset}, {actual:#010x} found"
            )

    def records(self, limit: int = 1 << 30) -> Iterator[Record]:
        """The records, decompressed to at most ``limit`` bytes.

        Raises:
            KafkaError: CORRUPT_MESSAGE, MESSAGE_TOO_LARGE or INVALID_RECORD.
        """
        key, value = self._key_and_value()
        codec = self.compression
        if codec == "none":
            yield Record(key, value, (), self.timestamp, self.offset)
            return
        wrapped = _repair(value or b"") if codec == "lz4" and self.magic == 0 else value or b""
        inner = list(_split(decompress(codec, wrapped, limit)))
        if not inner:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"the compressed message at offset {self.offset} is empty")
        shift = self.offset - inner[-1].offset if self.magic else 0
        for message in inner:
            if message.attributes & 0x07:
                raise KafkaError(ErrorCode.INVALID_RECORD, f"a compressed message within the one at offset {self.offset}")
            key, value = message._key_and_value()
            timestamp = self.timestamp if self.log_append_time else message.timestamp
            yield Record(key, value, (), timestamp, message.offset + shift)

    def _key_and_value(self) -> tuple[bytes | None, bytes | None]:
        start = 26 if self.magic else 18
        key, position = self._block(start)
        value, position = self._block(position)
        if position != len(self.data):
            surplus = len(self.data) - position
            raise KafkaError(ErrorCode.INVALID_RECORD, f"the message at offset {self.offset} has {surplus} bytes too many")
        return key, value

    def _block(self, position: int) -> tuple[bytes | None, int]:
        remain = len(self.data) - position - 4
        size = _INT32.unpack_from(self.data, position)[0] if remain >= 0 else 0
        if size > remain or size < -1:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"{size} bytes at byte {position} of the message at offset {self.offset}")
        if size < 0:
            return None, position + 4
        return bytes(self.data[position + 4 : position + 4 + size]), position + 4 + size


def _repair(frame: bytes) -> bytes:
    """Writers of magic 0 computed the checksum of the LZ4 frame header over the wrong bytes; put in the right one."""
    import xxhash

    end = 14 if len(frame) > 4 and frame[4] & _LZ4_CONTENT_SIZE else 6
    right = xxhash.xxh32_intdigest(frame[4:end]) >> 8 & 0xFF
    return frame[:end] + bytes((right,)) + frame[end + 1 :]


def _split(data: bytes) -> Iterator[LegacyBatch]:
    view, position = memoryview(data), 0
    while position + _ENTRY.size <= len(view):
        _, size = _ENTRY.unpack_from(view, position)
        end = position + _ENTRY.size + size
        if size < 0 or end > len(view):
            break
        yield LegacyBatch(view[position:end])
        position = end
