"""The flusher: what nobody waits for is put off and shared, many logs are synced together, a failure ends all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from tests.unit._core.batches import NOW, Rec, batch

HOUR_MS = 3_600_000
ENDLESS = (1 << 63) - 1
MANY, FEW = 40, 3


def open_logs(folder: Path, flusher: Flusher, count: int, **settings: object) -> list[Log]:
    settings.setdefault("timestamp_after_max_ms", ENDLESS)
    logs = []
    for number in range(count):
        path = folder / f"t-{number}"
        path.mkdir()
        logs.append(Log.open(str(path), LogSettings(**settings), flusher=flusher))  # type: ignore[arg-type]
    return logs


def fill(logs: list[Log], batches: int) -> None:
    for log in logs:
        for _ in range(batches):
            log.append(batch([Rec(value=b"x" * 50, timestamp=NOW)]))


def wait_until_flushed(logs: list[Log], offset: int) -> None:
    deadline = time.monotonic() + 30
    while any(log.flushed_offset < offset for log in logs):
        assert time.monotonic() < deadline, [log.flushed_offset for log in logs]
        time.sleep(0.005)


def test_many_logs_are_synced_together(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    logs = open_logs(tmp_path, flusher, MANY, flush_ms=HOUR_MS)
    fill(logs, 3)
    assert {log.flushed_offset for log in logs} == {0}
    flusher.stop()
    assert {log.high_watermark for log in logs} == {3}
    assert (flusher.together, flusher.flushes) == (1, MANY)


def test_few_logs_are_synced_by_themselves(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    logs = open_logs(tmp_path, flusher, FEW, flush_ms=HOUR_MS)
    fill(logs, 3)
    flusher.stop()
    assert {log.high_watermark for log in logs} == {3}
    assert (flusher.together, flusher.flushes) == (0, FEW)


def test_what_nobody_waits_for_is_flushed_once_it_is_so_much(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=HOUR_MS, lazy_bytes=1000)
    (log,) = open_logs(tmp_path, flusher, 1)
    fill([log], 1)
    time.sleep(0.05)
    assert log.flushed_offset == 0
    while log.size < 1000:
        fill([log], 1)
    wait_until_flushed([log], log.log_end_offset)
    flusher.stop()


def test_only_a_flush_that_comes_by_itself_is_worth_waiting_for(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=HOUR_MS)
    (log,) = open_logs(tmp_path, flusher, 1)
    assert log.end_to_be_flushed is None
    fill([log], 2)
    assert log.end_to_be_flushed == 2
    log.update_settings(LogSettings(flush_ms=HOUR_MS, timestamp_after_max_ms=ENDLESS))
    assert log.end_to_be_flushed is None
    log.update_settings(LogSettings(timestamp_after_max_ms=ENDLESS))
    log.flush()
    assert log.end_to_be_flushed is None
    flusher.stop()


@pytest.mark.parametrize("lazy_ms", [0, 50])
@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_flush_follows_every_append_sooner_or_later(tmp_path: Path, count: int, lazy_ms: int) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=lazy_ms)
    logs = open_logs(tmp_path, flusher, count)
    for turn in range(1, 6):
        fill(logs, 1)
        wait_until_flushed(logs, turn)
    flusher.stop()


def test_rolled_segments_are_part_of_a_sync_of_all(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    logs = open_logs(tmp_path, flusher, MANY, flush_ms=HOUR_MS, segment_bytes=300)
    fill(logs, 9)
    assert all(len(log.segments()) > 2 for log in logs)
    flusher.stop()
    assert {log.flushed_offset for log in logs} == {9}


def test_a_time_that_was_shortened_counts(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    (log,) = open_logs(tmp_path, flusher, 1, flush_ms=HOUR_MS)
    fill([log], 1)
    log.update_settings(LogSettings(flush_ms=1, timestamp_after_max_ms=ENDLESS))
    wait_until_flushed([log], 1)
    log.update_settings(LogSettings(flush_ms=HOUR_MS, timestamp_after_max_ms=ENDLESS))
    fill([log], 1)
    log.update_settings(LogSettings(timestamp_after_max_ms=ENDLESS))
    wait_until_flushed([log], 2)
    flusher.stop()


def test_nothing_is_flushed_after_a_failure(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    logs = open_logs(tmp_path, flusher, MANY, flush_ms=HOUR_MS)
    fill(logs, 2)
    flusher.fail(5)
    flusher.stop()
    assert {log.flushed_offset for log in logs} == {0}
