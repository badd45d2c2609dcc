"""Idempotence and transactions: sequences, epochs, duplicates, markers, snapshots, the last stable offset."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kafkax._core.crc32c import crc32c
from kafkax._core.log import AbortedTransaction, Log, LogSettings, ProducerEntry
from kafkax.errors import ErrorCode, KafkaError
from tests.unit._core.batches import NOW, Rec, batch, headers, marker
from tests.unit._core.test_append import code_of, open_log

LAST = (1 << 31) - 1


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return open_log(tmp_path, producer_id_expiration_ms=1 << 60)


def send(log: Log, sequence: int, n: int = 1, *, pid: int = 9, epoch: int = 0, transactional: bool = False) -> int:
    attributes = 0x10 if transactional else 0
    return log.append(batch(n, producer_id=pid, epoch=epoch, sequence=sequence, attributes=attributes)).base_offset


def refuse(log: Log, sequence: int, *, epoch: int = 0, transactional: bool = False) -> ErrorCode:
    return code_of(log, batch(1, producer_id=9, epoch=epoch, sequence=sequence, attributes=0x10 if transactional else 0))


def test_the_last_five_batches_are_known_as_duplicates(log: Log) -> None:
    offsets = [send(log, i * 2, 2) for i in range(6)]
    end = log.log_end_offset
    for i in range(1, 6):
        result = log.append(batch([Rec(timestamp=NOW + 5)] * 2, producer_id=9, epoch=0, sequence=i * 2))
        assert (result.base_offset, result.last_offset, result.duplicate) == (offsets[i], offsets[i] + 1, True)
        assert result.log_append_time_ms == NOW, "the original's time, as Kafka tells it even where producers set the time"
    assert log.log_end_offset == end
    assert refuse(log, 0) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_gaps_are_out_of_order(log: Log) -> None:
    send(log, 0)
    assert refuse(log, 2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(log, 1) == 1


def test_an_unknown_producer_may_begin_anywhere(log: Log) -> None:
    assert send(log, 42) == 0
    assert send(log, 43) == 1


def test_sequences_wrap_to_zero(log: Log) -> None:
    send(log, LAST - 1)
    assert send(log, LAST, 3) == 1
    assert send(log, 2) == 4
    assert log.append(batch(3, producer_id=9, epoch=0, sequence=LAST)).base_offset == 1
    send(log, 3)
    assert log.producers()[0].last_sequence == 3


def test_a_new_epoch_begins_at_zero_and_fences_the_old(log: Log) -> None:
    send(log, 0)
    assert refuse(log, 1, epoch=1) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    send(log, 0, epoch=1)
    assert refuse(log, 1, epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH


def test_transactions_hold_the_last_stable_offset(log: Log) -> None:
    log.append(batch(1))
    send(log, 0, 2, pid=1, transactional=True)
    send(log, 0, 2, pid=2, transactional=True)
    log.high_watermark = log.log_end_offset
    assert (log.last_stable_offset, log.open_transaction(1), log.open_transaction(2)) == (1, 1, 3)
    log.append(marker(1, 0, commit=True), origin="coordinator")
    assert log.last_stable_offset == 1, "the marker is not below the high watermark yet"
    log.high_watermark = log.log_end_offset
    assert (log.last_stable_offset, log.first_unstable_offset, log.open_transaction(1)) == (3, 3, -1)
    log.append(marker(2, 0, commit=False), origin="coordinator")
    log.high_watermark = log.log_end_offset
    assert (log.last_stable_offset, log.first_unstable_offset) == (7, -1)
    assert log.aborted_transactions(0, 7) == [AbortedTransaction(2, 3)]
    assert log.aborted_transactions(0, 3) == []


def test_aborted_transactions_stand_in_kafkas_format(log: Log, tmp_path: Path) -> None:
    send(log, 0, 2, pid=5, transactional=True)
    log.append(marker(5, 0, commit=False), origin="coordinator")
    data = (tmp_path / f"{0:020d}.txnindex").read_bytes()
    assert struct.unpack(">hqqqq", data) == (0, 5, 0, 2, 3)


def test_a_plain_batch_inside_a_transaction_is_refused(log: Log) -> None:
    send(log, 0, transactional=True)
    assert refuse(log, 1) == ErrorCode.INVALID_TXN_STATE


def test_markers_of_an_old_coordinator_or_producer_are_fenced(log: Log) -> None:
    send(log, 0, epoch=3, transactional=True)
    log.append(marker(9, 3, commit=True, coordinator_epoch=5), origin="coordinator")
    for data, code in [
        (marker(9, 3, commit=True, coordinator_epoch=4), ErrorCode.TRANSACTION_COORDINATOR_FENCED),
        (marker(9, 2, commit=True, coordinator_epoch=5), ErrorCode.INVALID_PRODUCER_EPOCH),
    ]:
        with pytest.raises(KafkaError) as caught:
            log.append(data, origin="coordinator")
        assert caught.value.code == code


def test_snapshot_is_kafkas(log: Log, tmp_path: Path) -> None:
    send(log, 4, 3)
    log.take_snapshot()
    data = (tmp_path / f"{3:020d}.snapshot").read_bytes()
    version, crc, count = struct.unpack_from(">hIi", data)
    assert (version, crc, count, len(data)) == (1, crc32c(data[6:]), 1, 56)
    assert struct.unpack_from(">qhiqiqiq", data, 10) == (9, 0, 6, 2, 2, NOW, -1, -1)


@pytest.mark.parametrize("clean", [True, False])
def test_state_survives_restart(tmp_path: Path, clean: bool) -> None:
    settings = LogSettings(producer_id_expiration_ms=1 << 60, timestamp_after_max_ms=1 << 60)
    log = Log.open(str(tmp_path), settings)
    send(log, 0, 2)
    log.roll()
    send(log, 2, 2)
    send(log, 0, pid=3, transactional=True)
    before = log.producers()
    if clean:
        log.close()
    log = Log.open(str(tmp_path), settings, clean=clean)
    assert log.producers() == before
    assert log.append(batch(2, producer_id=9, epoch=0, sequence=2)).duplicate
    assert refuse(log, 5) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.first_unstable_offset == 4
    assert send(log, 4) == 5


def test_a_damaged_snapshot_is_replaced_by_the_log(tmp_path: Path) -> None:
    log = open_log(tmp_path, producer_id_expiration_ms=1 << 60)
    send(log, 0, 2)
    log.close()
    name = tmp_path / f"{2:020d}.snapshot"
    good = name.read_bytes()
    for at in range(len(good)):
        name.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        log = open_log(tmp_path, producer_id_expiration_ms=1 << 60)
        assert log.producers() == [ProducerEntry(9, 0, 1, 1, 1, NOW, -1, -1)]
        log.close()


def test_truncation_takes_sequences_back(log: Log) -> None:
    for i in range(3):
        send(log, i)
    log.truncate(1)
    assert refuse(log, 3) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(log, 1) == 1


def test_idle_producers_expire_but_not_inside_a_transaction(tmp_path: Path) -> None:
    log = open_log(tmp_path, producer_id_expiration_ms=1000)
    for pid in range(1, 40):
        send(log, 0, pid=pid)
    send(log, 0, pid=99, transactional=True)
    assert log.expire_producers(NOW + 999) == 0
    assert log.expire_producers(NOW + 1000) == 39
    assert [entry.producer_id for entry in log.producers()] == [99]


def test_entries_can_be_loaded(log: Log) -> None:
    entries = [ProducerEntry(i, 1, 7, 70 + i, 3, NOW, 2, -1) for i in range(50)]
    log.load_producers(entries)
    assert log.producers() == entries
    assert log.append(batch(1, producer_id=4, epoch=1, sequence=8)).base_offset == 0


def test_a_follower_learns_producers_from_what_it_copies(tmp_path: Path) -> None:
    (tmp_path / "leader").mkdir()
    (tmp_path / "follower").mkdir()
    leader = open_log(tmp_path / "leader", producer_id_expiration_ms=1 << 60)
    follower = open_log(tmp_path / "follower", producer_id_expiration_ms=1 << 60)
    send(leader, 0, 2, transactional=True)
    leader.append(marker(9, 0, commit=False), origin="coordinator")
    piece = leader.read(0, 1 << 20)
    assert piece is not None
    follower.append_follower(piece.read())
    assert follower.producers() == leader.producers()
    assert follower.aborted_transactions(0, 9) == leader.aborted_transactions(0, 9)
    copy = follower.read(0, 1 << 20)
    assert copy is not None
    assert list(headers(copy.read())) == list(headers(piece.read()))
