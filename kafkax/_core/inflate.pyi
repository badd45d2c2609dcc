"""Decompression of record batches without the GIL; codecs by Kafka's ids: 1 gzip, 2 snappy, 3 lz4, 4 zstd."""

from typing_extensions import Buffer

def available(codec: int) -> bool:
    """Whether this machine can decompress ``codec`` in the core (its shared library is there)."""

def decompress(codec: int, data: Buffer, limit: int) -> bytes:
    """All of ``data`` decompressed.

    Raises KafkaError CORRUPT_MESSAGE when the stream is damaged or cut off, MESSAGE_TOO_LARGE when it holds more than ``limit``
    bytes, UNSUPPORTED_COMPRESSION_TYPE when the codec is not available.
    """
