"""Records are cached by the operating system only: what was just written is read without the disk, before and after a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from kafkax.storage.partition_log import PartitionLog
from tests.unit.storage.rig import Rig, batch

SIZE = 1 << 30 if settings.default.max_examples > 100 else 16 << 20
"""The last GB in ci/nightly."""


def bytes_from_disk() -> int:
    """Bytes that this process made the disk read so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def read_everything(hosted: PartitionLog) -> tuple[int, int]:
    """Bytes read from the log, and how many of them came from the disk."""
    before, offset, size = bytes_from_disk(), 0, 0
    while offset < hosted.log.log_end_offset:
        piece = hosted.log.read(offset, 16 * len(DATA))
        assert piece is not None
        size += len(piece.read())
        offset += piece.length // len(DATA)
    return size, bytes_from_disk() - before


DATA = batch(b"key", value=os.urandom(64 << 10))


def test_a_consumer_of_fresh_data_reads_no_disk(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.open()
    hosted = rig.create("t")
    rig.append(hosted, [DATA] * (SIZE // len(DATA)))
    assert read_everything(hosted) == (hosted.log.size, 0)
    rig.manager.shutdown()
    rig.manager = rig._manager()
    (found,) = rig.open().logs()
    assert read_everything(found) == (found.log.size, 0)

    for path in Path(found.log.directory).glob("*.log"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    size, cold = read_everything(found)
    if cold == 0:
        pytest.skip("the file system here counts no reads, so that the test shows nothing")
    assert cold >= size * 9 // 10
