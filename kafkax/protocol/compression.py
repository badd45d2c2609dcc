"""The compressions of record batches: gzip, snappy (raw and in snappy-java's blocks), LZ4 frames, Zstandard.

Decompression writes into buffers of its own size and grows them up to the caller's limit, so that memory follows what the
data really contains and never what it claims to contain.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.varint import read_uvarint

__all__ = ["CODECS", "compress", "decompress"]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
"""Names as in ``compression.type``; the index is the number in a batch's attributes."""

_LEVELS = {"gzip": (0, 9, 6), "lz4": (1, 17, 9), "zstd": (-131072, 22, 3)}
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 * 1024
_INT32 = struct.Struct(">i")
_SNAPPY_BEST_RATIO = 22
"""A snappy element of 3 bytes yields at most 64, so no honest claim is above this many times the input."""
_FIRST_GUESS = 64 * 1024


def _codec(name: str) -> Any:
    import cramjam  # not needed by a broker before its first compressed batch

    return getattr(cramjam, name)


def compress(codec: str, data: bytes | bytearray | memoryview, level: int | None = None) -> bytes:
    """Compress as Kafka's own producer does.

    Args:
        codec: one of :data:`CODECS`.
        level: ``compression.<codec>.level``; Kafka's default when None (gzip -1, lz4 9, zstd 3). Snappy has none.

    Raises:
        ValueError: the codec or the level doesn't exist.
    """
    if codec == "none":
        return bytes(data)
    if codec == "snappy":
        return _xerial(data)
    if codec not in _LEVELS:
        raise ValueError(f"compression {codec!r} is none of {', '.join(CODECS)}")
    lowest, highest, usual = _LEVELS[codec]
    chosen = usual if level is None or (codec == "gzip" and level == -1) else level
    if not lowest <= chosen <= highest:
        raise ValueError(f"{codec} level {level} is outside {lowest} to {highest}")
    if codec == "lz4":
        # Java's reader refuses blocks that refer to earlier ones.
        stream = _codec("lz4").Compressor(level=chosen, content_checksum=False, block_linked=False)
        stream.compress(bytes(data))  # takes nothing else
        return bytes(stream.finish())
    return bytes(_codec(codec).compress(data, level=chosen))


def decompress(codec: str, data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress at most ``limit`` bytes.

    Raises:
        KafkaError: MESSAGE_TOO_LARGE when there are more, CORRUPT_MESSAGE when the data is damaged.
        ValueError: the codec doesn't exist.
    """
    if codec == "none":
        if len(data) > limit:
            raise _too_large(codec, limit)
        return bytes(data)
    if codec == "snappy":
        return _snappy(memoryview(data), limit)
    if codec not in _LEVELS:
        raise ValueError(f"compression {codec!r} is none of {', '.join(CODECS)}")
    return _grow(codec, data, limit)


def _too_large(codec: str, limit: int) -> KafkaError:
    return KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"{codec} data holds more than the {limit} bytes that are allowed")


def _corrupt(codec: str, why: object) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{codec} data is damaged: {why}")


def _grow(codec: str, data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress into buffers four times as large each, until the data fits or the limit is reached."""
    import cramjam

    decompress_into: Callable[[Any, bytearray], int] = _codec(codec).decompress_into
    size = min(limit, max(_FIRST_GUESS, 4 * len(data)))
    while True:
        buffer = bytearray(size)
        try:
            written = decompress_into(data, buffer)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise _corrupt(codec, error) from None
            if size >= limit:
                raise _too_large(codec, limit) from None
            size = min(limit, 4 * size)
            continue
        return bytes(memoryview(buffer)[:written])


def _xerial(data: bytes | bytearray | memoryview) -> bytes:
    """snappy-java's stream: a header, then blocks of raw snappy with their length in front."""
    raw = _codec("snappy").compress_raw
    view = memoryview(data)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK):
        block = bytes(raw(view[start : start + _XERIAL_BLOCK]))
        parts += (_INT32.pack(len(block)), block)
    return b"".join(parts)


def _snappy(data: memoryview, limit: int) -> bytes:
    if data[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:
        return _snappy_block(data, limit, limit)
    position = len(_XERIAL_HEADER)
    parts, total = [], 0
    while position < len(data):
        size = _INT32.unpack_from(data, position)[0] if position + 4 <= len(data) else -1
        position += 4
        if not 0 <= size <= len(data) - position:
            raise _corrupt("snappy", f"a block of {size} bytes at {position}, {len(data) - position} remain")
        parts.append(_snappy_block(data[position : position + size], limit - total, limit))
        total += len(parts[-1])
        position += size
    return b"".join(parts)


def _snappy_block(block: memoryview, room: int, limit: int) -> bytes:
    import cramjam

    try:
        claimed, _ = read_uvarint(block, 0)
    except (IndexError, ProtocolError) as error:
        raise _corrupt("snappy", error) from None
    if claimed > _SNAPPY_BEST_RATIO * len(block):
        raise _corrupt("snappy", f"{len(block)} bytes claim to hold {claimed}")
    if claimed > room:
        raise _too_large("snappy", limit)
    buffer = bytearray(claimed)
    try:
        _codec("snappy").decompress_raw_into(block, buffer)
    except cramjam.DecompressionError as error:
        raise _corrupt("snappy", error) from None
    return bytes(buffer)
