"""Decompression in the core: what every codec wrote comes back, and nothing that is damaged, lying or too large gets through."""

from __future__ import annotations

import gzip
import random
import struct
from pathlib import Path

import pytest

from kafkax._core.inflate import available, decompress
from kafkax._core.log import RecordErrors
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import compress
from tests.unit._core.batches import NOW, Rec, batch, headers, record
from tests.unit._core.test_append import code_of, content, open_log

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
LIMIT = 1 << 22


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not available(CODECS[name]):
        pytest.skip(f"the library of {name} is not installed")
    return name


def sample(size: int, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        out += rng.choice([bytes(rng.randrange(200)), rng.randbytes(rng.randrange(80)), b"the same words again and again "])
    return bytes(out[:size])


def payload(recs: list[Rec]) -> bytes:
    return b"".join(record(rec, i, recs[0].timestamp) for i, rec in enumerate(recs))


@pytest.mark.parametrize("size", [0, 1, 100, 65535, 65536, 300_000])
def test_round_trip(codec: str, size: int) -> None:
    data = sample(size)
    assert decompress(CODECS[codec], compress(codec, data), LIMIT) == data


def test_bombs_stop_at_the_limit(codec: str) -> None:
    bomb = compress(codec, bytes(LIMIT + 1))
    assert len(bomb) < LIMIT // 10
    with pytest.raises(KafkaError) as caught:
        decompress(CODECS[codec], bomb, LIMIT)
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE
    assert len(decompress(CODECS[codec], bomb, LIMIT + 1)) == LIMIT + 1


def test_cut_streams_are_corrupt(codec: str) -> None:
    data = compress(codec, sample(2000))
    for cut in range(0, len(data), 7):
        with pytest.raises(KafkaError) as caught:
            decompress(CODECS[codec], data[:cut], LIMIT)
        # A frame header cut just so may be empty framing, which snappy allows.
        assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


def test_damaged_streams_never_crash(codec: str) -> None:
    rng = random.Random(7)
    good = compress(codec, sample(3000))
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        outcome(codec, bytes(data))
    for _ in range(400):
        outcome(codec, rng.randbytes(rng.randrange(200)))


def outcome(codec: str, data: bytes) -> ErrorCode | None:
    try:
        decompress(CODECS[codec], data, LIMIT)
    except KafkaError as error:
        assert error.code in (ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)  # noqa: PT017
        return error.code
    return None


def test_gzip_members_follow_each_other() -> None:
    if not available(1):
        pytest.skip("zlib is not installed")
    assert decompress(1, gzip.compress(b"one ") + gzip.compress(b"two"), LIMIT) == b"one two"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\x0f",
        b"\x05\x10abc",
        b"\x05\x0cabcd",
        b"\x08\x00a\x01\x00",
        b"\x08\x00a\x01\x05",
        b"\x02\x00a\x15\x01",
        b"\x04\xfc\xff\xff\xff\xff",
        b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + struct.pack(">i", -1),
        b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + struct.pack(">i", 100) + b"\x01\x00a",
    ],
    ids=["claims 4 GiB", "literal beyond", "too little", "offset 0", "offset before", "too much", "long", "chunk -1", "cut"],
)
def test_lying_snappy_is_corrupt(data: bytes) -> None:
    with pytest.raises(KafkaError) as caught:
        decompress(2, data, LIMIT)
    assert caught.value.code in (ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE)


def test_raw_snappy_and_its_overlapping_copies() -> None:
    assert decompress(2, b"\x0a\x00a\x15\x01", LIMIT) == b"a" * 10
    assert decompress(2, b"\x00", LIMIT) == b""


def test_compressed_batches_are_validated_in_the_core(codec: str, tmp_path: Path) -> None:
    log = open_log(tmp_path)
    recs = [Rec(b"k%d" % i, sample(i * 40, i), NOW + i, ((b"h", None),)) for i in range(200)]
    body = compress(codec, payload(recs))
    data = batch(recs, attributes=CODECS[codec], payload=body)
    assert log.append(data).last_offset == 199
    assert content(log)[61:] == body
    wrong = batch(recs, attributes=CODECS[codec], payload=body, max_timestamp=NOW + 10**7)
    log.append(wrong)
    assert [header.max_timestamp for _, header in headers(content(log))] == [NOW + 199] * 2


def test_a_record_larger_than_the_window(codec: str, tmp_path: Path) -> None:
    log = open_log(tmp_path)
    recs = [Rec(value=bytes(1_500_000)), Rec()]
    log.append(batch(recs, attributes=CODECS[codec], payload=compress(codec, payload(recs))))
    assert log.log_end_offset == 2


def test_compressed_records_that_do_not_fit_are_refused(codec: str, tmp_path: Path) -> None:
    log = open_log(tmp_path, decompressed_max_bytes=100_000)
    recs = [Rec(), Rec()]
    good = payload(recs)
    number = CODECS[codec]
    gap = record(Rec(), 1, NOW)
    for body, count in [(good[:-1], 2), (good + b"\0", 2), (good, 1), (good, 3), (gap, 1), (b"", 1), (b"\xff" * 9, 1)]:
        data = batch(recs, attributes=number, payload=compress(codec, body), count=count, last_offset_delta=count - 1)
        assert code_of(log, data) == ErrorCode.INVALID_RECORD
    data = batch(1, attributes=number, payload=b"not compressed at all, though it says so")
    assert code_of(log, data) == ErrorCode.CORRUPT_MESSAGE
    data = batch(1, attributes=number, payload=compress(codec, payload([Rec(value=bytes(200_000))])))
    assert code_of(log, data) == ErrorCode.MESSAGE_TOO_LARGE


def test_keyless_records_inside_are_named(codec: str, tmp_path: Path) -> None:
    log = open_log(tmp_path, compacted=True)
    recs = [Rec(), Rec(key=None)]
    with pytest.raises(RecordErrors) as caught:
        log.append(batch(recs, attributes=CODECS[codec], payload=compress(codec, payload(recs))))
    assert caught.value.errors == [(1, "key")]


def test_timestamps_are_found_inside_compressed_batches(codec: str, tmp_path: Path) -> None:
    log = open_log(tmp_path)
    recs = [Rec(timestamp=NOW + i * 10) for i in range(20)]
    log.append(batch(recs, attributes=CODECS[codec], payload=compress(codec, payload(recs))))
    found = log.offset_for_timestamp(NOW + 95)
    assert found is not None
    assert (found.timestamp, found.offset) == (NOW + 100, 10)


def test_unknown_codecs_are_not_available() -> None:
    assert not available(0)
    assert not available(7)
    with pytest.raises(KafkaError):
        decompress(7, b"x", LIMIT)
