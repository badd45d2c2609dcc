"""Room ahead of a log that is written fast: zeros for hasty small syncs, blocks for megabytes; none of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kafkax._core.barrier import UNKNOWN, kind_of
from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings, RecoveryProgress
from tests.unit._core.batches import NOW, Rec, batch
from tests.unit._core.mounts import mounted

ENDLESS = (1 << 63) - 1
MOST_ZEROS = 4 * 65536
AT_ONCE = 9_000_000
"""More than is left to be written back later."""


@pytest.fixture
def flusher(tmp_path: Path) -> Iterator[Flusher]:
    flusher = Flusher(str(tmp_path), lazy_ms=50, lazy_bytes=8 << 20)
    yield flusher
    flusher.stop()


def open_log(folder: Path, flusher: Flusher | None = None, *, clean: bool = True, **settings: object) -> Log:
    folder.mkdir(exist_ok=True)
    settings.setdefault("flush_messages", 1)  # each append is flushed at once, as if somebody waited for it
    return Log.open(str(folder), LogSettings(timestamp_after_max_ms=ENDLESS, **settings), flusher=flusher, clean=clean)  # type: ignore[arg-type]


def active_file(folder: Path) -> Path:
    return max(folder.glob("*.log"))


def everything(log: Log) -> bytes:
    piece = log.read(0, 1 << 24)
    assert piece is not None
    return piece.read()


def active_size(log: Log) -> int:
    return log.segments()[-1].size


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def append_hastily(log: Log, folder: Path) -> None:
    """One append and its sync after the other until the file has room ahead."""
    deadline = time.monotonic() + 30
    while active_file(folder).stat().st_size <= active_size(log):
        assert time.monotonic() < deadline
        end = log.append(batch([Rec(value=b"x" * 50, timestamp=NOW)])).last_offset + 1
        while log.flushed_offset < end:
            assert time.monotonic() < deadline


def append_and_flush(log: Log, size: int = 50) -> None:
    end = log.append(batch([Rec(value=b"x" * size, timestamp=NOW)])).last_offset + 1
    wait_for(lambda: log.flushed_offset >= end)


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on a file system in which data that replaces data needs no sync of its file."""
    folder = tmp_path_factory.mktemp("disk")
    if kind_of(folder.stat().st_dev) == UNKNOWN:
        pytest.skip(f"{folder} is not on ext4")
    return folder


@pytest.fixture
def disk_flusher(disk: Path) -> Iterator[Flusher]:
    flusher = Flusher(str(disk))
    yield flusher
    flusher.stop()


def replacing_log(folder: Path, flusher: Flusher) -> Log:
    """A log with zeros that a sync has brought to the disk, and with a flush or more that only replaced some of them."""
    log = open_log(folder, flusher)
    before = flusher.replaced
    append_hastily(log, folder)
    append_and_flush(log)
    assert flusher.replaced > before
    return log


def append_megabytes(log: Log) -> None:
    log.append(batch([Rec(value=b"x" * AT_ONCE, timestamp=NOW)]))


def blocks_behind_the_end(file: Path) -> int:
    status = file.stat()
    return status.st_blocks * 512 - status.st_size


def test_hasty_syncs_bring_zeros_that_go_when_the_haste_is_over(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    size, data = active_size(log), active_file(folder).read_bytes()
    assert size < len(data) <= size + MOST_ZEROS
    assert not any(data[size:])
    assert everything(log) == data[:size]
    wait_for(lambda: active_file(folder).stat().st_size == active_size(log))
    log.close()


def test_appends_fill_the_zeros_and_reads_never_show_any(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    for turn in range(3):
        append_hastily(log, folder)
        wait_for(lambda: active_file(folder).stat().st_size == active_size(log))
        log.append(batch([Rec(value=b"%d" % turn, timestamp=NOW)]))
    written = everything(log)
    log.close()
    assert active_file(folder).read_bytes() == written


def test_a_rolled_segment_ends_with_its_last_batch(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    size, file = active_size(log), active_file(folder)
    log.roll()
    assert file.stat().st_size == size
    log.close()


def test_a_closed_log_ends_with_its_last_batch(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    size = active_size(log)
    log.close()
    assert active_file(folder).stat().st_size == size


def test_zeros_never_reach_beyond_the_size_of_a_segment(tmp_path: Path, flusher: Flusher) -> None:
    folder, largest = tmp_path / "t-0", 100_000
    log = open_log(folder, flusher, segment_bytes=largest)
    append_hastily(log, folder)
    assert active_file(folder).stat().st_size <= largest
    log.close()


def test_logs_that_share_a_sync_bring_no_zeros(tmp_path: Path) -> None:
    later: dict[str, int] = {"flush_ms": 3_600_000, "timestamp_after_max_ms": ENDLESS}
    flusher = Flusher(str(tmp_path))
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    log.update_settings(LogSettings(**later))  # type: ignore[arg-type]
    wait_for(lambda: log.flushed_offset == log.log_end_offset)
    logs = [log]
    for number in range(1, 40):
        (tmp_path / f"t-{number}").mkdir()
        logs.append(Log.open(str(tmp_path / f"t-{number}"), LogSettings(**later), flusher=flusher))  # type: ignore[arg-type]
    for each in logs:
        each.append(batch([Rec(value=b"x", timestamp=NOW)]))
    flusher.stop()
    assert flusher.together == 1
    log.append(batch([Rec(value=b"x" * (MOST_ZEROS - 1000), timestamp=NOW)]))
    assert active_file(folder).stat().st_size == active_size(log)


def test_a_truncated_log_begins_without_room(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    log.truncate(1)
    assert log.log_end_offset == 1
    assert active_file(folder).stat().st_size == active_size(log)
    log.append(batch([Rec(value=b"y", timestamp=NOW)]))
    assert log.log_end_offset == 2
    log.close()


def test_after_a_crash_zeros_are_cut_and_are_no_torn_batch(tmp_path: Path, flusher: Flusher) -> None:
    folder, crashed = tmp_path / "t-0", tmp_path / "t-1"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    shutil.copytree(folder, crashed)
    expected = (log.log_end_offset, active_size(log))
    log.close()
    progress = RecoveryProgress()
    again = Log.open(str(crashed), LogSettings(), clean=False, progress=progress)
    assert (again.log_end_offset, active_size(again)) == expected
    assert active_file(crashed).stat().st_size == expected[1]
    assert progress.bytes_cut == 0
    again.close()


def test_what_replaces_zeros_is_flushed_without_a_sync_of_the_file(disk: Path, disk_flusher: Flusher) -> None:
    log = replacing_log(disk / "t-0", disk_flusher)
    assert disk_flusher.replaced < disk_flusher.flushes
    log.close()


@pytest.mark.parametrize(
    ("change", "size"),
    [(lambda log: log.truncate(1), 50), (lambda log: log.roll(), 50), (lambda _: None, MOST_ZEROS - 1000)],
    ids=["a cut file", "a new segment", "more than the zeros"],
)
def test_what_does_more_than_replace_zeros_is_synced(
    disk: Path, disk_flusher: Flusher, change: Callable[[Log], object], size: int
) -> None:
    log = replacing_log(disk / "t-0", disk_flusher)
    change(log)
    before = disk_flusher.replaced
    append_and_flush(log, size)
    assert disk_flusher.replaced == before
    log.close()


@pytest.mark.parametrize(("size", "parts"), [(50, 1), (600, 2), (9_000, 4), (200_000, 4)])
def test_zeros_last_for_some_hundred_small_syncs(tmp_path: Path, flusher: Flusher, size: int, parts: int) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher, max_message_bytes=2 * MOST_ZEROS)

    def room() -> int:
        append_and_flush(log, size)
        return active_file(folder).stat().st_size - active_size(log)

    wait_for(lambda: (parts - 1) * 65536 < room() <= (parts + 1) * 65536)
    log.close()


def two_segments(folder: Path) -> list[Path]:
    """The files of a log with two segments of three batches each."""
    log = open_log(folder)
    for number in range(6):
        log.append(batch([Rec(value=b"%d" % number, timestamp=NOW)]))
        if number == 2:
            log.roll()
    log.close()
    return sorted(folder.glob("*.log"))


@pytest.mark.parametrize("recovery_point", [0, 3, 5])
@pytest.mark.parametrize("room", [8, 60, 100_000])
def test_room_that_a_power_cut_gives_a_full_segment_again_costs_nothing(tmp_path: Path, recovery_point: int, room: int) -> None:
    folder = tmp_path / "t-0"
    full, newest = two_segments(folder)
    before = full.read_bytes(), newest.read_bytes()
    full.write_bytes(before[0] + bytes(room))
    progress = RecoveryProgress()
    again = Log.open(str(folder), LogSettings(), clean=False, recovery_point=recovery_point, progress=progress)
    assert again.log_end_offset == 6
    assert (full.read_bytes(), newest.read_bytes()) == before
    assert progress.bytes_cut == 0
    again.close()


def test_zeros_in_the_place_of_batches_end_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "t-0"
    full, newest = two_segments(folder)
    data = full.read_bytes()
    full.write_bytes(data[: 2 * len(data) // 3] + bytes(len(data) // 3))
    again = open_log(folder, clean=False)
    assert again.log_end_offset == 2
    assert not newest.exists()
    again.close()


def test_a_log_that_grows_fast_has_blocks_ahead_until_it_stops(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher, flush_messages=ENDLESS, max_message_bytes=2 * AT_ONCE)

    def has_blocks() -> bool:
        append_megabytes(log)
        return blocks_behind_the_end(active_file(folder)) > 1 << 20

    wait_for(has_blocks)
    assert active_file(folder).stat().st_size == active_size(log)
    wait_for(lambda: blocks_behind_the_end(active_file(folder)) < 1 << 20)
    log.close()


def test_blocks_of_a_run_before_go_after_a_crash(tmp_path: Path) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder)
    log.append(batch([Rec(value=b"x", timestamp=NOW)]))
    log.close()
    subprocess.run(["fallocate", "--keep-size", "--length", "4MiB", active_file(folder)], check=True)
    assert blocks_behind_the_end(active_file(folder)) > 1 << 20
    open_log(folder, clean=False).close()
    assert blocks_behind_the_end(active_file(folder)) < 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    with mounted(tmp_path / "small", "tmpfs", "size=64m") as folder:
        yield folder


def test_blocks_ahead_take_no_more_than_their_share_of_the_free_disk(small_disk: Path, flusher: Flusher) -> None:
    folder, share = small_disk / "t-0", (64 << 20) // 64
    log = open_log(folder, flusher, flush_messages=ENDLESS, max_message_bytes=2 * AT_ONCE)
    most = 0

    def has_blocks() -> bool:
        nonlocal most
        log.truncate(0)
        append_megabytes(log)
        most = max(most, blocks_behind_the_end(active_file(folder)))
        return most > share // 4

    wait_for(has_blocks)
    assert most <= share
    log.close()


def test_a_disk_that_is_nearly_full_is_spared_zeros(small_disk: Path, flusher: Flusher) -> None:
    folder, left = small_disk / "t-0", 100_000
    log = open_log(folder, flusher, segment_index_bytes=4096)
    free = os.statvfs(small_disk)
    (small_disk / "filling").write_bytes(bytes(free.f_bavail * free.f_bsize - left))
    for _ in range(200):
        end = log.append(batch([Rec(value=b"x" * 50, timestamp=NOW)])).last_offset + 1
        wait_for(lambda end=end: log.flushed_offset == end)  # type: ignore[misc]
        assert active_file(folder).stat().st_size == active_size(log)
    log.close()


def test_what_preallocate_asks_for_stays(tmp_path: Path, flusher: Flusher) -> None:
    folder, size = tmp_path / "t-0", 1 << 22
    log = open_log(folder, flusher, preallocate=True, segment_bytes=size)
    for _ in range(20):
        log.append(batch([Rec(value=b"x", timestamp=NOW)]))
        wait_for(lambda: log.flushed_offset == log.log_end_offset)
    settled = time.monotonic() + 0.3  # several times what idle room is kept for
    wait_for(lambda: time.monotonic() > settled)
    assert active_file(folder).stat().st_size == size
    log.close()
    assert active_file(folder).stat().st_size < size


def test_on_a_failed_disk_nobody_looks_after_room_any_more(tmp_path: Path, flusher: Flusher) -> None:
    folder = tmp_path / "t-0"
    log = open_log(folder, flusher)
    append_hastily(log, folder)
    flusher.fail(5)

    def at_rest() -> bool:
        before = flusher.rounds
        time.sleep(0.2)
        return flusher.rounds == before

    wait_for(at_rest)
