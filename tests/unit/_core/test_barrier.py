"""A disk's write cache emptied, without a sync of any file: where that is known to be enough, and by which folder."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kafkax._core.barrier import BARE, JOURNALED, UNKNOWN, highest, kind_of
from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from tests.unit._core.batches import NOW, Rec, batch


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    kind, options, *features = request.param
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    command = ["mount", "-t", kind, "-o", options, str(image), str(folder)]
    if kind == "ext4":
        image.write_bytes(b"")
        os.truncate(image, 64 << 20)
        made = subprocess.run(["mkfs.ext4", "-q", *features, str(image)], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"no ext4 here: {made.stderr!r}")
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no {kind} with {options} here: {done.stderr!r}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("mounted", "expected"),
    [
        (("ext4", "loop"), JOURNALED),
        (("ext4", "loop,data=writeback"), JOURNALED),
        (("ext4", "loop", "-O", "^has_journal"), BARE),
        (("ext4", "loop,data=journal"), UNKNOWN),
        (("tmpfs", "size=1m"), UNKNOWN),
    ],
    indirect=["mounted"],
)
def test_what_a_file_system_does_is_known(mounted: Path, expected: str) -> None:
    assert kind_of(mounted.stat().st_dev) == expected


def flushes_of_the_disk(folder: Path) -> int:
    """How often the device under the folder emptied its cache."""
    device = folder.stat().st_dev
    return int(Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()[15])


@pytest.mark.parametrize("mounted", [("ext4", "loop"), ("ext4", "loop", "-O", "^has_journal")], indirect=True)
def test_the_disk_empties_its_cache_with_each_flush_that_does_without_a_sync(mounted: Path) -> None:
    flusher = Flusher(str(mounted))
    folder = mounted / "t-0"
    folder.mkdir()
    log = Log.open(str(folder), LogSettings(flush_messages=1, timestamp_after_max_ms=(1 << 63) - 1), flusher=flusher)
    deadline = time.monotonic() + 30
    while flusher.replaced < 50:
        before = flusher.replaced, flushes_of_the_disk(mounted)
        end = log.append(batch([Rec(value=b"x", timestamp=NOW)])).last_offset + 1
        while log.flushed_offset < end:
            assert time.monotonic() < deadline
        assert flushes_of_the_disk(mounted) - before[1] >= flusher.replaced - before[0]
    log.close()
    del log
    flusher.stop()


@pytest.mark.parametrize("mounted", [("tmpfs", "size=1m")], indirect=True)
def test_the_highest_folder_is_that_of_the_file_system(mounted: Path) -> None:
    deep = mounted / "a" / "b"
    deep.mkdir(parents=True)
    assert highest(str(deep)) == str(mounted)
    assert highest(str(mounted)) == str(mounted)


def test_the_root_has_none_above_it() -> None:
    assert highest("/") == "/"
