"""What Produce checks inside a batch that the core hands over."""

from __future__ import annotations

import pytest

from kafkax._core.log import AppendError, RecordErrors
from kafkax.broker.record_validation import validated_batch
from kafkax.config import BrokerConfig, TopicConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch, iter_batches

NOW = 1_700_000_000_000


def config(**overrides: str) -> TopicConfig:
    return TopicConfig({name.replace("_", "."): value for name, value in overrides.items()}, BrokerConfig.load())


def batch(*keys: bytes | None, compression: str = "gzip", timestamp: int = NOW) -> bytes:
    return build_batch([Record(key, b"value", [("h", b"1")], timestamp) for key in keys], compression=compression)


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_the_producers_bytes_stay_as_they_are(compression: str) -> None:
    data = batch(b"a", b"b", compression=compression)
    assert validated_batch(data, config(), NOW) is data


def test_what_is_cut_off_behind_the_batch_is_left_out() -> None:
    data = batch(b"a")
    assert validated_batch(data + data[:20], config(), NOW) == data


@pytest.mark.parametrize(("wanted", "stored"), [("zstd", "zstd"), ("uncompressed", "none"), ("lz4", "lz4")])
def test_another_compression_type_packs_the_records_anew(wanted: str, stored: str) -> None:
    records = [Record(b"a", b"1", [("h", None)], NOW), Record(None, None, [], NOW + 5)]
    data = build_batch(records, compression="gzip", producer_id=7, producer_epoch=2, base_sequence=40)
    (found,) = iter_batches(validated_batch(data, config(compression_type=wanted), NOW))
    found.check()
    assert (found.compression, found.producer_id, found.producer_epoch, found.base_sequence) == (stored, 7, 2, 40)
    assert [(r.key, r.value, list(r.headers), r.timestamp) for r in found.records()] == [
        (b"a", b"1", [("h", None)], NOW),
        (None, None, [], NOW + 5),
    ]


def test_keyless_records_of_a_compacted_topic_are_named() -> None:
    with pytest.raises(RecordErrors) as caught:
        validated_batch(batch(b"a", None, b"c", None), config(cleanup_policy="compact,delete"), NOW, log_start_offset=7)
    assert caught.value.code is ErrorCode.INVALID_RECORD
    assert caught.value.errors == [(1, "key"), (3, "key")]
    assert caught.value.log_start_offset == 7


@pytest.mark.parametrize(("timestamp", "fine"), [(NOW - 1000, True), (NOW - 1001, False), (NOW + 500, True), (NOW + 501, False)])
def test_timestamps_have_bounds(timestamp: int, fine: bool) -> None:
    settings = config(message_timestamp_before_max_ms="1000", message_timestamp_after_max_ms="500")
    data = batch(b"a", timestamp=timestamp)
    if fine:
        assert validated_batch(data, settings, NOW) is data
    else:
        with pytest.raises(RecordErrors) as caught:
            validated_batch(data, settings, NOW)
        assert (caught.value.code, caught.value.errors) == (ErrorCode.INVALID_TIMESTAMP, [(0, "timestamp")])


def test_a_timestamp_decides_the_code_and_a_missing_key_what_is_said_of_its_record() -> None:
    settings = config(cleanup_policy="compact", message_timestamp_before_max_ms="1000")
    data = build_batch([Record(key, b"", [], time) for key, time in ((None, 5), (b"k", NOW), (b"k", 5), (b"k", -1))])
    with pytest.raises(RecordErrors) as caught:
        validated_batch(data, settings, NOW)
    assert (caught.value.code, caught.value.errors) == (ErrorCode.INVALID_TIMESTAMP, [(0, "key"), (2, "timestamp")])


def test_records_may_not_unpack_to_more_than_the_limit() -> None:
    data = build_batch([Record(None, b"\0" * 100_000, [], NOW)], compression="zstd")
    assert validated_batch(data, config(kafkax_decompressed_max_bytes="200000"), NOW) is data
    with pytest.raises(KafkaError) as caught:
        validated_batch(data, config(kafkax_decompressed_max_bytes="50000"), NOW)
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE


def test_a_count_that_is_not_true_is_refused() -> None:
    data = bytearray(batch(b"a", b"b"))
    data[23:27] = (5).to_bytes(4, "big")  # last offset delta
    with pytest.raises(AppendError) as caught:
        validated_batch(bytes(data), config(), NOW, log_start_offset=3)
    assert (caught.value.code, caught.value.log_start_offset) == (ErrorCode.INVALID_RECORD, 3)
