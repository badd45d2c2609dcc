from __future__ import annotations

import json
from pathlib import Path

import pytest

from kafkax.cli.main import run
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "t-0"
    target.mkdir()
    (target / "00000000000000000000.log").write_bytes(build_batch([Record(b"key", "wört".encode(), [], 1000, 0)], leader_epoch=3))
    (target / "00000000000000000000.index").touch()
    (target / "00000000000000000000.timeindex").touch()
    return target


def test_dump_log_prints_a_line_for_each_batch_and_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dump-log", str(folder), "--print-data-log"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(str(folder / "00000000000000000000.index"))
    assert any(line.startswith("batch: position: 0 baseOffset: 0 lastOffset: 0 count: 1") for line in lines)
    assert any(line.startswith("  | record: offset: 0") and "key: key value: wört" in line for line in lines)


def test_dump_log_as_json_is_one_object_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dump-log", "--files", str(folder / "00000000000000000000.log"), "--deep-iteration", "--format", "json"]) == 0
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == ["file", "batch", "record"]


def test_dump_log_of_something_damaged_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "00000000000000000000.log").write_bytes(b"x" * 100)
    assert run(["dump-log", str(folder)]) == 1
    assert "DAMAGED" in capsys.readouterr().out


def test_dump_log_needs_something_to_dump(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dump-log"]) == 2
    assert "name at least one file or folder" in capsys.readouterr().err


def test_verify_log_tells_how_much_it_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify-log", str(folder.parent), "--deep"]) == 0
    assert capsys.readouterr().out.startswith("1 partitions, 1 segments, 1 batches, 1 records, ")


def test_verify_log_fails_on_a_problem_and_names_the_byte(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "00000000000000000000.log"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert run(["verify-log", str(folder)]) == 1
    assert "00000000000000000000.log: byte 0: checksum" in capsys.readouterr().err
    assert run(["verify-log", str(folder), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["path"] == str(path)
