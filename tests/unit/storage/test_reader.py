from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.control import end_transaction_batch
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.storage.reader import DamagedSegment, PartitionReader, UnwrittenRoom, read_segment
from kafkax.storage.txn_index import AbortedTransaction, encode_transaction
from tests.reference import reference


def batch(offset: int, count: int = 2, **fields: object) -> bytes:
    records = [Record(b"k%d" % (offset + i), b"v" * 10, [], 1000 + offset + i, offset + i) for i in range(count)]
    return build_batch(records, base_offset=offset, **fields)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "00000000000000000000.log").write_bytes(batch(0) + batch(2))
    (tmp_path / "00000000000000000006.log").write_bytes(batch(6, compression="lz4") + batch(8))
    return tmp_path


def test_records_come_in_order_over_all_segments(folder: Path) -> None:
    with PartitionReader(folder) as log:
        assert [record.offset for record in log.records()] == [0, 1, 2, 3, 6, 7, 8, 9]


@pytest.mark.parametrize(("start", "expected"), [(0, 0), (3, 3), (4, 6), (7, 7), (9, 9), (10, None), (10**15, None)])
def test_reading_begins_at_the_offset_or_the_next_there_is(folder: Path, start: int, expected: int | None) -> None:
    first = next(PartitionReader(folder).records(start), None)
    assert (None if first is None else first.offset) == expected


def test_read_committed_leaves_out_aborted_records_and_markers_never_show(tmp_path: Path) -> None:
    transaction = {"producer_id": 5, "producer_epoch": 0, "base_sequence": 0, "transactional": True}
    marker = end_transaction_batch(False, producer_id=5, producer_epoch=0, coordinator_epoch=0, timestamp=1, base_offset=4)
    (tmp_path / "00000000000000000000.log").write_bytes(batch(0) + batch(2, **transaction) + marker + batch(5))
    (tmp_path / "00000000000000000000.txnindex").write_bytes(encode_transaction(AbortedTransaction(5, 2, 4, 5)))
    log = PartitionReader(tmp_path)
    assert [record.offset for record in log.records()] == [0, 1, 2, 3, 5, 6]
    assert [record.offset for record in log.records(isolation="read_committed")] == [0, 1, 5, 6]


def test_a_torn_batch_ends_the_log_only_in_the_newest_segment(folder: Path) -> None:
    newest, older = folder / "00000000000000000006.log", folder / "00000000000000000000.log"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert [record.offset for record in PartitionReader(folder).records()] == [0, 1, 2, 3, 6, 7]
    older.write_bytes(older.read_bytes()[:-1])
    with pytest.raises(DamagedSegment, match="are left in the file"):
        list(PartitionReader(folder).records())


def test_every_truncation_is_torn_at_the_last_whole_batch(tmp_path: Path) -> None:
    whole, path = batch(0) + batch(2), tmp_path / "00000000000000000000.log"
    for length in range(len(batch(0)) + 1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedSegment) as damage:
            list(read_segment(path))
        assert (damage.value.position, damage.value.torn) == (len(batch(0)), True)


def test_no_flipped_bit_gets_a_wrong_record_read(tmp_path: Path) -> None:
    whole, path = batch(0), tmp_path / "00000000000000000000.log"
    for position in range(12 * 8, len(whole) * 8):
        if 12 <= position // 8 < 16:
            continue
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedSegment) as damage:
            list(read_segment(path))
        assert damage.value.position == 0
        assert damage.value.code is ErrorCode.CORRUPT_MESSAGE


def test_a_batch_larger_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000000.log"
    path.write_bytes(build_batch([Record(b"k", b"x" * (3 << 20), [], 1, 0)]) + batch(1))
    assert [len(placed.batch.data) > 1 << 20 for placed in read_segment(path)] == [True, False]


def test_zeroes_behind_the_last_batch_are_room_and_no_batch(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000000.log"
    path.write_bytes(batch(0) + bytes(3 << 20))
    with pytest.raises(UnwrittenRoom, match="3145728 bytes of room that nothing is written to yet"):
        list(read_segment(path))
    path.write_bytes(batch(0) + bytes(3 << 20) + b"x")
    with pytest.raises(DamagedSegment, match="no batch has a length of 12 bytes"):
        list(read_segment(path))


def test_room_ends_the_log_only_in_the_newest_segment(folder: Path) -> None:
    first, *_, newest = sorted(folder.glob("*.log"))
    with PartitionReader(folder) as reader:
        whole = [batch.base_offset for batch in reader.batches()]
        newest.write_bytes(newest.read_bytes() + bytes(4096))
        assert [batch.base_offset for batch in reader.batches()] == whole
        first.write_bytes(first.read_bytes() + bytes(4096))
        with pytest.raises(UnwrittenRoom):
            list(reader.batches())


def test_a_folder_without_segments_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(KafkaError, match="holds no log segment") as error:
        PartitionReader(tmp_path)
    assert error.value.code is ErrorCode.LOG_DIR_NOT_FOUND


def test_what_kafka_wrote_is_read() -> None:
    ten_thousand = PartitionReader(reference("logs", "kafka-3.9.2", "idx-0"))
    assert [record.offset for record in ten_thousand.records()] == list(range(10_000))
    assert next(ten_thousand.records(7924)).offset == 7924
    aborted = PartitionReader(reference("logs", "kafka-4.3.1", "g1-3"))
    everything = {record.offset for record in aborted.records()}
    committed = {record.offset for record in aborted.records(isolation="read_committed")}
    assert everything - committed == {81, 82, 83, 84, 85}
