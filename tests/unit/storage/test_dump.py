from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.storage.dump import DumpOptions, dump_file, files_below, parse_index, parse_time_index
from kafkax.storage.files import MalformedFile
from tests.reference import reference

DEEP = DumpOptions(deep=True, payload=True)


SHOWN = ("baseOffset", "lastOffset", "count", "partitionLeaderEpoch", "lastSequence", "magic")


def entries(path: Path, options: DumpOptions = DEEP) -> list[dict[str, Any]]:
    return list(dump_file(path, options))[1:]


def test_batches_and_records_are_shown_under_kafkas_names(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000005.log"
    record = Record(b"k", b"\xff", [("h", None)], 1000, 5)
    path.write_bytes(
        build_batch([record], base_offset=5, leader_epoch=2, producer_id=9, producer_epoch=1, base_sequence=2**31 - 1)
    )
    batch, shown = entries(path)
    assert {name: batch[name] for name in SHOWN} == {
        "baseOffset": 5,
        "lastOffset": 5,
        "count": 1,
        "partitionLeaderEpoch": 2,
        "lastSequence": 2**31 - 1,
        "magic": 2,
    }
    assert (shown["key"], shown["value"], shown["headers"]) == ("k", {"base64": "/w=="}, [["h", None]])
    assert [entry["kind"] for entry in entries(path, DumpOptions())] == ["batch"]


def test_damage_is_said_after_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000000.log"
    path.write_bytes(build_batch([Record(b"k", b"v")]) + b"torn")
    assert [entry["kind"] for entry in entries(path)] == ["batch", "record", "damage"]


def test_a_name_that_no_file_of_a_log_directory_has(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    assert entries(path)[0]["kind"] == "damage"
    assert files_below(tmp_path) == []


def test_every_file_of_kafkas_logs_is_read_without_complaint() -> None:
    files = files_below(reference("logs"))
    kinds: dict[str, int] = {}
    for path in files:
        for entry in dump_file(path, DEEP):
            kinds[entry["kind"]] = kinds.get(entry["kind"], 0) + 1
    assert len(files) == sum(path.is_file() for path in reference("logs").rglob("*"))
    assert "damage" not in kinds
    expected = {"batch", "record", "offsetIndex", "timeIndex", "producer", "checkpoint", "leaderEpoch", "abortedTransaction"}
    assert expected <= set(kinds)
    assert kinds["record"] > 10_000


def test_the_offsets_topic_is_decoded() -> None:
    (path,) = reference("logs", "kafka-4.3.1", "__consumer_offsets-29").glob("*.log")
    payloads = [entry["payload"] for entry in entries(path) if entry["kind"] == "record"]
    commit = next(payload for payload in payloads if payload["type"] == "OffsetCommit")
    assert commit["key"] == {"group": "kp", "topic": "g3x", "partition": 0}
    assert commit["value"]["offset"] == 20
    assert {payload["type"] for payload in payloads} == {"OffsetCommit", "GroupMetadata"}


def test_the_transactions_topic_is_decoded() -> None:
    (path,) = reference("logs", "kafka-4.3.1", "__transaction_state-20").glob("*.log")
    payloads = [entry["payload"] for entry in entries(path) if entry["kind"] == "record"]
    assert {payload["key"]["transactionalId"] for payload in payloads} == {"aktx"}
    assert payloads[-1]["value"]["producerId"] == 1007


def test_control_records_tell_their_type() -> None:
    (path,) = reference("logs", "kafka-4.3.1", "g1-3").glob("*.log")
    assert {entry["controlType"] for entry in entries(path) if "controlType" in entry} == {"COMMIT", "ABORT"}


class TestIndexes:
    NAME = Path("00000000000000000100.index")

    def test_entries_count_from_the_base_offset(self) -> None:
        assert parse_index(self.NAME, bytes.fromhex("00000005000000640000000900000200"), 100) == [(105, 100), (109, 512)]
        assert parse_time_index(self.NAME, bytes.fromhex("000000000000000a00000003"), 100) == [(10, 103)]

    def test_zeroes_are_room_that_is_not_used_yet(self) -> None:
        assert parse_index(self.NAME, bytes.fromhex("0000000500000064") + bytes(80), 100) == [(105, 100)]
        assert parse_index(self.NAME, bytes(80), 100) == []
        assert parse_time_index(self.NAME, bytes(120), 100) == []

    @pytest.mark.parametrize(
        "content", ["00000005", "00000005000000640000000500000065", "00000005000000640000000600000064", "ffffffff00000001"]
    )
    def test_entries_out_of_order_are_refused(self, content: str) -> None:
        with pytest.raises(MalformedFile):
            parse_index(self.NAME, bytes.fromhex(content), 100)

    @pytest.mark.parametrize("content", ["00", "000000000000000a00000003000000000000000a00000004", "000000000000000affffffff"])
    def test_times_out_of_order_are_refused(self, content: str) -> None:
        with pytest.raises(MalformedFile):
            parse_time_index(self.NAME, bytes.fromhex(content), 100)
