"""What a log costs as it grows: appends and look-ups over the number of segments, and over bytes up to 100 GB.

The bytes are sparse: a segment holds one batch whose records are a hole in the file, and one real batch behind it.
"""

from __future__ import annotations

import random
import struct
import tempfile
from pathlib import Path

from kafkax._core.log import Log, LogSettings

from .stage import batch_of

MB, GB = 1_000_000, 1_000_000_000
SEGMENT = 1_000 * MB
APPENDS = LOOKUPS = 100
HOLE_OFFSETS = 1_000_000
TAIL_RECORDS = 100
SEGMENT_RECORDS = 10


def write_sparse(folder: Path, size: int) -> int:
    """Segments of at most a gigabyte, ``size`` bytes in all, hardly any of them on the disk; the number of segments."""
    real = batch_of(TAIL_RECORDS)
    count = max(1, size // SEGMENT)
    for number in range(count):
        base = number * (HOLE_OFFSETS + TAIL_RECORDS)
        length = min(size, SEGMENT) - len(real)
        header = bytearray(batch_of(1)[:61])
        struct.pack_into(">qi", header, 0, base, length - 12)
        struct.pack_into(">i", header, 23, HOLE_OFFSETS - 1)
        with open(folder / f"{base:020d}.log", "wb") as file:
            file.write(header)
            file.seek(length)
            file.write(struct.pack(">q", base + HOLE_OFFSETS) + real[8:])
    return count


def write_segments(folder: Path, count: int) -> None:
    """So many segments of one batch each, as files; rolling a log as often would take the disk minutes when it is busy."""
    batch = bytearray(batch_of(SEGMENT_RECORDS))
    for number in range(count):
        struct.pack_into(">q", batch, 0, number * SEGMENT_RECORDS)
        (folder / f"{number * SEGMENT_RECORDS:020d}.log").write_bytes(batch)


class GrowingSegments:
    """Appends to the tail of a log of many small segments, and reads anywhere in it."""

    params = (1, 10, 100, 1000)
    param_names = ("segments",)
    number = 1

    def setup(self, segments: int) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="kafkax-bench-")
        write_segments(Path(self.directory.name), segments)
        self.log = Log.open(self.directory.name, LogSettings())
        chosen = random.Random(1)
        self.offsets = [chosen.randrange(segments * SEGMENT_RECORDS) for _ in range(LOOKUPS)]
        self.batch = batch_of(10)
        self.log.append(self.batch)
        self.time_look_up(segments)

    def teardown(self, segments: int) -> None:
        self.log.close()
        self.directory.cleanup()

    def time_append(self, segments: int) -> None:
        for _ in range(APPENDS):
            self.log.append(self.batch)

    def time_look_up(self, segments: int) -> None:
        for offset in self.offsets:
            assert self.log.read(offset, 1 << 16) is not None

    def peakmem_open(self, segments: int) -> None:
        self.time_look_up(segments)


class GrowingBytes:
    """The same over the bytes that a log holds."""

    params = (1 * MB, 100 * MB, 1 * GB, 10 * GB, 100 * GB)
    param_names = ("bytes",)
    number = 1

    def setup(self, size: int) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="kafkax-bench-")
        segments = write_sparse(Path(self.directory.name), size)
        self.log = Log.open(self.directory.name, LogSettings(segment_bytes=(1 << 31) - 1))
        chosen = random.Random(1)
        step = HOLE_OFFSETS + TAIL_RECORDS
        self.offsets = [chosen.randrange(segments) * step + HOLE_OFFSETS + chosen.randrange(TAIL_RECORDS) for _ in range(LOOKUPS)]
        self.batch = batch_of(10)
        self.log.append(self.batch)
        self.time_look_up(size)

    def teardown(self, size: int) -> None:
        self.log.close()
        self.directory.cleanup()

    def time_append(self, size: int) -> None:
        for _ in range(APPENDS):
            self.log.append(self.batch)

    def time_look_up(self, size: int) -> None:
        for offset in self.offsets:
            assert self.log.read(offset, 1 << 16) is not None
