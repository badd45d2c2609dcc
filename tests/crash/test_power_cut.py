"""Power cuts: what was not synced is gone, and still nothing acknowledged is lost and nothing that a consumer saw.

The data lies on an ext4 file system of its own in a loop device.  Its shutdown call drops everything that was not written and
committed, as a cut does; the broker is then killed, the file system mounted again, the broker started again.
``KAFKAX_POWER_CUT_ROUNDS`` sets the rounds; ci/nightly asks for 100.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from kafkax.model import TopicPartition
from kafkax.protocol.records import Record, build_batch, iter_batches
from tests.crash.campaign import Broker, Campaign, produce_numbers, rounds
from tests.system.wire import Wire
from tests.unit.storage.rig import Rig

ROUNDS = rounds("KAFKAX_POWER_CUT_ROUNDS", 3)

MANY = 40
_SHUTDOWN = 0x8004587D
"""ioctl: _IOR('X', 125, uint32)."""
_NO_FLUSH = struct.pack("I", 2)


class Disk:
    """An ext4 file system in a file."""

    def __init__(self, folder: Path) -> None:
        self.image, self.root = folder / "image", folder / "mounted"
        self.root.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(512 << 20)
        _run("mkfs.ext4", "-q", str(self.image))
        self.mount()

    def mount(self) -> None:
        # nothing gets to the disk just because a busy machine is slow: ext4 commits by itself every 5 s
        _run("mount", "-o", "loop,commit=300", str(self.image), str(self.root))

    def unmount(self) -> None:
        _run("umount", str(self.root))

    def cut(self) -> None:
        """Drop what is not on the disk and fail every access from here on."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_FLUSH)
        finally:
            os.close(descriptor)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    try:
        disk = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 in a loop device here: {getattr(error, 'stderr', b'') or error!r}")
    yield disk
    disk.unmount()


def test_a_cut_drops_what_was_not_synced(disk: Disk) -> None:
    synced, unsynced = disk.root / "synced", disk.root / "unsynced"
    with open(synced, "wb") as file:
        file.write(b"kept")
        file.flush()
        os.fsync(file.fileno())
    unsynced.write_bytes(b"lost")
    disk.cut()
    disk.unmount()
    disk.mount()
    assert synced.read_bytes() == b"kept"
    assert not unsynced.exists()


def many_logs(disk: Disk, flusher: Flusher) -> list[Log]:
    """So many logs, each with a flush that is asked for, that a round syncs the whole file system."""
    logs = []
    for number in range(MANY):
        path = disk.root / f"t-{number}"
        path.mkdir(exist_ok=True)
        log = Log.open(str(path), LogSettings(flush_ms=3_600_000), flusher=flusher)
        log.append(build_batch([Record(value=b"%d" % number)]))
        logs.append(log)
    return logs


def values_found(disk: Disk, *folders: Path) -> list[bytes | None]:
    """What logs hold that are opened again after a cut."""
    disk.unmount()
    disk.mount()
    pieces = [Log.open(str(folder), LogSettings(), clean=False).read(0, 1 << 24) for folder in folders]
    return [record.value for piece in pieces if piece for batch in iter_batches(piece.read()) for record in batch.records()]


def test_a_sync_of_the_whole_file_system_keeps_every_log(disk: Disk) -> None:
    flusher = Flusher(str(disk.root))
    logs = many_logs(disk, flusher)
    flusher.stop()
    assert flusher.together == 1
    assert {log.flushed_offset for log in logs} == {1}
    disk.cut()
    # Their files are open until then, and what its barrier is.
    logs.clear()
    del flusher
    values = values_found(disk, *(disk.root / f"t-{number}" for number in range(MANY)))
    assert values == [b"%d" % number for number in range(MANY)]


def test_a_sync_of_the_whole_file_system_that_fails_takes_the_directory_offline(disk: Disk) -> None:
    flusher = Flusher(str(disk.root))
    logs = many_logs(disk, flusher)
    disk.cut()
    flusher.stop()
    assert flusher.together == 1
    assert flusher.failed
    assert {log.flushed_offset for log in logs} == {0}
    logs.clear()


def test_what_replaced_zeros_is_there_after_a_cut(disk: Disk) -> None:
    flusher = Flusher(str(disk.root))
    folder = disk.root / "t-0"
    folder.mkdir()
    log = Log.open(str(folder), LogSettings(flush_messages=1), flusher=flusher)
    deadline = time.monotonic() + 60
    count = 0
    while flusher.replaced < 500:
        log.append(build_batch([Record(value=b"%01000d" % count)]))
        count += 1
        while log.flushed_offset < count:
            assert time.monotonic() < deadline
    disk.cut()
    del log
    flusher.stop()
    del flusher
    values = values_found(disk, folder)
    assert values == [b"%01000d" % number for number in range(count)]


def test_what_was_copied_into_a_window_is_there_after_a_cut(disk: Disk) -> None:
    flusher = Flusher(str(disk.root), lazy_ms=3_600_000)
    folder = disk.root / "t-0"
    folder.mkdir()
    log = Log.open(str(folder), LogSettings(), flusher=flusher)
    for count in range(2000):
        log.append(build_batch([Record(value=b"%0100d" % count)]))
        if count == 1000:
            log.flush()
            assert (folder / f"{0:020}.log").stat().st_size > log.size, "it has a window"
    disk.cut()
    del log
    flusher.stop()
    del flusher
    values = values_found(disk, folder)
    assert values == [b"%0100d" % number for number in range(len(values))]
    assert len(values) >= 1001


@pytest.mark.parametrize("count", [1, 3, MANY])
def test_created_logs_are_there_after_a_cut_though_nothing_was_written_to_them(disk: Disk, count: int) -> None:
    topic_id = uuid.uuid4()
    partitions = [TopicPartition("t", number) for number in range(count)]
    rig = Rig(disk.root)
    manager = rig.open()
    with manager.creating() if count > 1 else contextlib.nullcontext():
        for partition in partitions:
            manager.create(partition, topic_id)
    disk.cut()
    rig.crash()
    del manager, rig.manager
    gc.collect()  # the logs' files are open until then
    disk.unmount()
    disk.mount()
    rig.manager = rig._manager()
    assert {hosted.partition: hosted.topic_id for hosted in rig.open().logs()} == dict.fromkeys(partitions, topic_id)
    rig.manager.shutdown()
    del rig.manager
    gc.collect()


@pytest.mark.timeout(120 + 30 * ROUNDS)
@pytest.mark.parametrize("segment_bytes", [50_000, 2_000_000], ids=["segments-roll", "zeros-ahead"])
def test_flushed_data_survives_a_cut(disk: Disk, segment_bytes: int) -> None:
    broker = Broker(disk.root / "broker" / "data")
    campaign = Campaign(broker, segment_bytes=str(segment_bytes), kafkax_durability="flushed")

    def fault() -> None:
        # A cut machine runs nothing more.  A process that ran on would see fdatasync succeed for what the cut then drops:
        # the kernel's shutdown call is no atomic event for those who are in the middle of a sync.
        broker.freeze()
        disk.cut()
        broker.kill()
        disk.unmount()
        disk.mount()

    try:
        campaign.run(ROUNDS, fault)
    finally:
        broker.kill()
    assert all(writer.acknowledged > 0 for writer in campaign.writers)


def test_of_replicated_data_a_cut_leaves_a_prefix(disk: Disk) -> None:
    """Of what was not written back nothing is promised, but that no batch is torn and none stands behind a missing one."""
    broker = Broker(disk.root / "broker" / "data")
    campaign = Campaign(broker, 1, segment_bytes="50000", kafkax_durability="replicated")
    try:
        broker.start()
        campaign.create_topic()
        with Wire(broker.address, timeout=60) as wire:
            produce_numbers(wire, 0, 300, acks=-1)
            _run("sync", "--file-system", str(disk.root))
            produce_numbers(wire, 300, 3000, acks=-1)
            broker.freeze()
            disk.cut()
            broker.kill()
        disk.unmount()
        disk.mount()
        broker.start()
        found = campaign.numbers(0, 0, 300)
        assert found == list(range(len(found)))
        assert 300 <= len(found) <= 3000
        assert len(found) % 10 == 0
    finally:
        broker.kill()
