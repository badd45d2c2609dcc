"""A disk's write cache emptied, without a sync of any file: where that is known to be enough, and by which folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kafkax._core.barrier import BARE, JOURNALED, UNKNOWN, highest, kind_of
from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from tests.unit._core.batches import NOW, Rec, batch
from tests.unit._core.mounts import mounted


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own."""
    with mounted(tmp_path / "mounted", *request.param) as folder:
        yield folder


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (("ext4", "loop"), JOURNALED),
        (("ext4", "loop,data=writeback"), JOURNALED),
        (("ext4", "loop", "-O", "^has_journal"), BARE),
        (("ext4", "loop,data=journal"), UNKNOWN),
        (("tmpfs", "size=1m"), UNKNOWN),
    ],
    indirect=["disk"],
)
def test_what_a_file_system_does_is_known(disk: Path, expected: str) -> None:
    assert kind_of(disk.stat().st_dev) == expected


def flushes_of_the_disk(folder: Path) -> int:
    """How often the device under the folder emptied its cache."""
    device = folder.stat().st_dev
    return int(Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()[15])


@pytest.mark.parametrize("disk", [("ext4", "loop"), ("ext4", "loop", "-O", "^has_journal")], indirect=True)
def test_the_disk_empties_its_cache_with_each_flush_that_does_without_a_sync(disk: Path) -> None:
    flusher = Flusher(str(disk))
    folder = disk / "t-0"
    folder.mkdir()
    log = Log.open(str(folder), LogSettings(flush_messages=1, timestamp_after_max_ms=(1 << 63) - 1), flusher=flusher)
    deadline = time.monotonic() + 30
    while flusher.replaced < 50:
        before = flusher.replaced, flushes_of_the_disk(disk)
        end = log.append(batch([Rec(value=b"x", timestamp=NOW)])).last_offset + 1
        while log.flushed_offset < end:
            assert time.monotonic() < deadline
        assert flushes_of_the_disk(disk) - before[1] >= flusher.replaced - before[0]
    log.close()
    del log
    flusher.stop()


@pytest.mark.parametrize("disk", [("tmpfs", "size=1m")], indirect=True)
def test_the_highest_folder_is_that_of_the_file_system(disk: Path) -> None:
    deep = disk / "a" / "b"
    deep.mkdir(parents=True)
    assert highest(str(deep)) == str(disk)
    assert highest(str(disk)) == str(disk)


def test_the_root_has_none_above_it() -> None:
    assert highest("/") == "/"
