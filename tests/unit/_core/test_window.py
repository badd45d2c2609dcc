"""Windows: small appends that nobody waits for are copied into a mapping of the file, which is otherwise as if written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kafkax._core.flush import Flusher
from kafkax._core.log import Log
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.records import iter_batches
from tests.unit._core.batches import NOW, Rec, batch
from tests.unit._core.mounts import mounted
from tests.unit._core.test_room import ENDLESS, active_file, active_size, wait_for
from tests.unit._core.test_room import open_log as open_flushed

HOUR_MS = 3_600_000
WINDOW = 65536
SMALL, LARGE = 50, 4000
SEVERAL = 20
"""Appends between two flushes, more than enough for a window."""


@pytest.fixture
def flusher(tmp_path: Path) -> Iterator[Flusher]:
    """It flushes what nobody waits for when it is stopped."""
    flusher = Flusher(str(tmp_path), lazy_ms=HOUR_MS)
    yield flusher
    flusher.stop()


def open_log(folder: Path, flusher: Flusher, *, clean: bool = True, **settings: object) -> Log:
    """A log that is flushed when somebody waits, and nobody does."""
    return open_flushed(folder, flusher, clean=clean, flush_messages=ENDLESS, **settings)  # type: ignore[arg-type]


def append(log: Log, count: int, size: int = SMALL) -> None:
    """So many batches of one record, each of which says its offset."""
    for _ in range(count):
        log.append(batch([Rec(value=b"%0*d" % (size, log.log_end_offset), timestamp=NOW)]))


def numbers(log: Log) -> list[int]:
    """What the log holds."""
    found: list[int] = []
    while len(found) < log.log_end_offset:
        piece = log.read(len(found), 1 << 24)
        assert piece is not None
        found += [int(record.value or b"") for each in iter_batches(piece.read()) for record in each.records()]
    return found


def has_window(log: Log, folder: Path) -> bool:
    return active_file(folder).stat().st_size > active_size(log)


def log_with_window(folder: Path, flusher: Flusher, **settings: object) -> Log:
    log = open_log(folder, flusher, **settings)
    append(log, SEVERAL)
    assert has_window(log, folder)
    return log


def test_several_small_appends_get_a_window_that_a_close_takes_back(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = log_with_window(folder, flusher)
    size, data = active_size(log), active_file(folder).read_bytes()
    assert len(data) <= WINDOW
    assert not any(data[size:])
    assert numbers(log) == list(range(SEVERAL))
    log.close()
    assert active_file(folder).read_bytes() == data[:size]


def test_appends_go_on_past_a_window(tmp_path: Path, flusher: Flusher) -> None:
    log = log_with_window(tmp_path / "t-0", flusher)
    append(log, 3 * WINDOW // SMALL)
    assert active_size(log) > 3 * WINDOW
    assert numbers(log) == list(range(log.log_end_offset))
    log.close()


def test_large_and_small_appends_mix(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = log_with_window(folder, flusher)
    for _ in range(50):
        append(log, 1, LARGE)
        append(log, SEVERAL)
    assert numbers(log) == list(range(log.log_end_offset))
    data, size = active_file(folder).read_bytes(), active_size(log)
    log.close()
    assert active_file(folder).read_bytes() == data[:size]


def test_a_window_that_large_appends_left_behind_is_not_replaced_at_once(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = log_with_window(folder, flusher)
    append(log, 2 * WINDOW // LARGE, LARGE)
    append(log, 1)
    assert not has_window(log, folder)
    append(log, SEVERAL)
    assert has_window(log, folder)
    assert numbers(log) == list(range(log.log_end_offset))
    log.close()


def test_large_appends_get_none(tmp_path: Path, flusher: Flusher) -> None:
    log = open_log(tmp_path / "t-0", flusher)
    append(log, SEVERAL, LARGE)
    assert not has_window(log, tmp_path / "t-0")
    log.close()


def test_a_few_small_appends_between_flushes_get_none(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=50)  # slow enough to get no zeros
    log = open_log(tmp_path / "t-0", flusher)
    for _ in range(SEVERAL):
        append(log, 2)
        wait_for(lambda: log.flushed_offset == log.log_end_offset)
        assert not has_window(log, tmp_path / "t-0")
    log.close()
    flusher.stop()


def test_a_log_that_nobody_flushes_gets_none(tmp_path: Path, flusher: Flusher) -> None:
    """Nobody would see that it does not need it any more."""
    log = open_log(tmp_path / "t-0", flusher, flushed=False)
    append(log, SEVERAL)
    assert not has_window(log, tmp_path / "t-0")
    log.close()


def test_a_preallocated_log_gets_none(tmp_path: Path, flusher: Flusher) -> None:
    log = open_log(tmp_path / "t-0", flusher, preallocate=True, segment_bytes=2 * WINDOW)
    append(log, SEVERAL)
    assert active_file(tmp_path / "t-0").stat().st_size == 2 * WINDOW
    assert numbers(log) == list(range(SEVERAL))
    log.close()


def test_a_window_ends_with_its_segment(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher, segment_bytes=5000)
    append(log, 10 * SEVERAL)
    assert numbers(log) == list(range(10 * SEVERAL))
    sizes = {int(file.stem): file.stat().st_size for file in folder.glob("*.log")}
    *sealed, active = sorted(sizes)
    assert len(sealed) > 2
    assert all(sizes[segment.base_offset] == segment.size <= 5000 for segment in log.segments()[:-1])
    assert active_size(log) < sizes[active] <= 5000
    log.close()


def test_appends_after_a_truncation_go_on_where_it_cut(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = log_with_window(folder, flusher)
    log.truncate(7)
    assert not has_window(log, folder)
    append(log, SEVERAL)
    assert has_window(log, folder)
    assert numbers(log) == list(range(7 + SEVERAL))
    log.close()


def test_after_a_kill_the_zeros_behind_the_end_go(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = log_with_window(folder, flusher)
    size = active_size(log)
    found = open_log(folder, flusher, clean=False)
    assert found.log_end_offset == SEVERAL
    assert active_file(folder).stat().st_size == size
    assert numbers(found) == list(range(SEVERAL))


def test_a_window_is_kept_while_appends_pause(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=300)
    log = log_with_window(tmp_path / "t-0", flusher)
    before = flusher.flushes
    wait_for(lambda: log.flushed_offset == log.log_end_offset and flusher.flushes > before + 2)
    assert has_window(log, tmp_path / "t-0")
    log.close()
    flusher.stop()


def test_a_window_that_is_not_needed_goes(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=25)
    log = open_log(tmp_path / "t-0", flusher)

    def gets_window() -> bool:
        append(log, SEVERAL)
        return has_window(log, tmp_path / "t-0")

    wait_for(gets_window)
    wait_for(lambda: not has_window(log, tmp_path / "t-0"))
    append(log, SEVERAL)
    assert numbers(log) == list(range(log.log_end_offset))
    log.close()
    flusher.stop()


def test_a_file_system_that_allocates_nothing_ahead_has_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("plain") / "disk"
    with mounted(folder, "ext4", "loop", "-O", "^extent,^64bit,^has_journal") as disk:
        flusher = Flusher(str(disk), lazy_ms=HOUR_MS)
        log = open_log(disk / "t-0", flusher)
        append(log, SEVERAL)
        assert not has_window(log, disk / "t-0")
        assert numbers(log) == list(range(SEVERAL))
        log.close()
        flusher.stop()
        del log, flusher


def test_no_more_logs_have_one_than_are_allowed(tmp_path: Path) -> None:
    folders = [tmp_path / f"t-{number}" for number in range(4)]
    flusher = Flusher(str(tmp_path), lazy_ms=HOUR_MS, windows=2)
    logs = [open_log(folder, flusher) for folder in folders]
    for log in logs:
        append(log, SEVERAL)
    assert [has_window(log, folder) for log, folder in zip(logs, folders, strict=True)] == [True, True, False, False]
    logs[0].close()
    for log in logs[1:]:
        append(log, SEVERAL)
    assert [has_window(log, folder) for log, folder in zip(logs[1:], folders[1:], strict=True)] == [True, True, False]
    assert numbers(logs[3]) == list(range(2 * SEVERAL))
    flusher.stop()


def test_windows_take_no_more_than_their_share_of_the_free_disk(tmp_path: Path, flusher: Flusher) -> None:
    with mounted(tmp_path / "small", "tmpfs", "size=3m") as disk:
        folders = [disk / f"t-{number}" for number in range(3)]
        logs = [open_log(folder, flusher) for folder in folders]
        for size, windows in (("3m", 0), ("10m", 2), ("100m", 3)):
            subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
            for log in logs:
                append(log, SEVERAL)
            assert sum(map(has_window, logs, folders)) == windows
        for log in logs:
            log.close()


def test_a_page_that_the_disk_does_not_have_fails_the_disk_and_not_the_process(tmp_path: Path, flusher: Flusher) -> None:
    log = log_with_window(tmp_path / "t-0", flusher)
    os.truncate(active_file(tmp_path / "t-0"), 0)
    with pytest.raises(KafkaError) as caught:
        append(log, 1)
    assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert flusher.failed
