"""Record batches: what is built is read back, what Kafka wrote is read, and what doesn't fit is refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkax._core.crc32c import crc32c
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS, compress
from kafkax.protocol.record import Record
from kafkax.protocol.records import HEADER_SIZE, RecordBatch, build_batch, iter_batches
from tests.reference import needs_reference, reference

_BYTES = st.one_of(st.none(), st.binary(max_size=20), st.integers(0, 20_000).map(bytes))
RECORDS = st.builds(
    Record,
    key=_BYTES,
    value=_BYTES,
    headers=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), _BYTES), max_size=3).map(tuple),
    timestamp=st.integers(-1, 1 << 50),
    offset=st.just(-1),
)


def only(data: bytes) -> RecordBatch:
    (batch,) = iter_batches(data)
    assert isinstance(batch, RecordBatch)
    return batch


def with_body(records: int, body: bytes, codec: int = 0) -> RecordBatch:
    """A batch with a right checksum around any bytes."""
    checked = struct.pack(">hiqqqhii", codec, max(records - 1, 0), 0, 0, -1, -1, -1, records) + body
    return only(struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c(checked)) + checked)


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=25, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=20), st.integers(0, 1 << 60))
def test_what_is_built_is_read_back(codec: str, records: list[Record], base: int) -> None:
    data = build_batch(records, base_offset=base, compression=codec)
    batch = only(data)
    batch.check()
    assert list(batch.records()) == [record._replace(offset=base + place) for place, record in enumerate(records)]
    assert (batch.base_offset, batch.last_offset, batch.next_offset) == (base, base + len(records) - 1, base + len(records))
    assert (batch.count, batch.compression) == (len(records), codec)
    assert batch.max_timestamp == max(record.timestamp for record in records)


def test_the_bytes_of_a_batch() -> None:
    record = Record(b"k", b"value", [("h", None)], timestamp=1000)
    data = build_batch([record, Record(None, b"", timestamp=999)], base_offset=7, leader_epoch=3)
    assert data[:17].hex() == "0000000000000007" "00000048" "00000003" "02"
    assert int.from_bytes(data[17:21], "big") == crc32c(data[21:])
    assert data[21:61].hex() == "0000" "00000001" "00000000000003e8" "00000000000003e8" + "ff" * 14 + "00000002"
    assert data[61:].hex() == "1e" "000000" "026b" "0a76616c7565" "02" "0268" "01" + "0c" "000102" "01" "00" "00"


def test_attributes_of_the_producer_and_of_transactions() -> None:
    batch = only(build_batch([Record()], producer_id=5, producer_epoch=2, base_sequence=9, transactional=True))
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (5, 2, 9)
    assert (batch.transactional, batch.control, batch.log_append_time, batch.delete_horizon_ms) == (True, False, False, None)


def test_the_append_time_stands_for_every_timestamp() -> None:
    batch = only(build_batch([Record(timestamp=1), Record(timestamp=2)], append_time=50))
    assert batch.log_append_time
    assert (batch.max_timestamp, [record.timestamp for record in batch.records()]) == (50, [50, 50])


def test_the_delete_horizon_replaces_the_base_timestamp() -> None:
    batch = only(build_batch([Record(timestamp=100), Record(timestamp=200)], delete_horizon_ms=5000))
    assert batch.delete_horizon_ms == 5000
    assert [record.timestamp for record in batch.records()] == [100, 200]


def test_offsets_may_have_gaps_but_only_ascend() -> None:
    batch = only(build_batch([Record(offset=12), Record(offset=19)], base_offset=10))
    assert ([record.offset for record in batch.records()], batch.last_offset) == ([12, 19], 19)
    for offsets in ((12, 12), (12, 11), (9, 12), (10, 10 + (1 << 31))):
        with pytest.raises(ValueError, match="does not follow"):
            build_batch([Record(offset=offset) for offset in offsets], base_offset=10)


def test_header_names_that_are_no_utf8_survive() -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    (record,) = only(build_batch([Record(headers=[(name, b"")])])).records()
    assert record.headers == ((name, b""),)


def test_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        build_batch([])
    with pytest.raises(ValueError, match="'brotli' is none of"):
        build_batch([Record()], compression="brotli")


def test_batches_follow_each_other_and_an_incomplete_one_is_left_out() -> None:
    first, second = build_batch([Record()]), build_batch([Record()] * 3, base_offset=1)
    for cut in range(len(second)):
        batches = list(iter_batches(first + second[:cut]))
        assert [batch.base_offset for batch in batches] == [0]
    assert [batch.next_offset for batch in iter_batches(memoryview(first + second))] == [1, 4]
    assert list(iter_batches(b"")) == []


@pytest.mark.parametrize(("position", "data"), [(8, "ffffffff"), (8, "00000005"), (16, "03"), (16, "80")])
def test_an_impossible_length_or_magic(position: int, data: str) -> None:
    batch = bytearray(build_batch([Record()]))
    batch[position : position + len(data) // 2] = bytes.fromhex(data)
    with pytest.raises(KafkaError) as caught:
        list(iter_batches(batch))
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


def test_a_batch_shorter_than_its_header() -> None:
    with pytest.raises(KafkaError, match="its header has 61"):
        RecordBatch(memoryview(build_batch([Record()]))[:60])


def test_every_changed_byte_after_the_checksum_is_noticed() -> None:
    data = build_batch([Record(b"k", b"v")])
    for position in range(17, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        with pytest.raises(KafkaError, match="checksum 0x") as caught:
            only(bytes(damaged)).check()
        assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize(
    ("records", "body"),
    [
        pytest.param(1, "", id="no record"),
        pytest.param(2, "0c000000010100", id="fewer records than claimed"),
        pytest.param(1, "0c000000010100" "0c000002010100", id="more records than claimed"),
        pytest.param(0, "0c000000010100", id="a record though none is claimed"),
        pytest.param(0x7FFFFFFF, "0c000000010100", id="two thousand million records"),
        pytest.param(1, "feffffff0f000000010100", id="a record longer than the batch"),
        pytest.param(1, "01000000010100", id="a negative size"),
        pytest.param(1, "0e00000001010000", id="a record longer than its fields"),
        pytest.param(1, "0a000000010100", id="a record shorter than its fields"),
        pytest.param(1, "0c0000007e0100", id="a key longer than the record"),
        pytest.param(1, "0c000000017e00", id="a value longer than the record"),
        pytest.param(1, "0c00000001017e", id="more headers than bytes"),
        pytest.param(1, "0c000000010101", id="a negative number of headers"),
        pytest.param(1, "0e00000001010201", id="a header without name"),
        pytest.param(1, "2400000000ffffffffffffff0101010000000000", id="a varint without end"),
    ],
)
def test_records_that_do_not_fit(records: int, body: str) -> None:
    with pytest.raises(KafkaError) as caught:
        list(with_body(records, bytes.fromhex(body)).records())
    assert caught.value.code is ErrorCode.INVALID_RECORD


@given(st.binary(max_size=80), st.integers(0, 7), st.integers(-1, 5))
def test_random_bodies_raise_nothing_else(body: bytes, codec: int, records: int) -> None:
    batch = with_body(records, body, codec)
    with suppress(KafkaError):
        list(batch.records(10_000))


def test_a_bomb_within_a_batch_stops_at_the_limit() -> None:
    batch = with_body(1, compress("gzip", bytes(10_000_000)), codec=1)
    with pytest.raises(KafkaError) as caught:
        list(batch.records(limit=1_000_000))
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE


def test_a_codec_that_does_not_exist() -> None:
    with pytest.raises(KafkaError, match="compression 5 is not known"):
        with_body(0, b"", codec=5).compression  # noqa: B018


@needs_reference
def test_segments_that_kafka_wrote() -> None:
    codecs: set[Any] = set()
    for segment in sorted(reference("logs").rglob("*.log")):
        data = segment.read_bytes()
        size = 0
        for batch in iter_batches(data):
            assert isinstance(batch, RecordBatch)
            batch.check()
            records = list(batch.records())
            assert len(records) == batch.count
            codecs.add(batch.compression)
            size += len(batch.data)
            rebuilt = only(rebuild(batch, records))
            assert list(rebuilt.records()) == records
            assert rebuilt.data[21:HEADER_SIZE] == batch.data[21:HEADER_SIZE]
            if batch.compression == "none":
                assert rebuilt.data == batch.data
        assert size == len(data)
    assert codecs == set(CODECS)


def rebuild(batch: RecordBatch, records: list[Record]) -> bytes:
    return build_batch(
        records,
        base_offset=batch.base_offset,
        leader_epoch=batch.leader_epoch,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        compression=batch.compression,
        append_time=batch.max_timestamp if batch.log_append_time else None,
        transactional=batch.transactional,
        control=batch.control,
    )
