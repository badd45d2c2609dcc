"""Compression as Kafka does it, and decompression that believes nothing."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from contextlib import suppress

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS, compress, decompress
from kafkax.protocol.varint import uvarint

COMPRESSING = CODECS[1:]
XERIAL = bytes.fromhex("82534e41505059000000000100000001")


@pytest.mark.parametrize("codec", CODECS)
@given(st.one_of(st.binary(max_size=200), st.integers(0, 200_000).map(lambda n: b"abcdefg" * (n // 7))))
def test_what_was_compressed_comes_back(codec: str, data: bytes) -> None:
    assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", CODECS)
def test_the_limit_is_exact_and_any_buffer_will_do(codec: str) -> None:
    data = bytes(range(256)) * 1000
    packed = memoryview(bytearray(compress(codec, memoryview(data))))
    assert decompress(codec, packed, len(data)) == data
    with pytest.raises(KafkaError, match=f"more than the {len(data) - 1} bytes") as caught:
        decompress(codec, packed, len(data) - 1)
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_bomb_takes_no_more_memory_than_the_limit(codec: str) -> None:
    bomb = compress(codec, bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(KafkaError) as caught:
            decompress(codec, bomb, 300_000)
        assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", COMPRESSING)
def test_damage_is_named(codec: str) -> None:
    packed = compress(codec, b"some text, some more text" * 50)
    for damaged in (packed[:-1], packed[: len(packed) // 2], b"", b"\xff" * 40):
        with pytest.raises(KafkaError, match=f"{codec} data is damaged") as caught:
            decompress(codec, damaged, 1 << 20)
        assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("codec", COMPRESSING)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_read(codec: str, noise: bytes) -> None:
    for data in (noise, XERIAL + noise, compress(codec, b"abc")[:12] + noise):
        with suppress(KafkaError):
            assert len(decompress(codec, data, 10_000)) <= 10_000


def test_a_snappy_block_that_lies_about_its_size_costs_nothing() -> None:
    lie = uvarint(0x7FFFFFF0) + b"\x00a"
    for data in (lie, XERIAL + struct.pack(">i", len(lie)) + lie):
        tracemalloc.start()
        try:
            with pytest.raises(KafkaError, match=f"{len(lie)} bytes claim to hold 2147483632") as caught:
                decompress("snappy", data, 1 << 31)
            assert caught.value.code is ErrorCode.CORRUPT_MESSAGE
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("size", [-1, 6, 0x7FFFFFFF])
def test_a_xerial_block_beyond_the_data_is_damage(size: int) -> None:
    with pytest.raises(KafkaError, match=f"a block of {size} bytes"):
        decompress("snappy", XERIAL + struct.pack(">i", size) + b"abcde", 1000)


def test_snappy_is_written_in_blocks_of_32_kib_and_read_raw_too() -> None:
    data = bytes(100_000)
    packed = compress("snappy", data)
    assert packed.startswith(XERIAL)
    first = struct.unpack_from(">i", packed, 16)[0]
    assert len(cramjam.snappy.decompress_raw(packed[20 : 20 + first])) == 32 * 1024
    assert decompress("snappy", bytes(cramjam.snappy.compress_raw(data)), len(data)) == data


def test_lz4_blocks_are_independent_since_java_reads_no_others() -> None:
    packed = compress("lz4", b"x" * 200_000)
    assert packed[:4] == bytes.fromhex("04224d18")
    assert packed[4] & 0b1110_0000 == 0b0110_0000


def test_gzip_of_several_members_is_read_whole() -> None:
    assert decompress("gzip", gzip.compress(b"abc") + gzip.compress(b"def"), 10) == b"abcdef"


@pytest.mark.parametrize(("codec", "low", "high"), [("gzip", 1, 9), ("zstd", 1, 19)])
def test_levels_trade_time_for_size(codec: str, low: int, high: int) -> None:
    data = "".join(str(n * n) for n in range(20_000)).encode()
    assert len(compress(codec, data, high)) < len(compress(codec, data, low))


@pytest.mark.parametrize(("codec", "level"), [("gzip", -1), ("lz4", 1), ("lz4", 17), ("zstd", -5), ("zstd", 22)])
def test_levels_at_kafkas_bounds(codec: str, level: int) -> None:
    assert decompress(codec, compress(codec, b"abc" * 9, level), 27) == b"abc" * 9


@pytest.mark.parametrize(("codec", "level"), [("gzip", 10), ("gzip", -2), ("lz4", 0), ("lz4", 18), ("zstd", 23)])
def test_levels_beyond_kafkas_bounds(codec: str, level: int) -> None:
    with pytest.raises(ValueError, match=f"{codec} level {level} is outside"):
        compress(codec, b"", level)


def test_an_unknown_codec() -> None:
    for act in (lambda: compress("brotli", b""), lambda: decompress("brotli", b"", 1)):
        with pytest.raises(ValueError, match="none, gzip, snappy, lz4, zstd"):
            act()
