"""Appending: what a leader accepts, what it assigns, and the code for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafkax._core.log import AppendResult, Handoff, Log, LogSettings, RecordErrors
from kafkax.errors import ErrorCode, KafkaError
from tests.unit._core.batches import NOW, Rec, batch, headers, marker, values


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return open_log(tmp_path)


def open_log(path: Path, **settings: object) -> Log:
    settings.setdefault("timestamp_after_max_ms", (1 << 63) - 1)
    return Log.open(str(path), LogSettings(**settings))  # type: ignore[arg-type]


def code_of(log: Log, data: bytes, **arguments: object) -> ErrorCode:
    before = log.size, log.log_end_offset
    with pytest.raises(KafkaError) as caught:
        log.append(data, **arguments)  # type: ignore[arg-type]
    assert (log.size, log.log_end_offset) == before, "nothing of a refused batch is appended"
    return caught.value.code


def content(log: Log) -> bytes:
    piece = log.read(log.log_start_offset, 1 << 30)
    return b"" if piece is None else piece.read()


def test_offsets_and_epoch_are_stamped_outside_the_checksum(log: Log) -> None:
    assert log.append(batch(3), leader_epoch=4) == AppendResult(0, 2, 3, -1, 0, 4, False)
    assert log.append(batch(2), leader_epoch=5).base_offset == 3
    found = [header for _, header in headers(content(log))]
    assert [(h.base_offset, h.leader_epoch) for h in found] == [(0, 4), (3, 5)]
    assert content(log)[12 + 9 : 61] == batch(3)[12 + 9 : 61]
    assert log.epochs() == [(4, 0), (5, 3)]


def test_log_append_time_rewrites_type_timestamp_and_checksum(tmp_path: Path) -> None:
    log = open_log(tmp_path, log_append_time=True)
    result = log.append(batch([Rec(timestamp=5)]), now_ms=NOW + 77)
    assert result.log_append_time_ms == NOW + 77
    (_, header), = headers(content(log))
    assert (header.attributes & 8, header.max_timestamp, header.base_timestamp) == (8, NOW + 77, 5)


def test_a_wrong_max_timestamp_is_corrected(log: Log) -> None:
    log.append(batch([Rec(timestamp=NOW), Rec(timestamp=NOW + 9)], max_timestamp=NOW + 10**9))
    (_, header), = headers(content(log))
    assert header.max_timestamp == NOW + 9


CASES = {
    "empty": (b"", ErrorCode.INVALID_RECORD),
    "cut": (batch(1)[:-1], ErrorCode.INVALID_RECORD),
    "two batches": (batch(1) + batch(1), ErrorCode.INVALID_RECORD),
    "garbage behind": (batch(1) + bytes(20), ErrorCode.CORRUPT_MESSAGE),
    "magic 1": (batch(1, magic=1), ErrorCode.INVALID_RECORD),
    "magic 0": (batch(1, magic=0), ErrorCode.INVALID_RECORD),
    "magic 3": (batch(1, magic=3), ErrorCode.CORRUPT_MESSAGE),
    "length 0": (batch(1, length_error=-len(batch(1)) + 12), ErrorCode.CORRUPT_MESSAGE),
    "checksum": (batch(1, crc_error=1), ErrorCode.CORRUPT_MESSAGE),
    "base offset": (batch(1, base_offset=5), ErrorCode.INVALID_RECORD),
    "count 0": (batch(1, count=0, last_offset_delta=0), ErrorCode.INVALID_RECORD),
    "count negative": (batch(1, count=-1), ErrorCode.INVALID_RECORD),
    "count too large": (batch(1, count=2, last_offset_delta=1), ErrorCode.INVALID_RECORD),
    "delta off": (batch(2, last_offset_delta=2), ErrorCode.INVALID_RECORD),
    "delta negative": (batch(1, last_offset_delta=-5), ErrorCode.INVALID_RECORD),
    "count huge": (batch(1, count=0x7FFFFFFF, last_offset_delta=0x7FFFFFFE), ErrorCode.INVALID_RECORD),
    "control": (marker(1, 0, commit=True), ErrorCode.INVALID_RECORD),
    "producer without sequence": (batch(1, producer_id=1, epoch=0), ErrorCode.INVALID_RECORD),
    "unknown codec": (batch(1, attributes=5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    "log append time set by the client": (batch(1, attributes=8), ErrorCode.INVALID_TIMESTAMP),
    "too large": (batch([Rec(value=bytes(1_048_588))]), ErrorCode.MESSAGE_TOO_LARGE),
}


@pytest.mark.parametrize(("data", "code"), CASES.values(), ids=CASES.keys())
def test_refused(log: Log, data: bytes, code: ErrorCode) -> None:
    log.append(batch(1))
    assert code_of(log, data) == code
    assert log.append(batch(1)).base_offset == 1


def test_what_is_cut_off_behind_the_batch_is_ignored(log: Log) -> None:
    log.append(batch(2) + batch(1)[:-1])
    assert log.log_end_offset == 2
    assert content(log)[61:] == batch(2)[61:]


def test_a_producer_s_zstd_needs_produce_7_but_not_the_topic_s_own(log: Log) -> None:
    assert code_of(log, batch(1, attributes=4), api_version=6) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert log.append(batch(1, attributes=4), api_version=6, validated=True).last_offset == 0


def test_a_batch_above_the_segment_size_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=200)
    assert code_of(log, batch([Rec(value=bytes(300))])) == ErrorCode.RECORD_LIST_TOO_LARGE


def test_keyless_records_on_a_compacted_topic_are_named(tmp_path: Path) -> None:
    log = open_log(tmp_path, compacted=True)
    with pytest.raises(RecordErrors) as caught:
        log.append(batch([Rec(), Rec(key=None), Rec(), Rec(key=None)]))
    assert (caught.value.code, caught.value.errors) == (ErrorCode.INVALID_RECORD, [(1, "key"), (3, "key")])
    assert log.log_end_offset == 0
    log.append(batch([Rec(value=None)]))


def test_timestamps_out_of_bounds_are_named(tmp_path: Path) -> None:
    log = open_log(tmp_path, timestamp_before_max_ms=1000, timestamp_after_max_ms=1000)
    with pytest.raises(RecordErrors) as caught:
        log.append(batch([Rec(timestamp=1), Rec(timestamp=-1)]))
    assert (caught.value.code, caught.value.errors) == (ErrorCode.INVALID_TIMESTAMP, [(0, "timestamp")])


def test_batches_of_another_compression_are_handed_over(tmp_path: Path) -> None:
    data = batch(3, attributes=3, payload=b"not lz4 at all")
    with pytest.raises(Handoff):
        open_log(tmp_path, compression=2).append(data)
    (tmp_path / "trusting").mkdir()
    assert open_log(tmp_path / "trusting", trust_compressed=True).append(data).last_offset == 2


def test_the_control_plane_appends_what_it_validated(log: Log) -> None:
    data = batch(3, attributes=3, payload=b"validated elsewhere")
    assert log.append(data, validated=True).last_offset == 2


def test_a_batch_that_opens_a_transaction_is_verified_first(tmp_path: Path) -> None:
    log = open_log(tmp_path, verify_transactions=True)
    data = batch(1, producer_id=7, epoch=0, sequence=0, attributes=0x10)
    with pytest.raises(Handoff):
        log.append(data)
    log.append(data, validated=True)
    assert log.append(batch(1, producer_id=7, epoch=0, sequence=1, attributes=0x10)).base_offset == 1


def test_values_come_back(log: Log) -> None:
    log.append(batch([Rec(value=b"a"), Rec(value=None)]))
    log.append(batch([Rec(value=b"c")]))
    assert list(values(content(log))) == [(0, b"a"), (1, None), (2, b"c")]
