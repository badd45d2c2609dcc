"""What a start makes of damaged files: it never crashes and never serves a wrong record."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import settings

from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.records import RecordBatch, iter_batches
from kafkax.storage.partition_log import PartitionLog
from tests.unit.storage.rig import NOW, Rig, batch

T0, OTHER = TopicPartition("t", 0), TopicPartition("other", 0)
SMALL = {"segment.bytes": "400", "index.interval.bytes": "1"}


class Sample:
    """A log directory with two partitions, stopped, that can be put back as it was."""

    def __init__(self, root: Path) -> None:
        self.rig = Rig(root)
        self.rig.topics = {"t": SMALL, "other": SMALL}
        self.rig.open()
        hosted = self.rig.create("t", **{name.replace(".", "_"): value for name, value in SMALL.items()})
        for number in range(12):
            data = batch(b"k%d" % number, producer_id=5, producer_epoch=0, base_sequence=number, timestamp=NOW + number)
            self.rig.append(hosted, [data])
        other = self.rig.create("other")
        self.rig.append(other, [batch(b"a")])
        self.rig.manager.shutdown()
        self.root = self.rig.dirs[0]
        self.folder = self.root / "t-0"
        self._files = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        self.batches = self.served(self.open(clean=True))
        self.close()
        self.restore()

    def restore(self) -> None:
        """Every file as it was."""
        for path in [path for path in self.root.rglob("*") if path.is_file() and path not in self._files]:
            path.unlink()
        for path, content in self._files.items():
            if path.is_dir():
                path.rmdir()
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def open(self, *, clean: bool) -> PartitionLog | None:
        """Start over the files as they are; the log of ``t-0`` if it opens. The other partition always has to."""
        marker = self.root / ".kafka_cleanshutdown"
        marker.touch() if clean else marker.unlink(missing_ok=True)
        self.rig.manager = self.rig._manager()
        self.rig.open()
        other = self.rig.manager.get(OTHER)
        assert other is not None, self.rig.manager.failures
        assert other.log.log_end_offset == 1
        return self.rig.manager.get(T0)

    def close(self) -> None:
        """Let go without writing anything."""
        for hosted in self.rig.manager.logs():
            hosted.log.close()
        self.rig.crash()

    @staticmethod
    def served(hosted: PartitionLog | None) -> list[bytes]:
        """The batches that reading from the beginning gives; what is not intact must be refused, not given."""
        found: list[bytes] = []
        if hosted is None:
            return found
        offset = hosted.log.log_start_offset
        while offset < hosted.log.log_end_offset:
            piece = hosted.log.read(offset, 1)
            if piece is None:
                break
            for each in iter_batches(piece.read()):
                assert isinstance(each, RecordBatch)
                found.append(bytes(each.data))
                offset = each.next_offset
        return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("damage"))


@pytest.fixture(autouse=True)
def whole(sample: Sample) -> Iterator[None]:
    yield
    sample.close()
    sample.restore()


THOROUGH = settings.default.max_examples > 100
"""Whether every byte is damaged, as ci/nightly does, and not only a choice of them."""


def positions(size: int, every: int) -> list[int]:
    """Bytes to damage: every one of a small file, a seeded choice of a larger one."""
    return list(range(size)) if size <= every or THOROUGH else sorted(random.Random(size).sample(range(size), every))


BESIDE_THE_LOG = [
    "t-0/00000000000000000000.index",
    "t-0/00000000000000000000.timeindex",
    "t-0/leader-epoch-checkpoint",
    "t-0/partition.metadata",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
]


@pytest.mark.parametrize("name", BESIDE_THE_LOG)
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.timeout(1200 if THOROUGH else 120)
def test_no_flipped_bit_beside_the_log_changes_what_is_served(sample: Sample, name: str, clean: bool) -> None:
    path = sample.root / name
    content = path.read_bytes()
    for position in positions(len(content), 12):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        hosted = sample.open(clean=clean)
        served = sample.served(hosted)
        assert served in (sample.batches, []) or (name.startswith("log-start") and served == sample.batches[-len(served) :]), (
            position
        )
        if hosted is not None:
            assert hosted.log.log_end_offset == 12 or name.endswith("checkpoint")
            assert hosted.log.offset_for_timestamp(NOW + 5) is not None
        sample.close()
        sample.restore()


@pytest.mark.timeout(1200 if THOROUGH else 120)
@pytest.mark.parametrize("name", BESIDE_THE_LOG)
def test_a_file_beside_the_log_that_is_cut_anywhere_changes_nothing_that_is_served(sample: Sample, name: str) -> None:
    path = sample.root / name
    content = path.read_bytes()
    for length in positions(len(content), 6):
        path.write_bytes(content[:length])
        hosted = sample.open(clean=False)
        served = sample.served(hosted)
        # cut within a number, a checkpoint may name a smaller one: never a record that was not there
        assert served in (sample.batches, []) or (name.startswith("log-start") and served == sample.batches[-len(served) :]), (
            length
        )
        sample.close()
        sample.restore()


@pytest.mark.parametrize("name", BESIDE_THE_LOG[:3])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"\xff" * 33], ids=["empty", "zeroes", "ones"])
def test_files_beside_the_log_are_never_trusted(sample: Sample, name: str, content: bytes) -> None:
    (sample.root / name).write_bytes(content)
    hosted = sample.open(clean=False)
    assert sample.served(hosted) == sample.batches
    assert hosted is not None
    found = hosted.log.offset_for_timestamp(NOW + 5)
    assert found is not None
    assert found.offset == 5
    sample.close()


def test_missing_indexes_and_snapshots_are_made_again(sample: Sample) -> None:
    for path in [*sample.folder.glob("*index"), *sample.folder.glob("*.snapshot"), sample.folder / "leader-epoch-checkpoint"]:
        path.unlink()
    hosted = sample.open(clean=False)
    assert sample.served(hosted) == sample.batches
    assert hosted is not None
    assert [(entry.producer_id, entry.last_sequence, entry.last_offset) for entry in hosted.log.producers()] == [(5, 11, 11)]
    sample.close()


def test_every_flipped_bit_of_a_snapshot_is_made_up_for_by_an_older_one_or_the_log(sample: Sample) -> None:
    newest = max(sample.folder.glob("*.snapshot"))
    content = newest.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        newest.write_bytes(damaged)
        hosted = sample.open(clean=False)
        assert hosted is not None
        assert [(entry.producer_id, entry.last_sequence) for entry in hosted.log.producers()] == [(5, 11)], position
        sample.close()
        sample.restore()


def test_a_flipped_bit_in_the_log_ends_it_before_its_batch(sample: Sample) -> None:
    (sample.root / "recovery-point-offset-checkpoint").write_bytes(b"0\n0\n")
    sample._files[sample.root / "recovery-point-offset-checkpoint"] = b"0\n0\n"
    path = sample.folder / "00000000000000000000.log"
    content = path.read_bytes()
    size = len(sample.batches[0])
    for position in positions(len(content), 40):
        if 12 <= position % size < 16:
            continue  # the leader epoch lies outside what the checksum covers; so does the base offset, but that has to fit
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        served = sample.served(sample.open(clean=False))
        assert served == sample.batches[: position // size], position
        sample.close()
        sample.restore()


def test_a_log_cut_anywhere_keeps_its_whole_batches(sample: Sample) -> None:
    last = max(path for path in sample.folder.glob("*.log") if path.stat().st_size)
    content = last.read_bytes()
    ends = list(accumulate(len(data) for data in sample.batches))
    before = ends[-1] - len(content)
    for length in range(0, len(content), 1 if THOROUGH else 11):
        last.write_bytes(content[:length])
        hosted = sample.open(clean=False)
        whole = sum(end <= before + length for end in ends)
        assert sample.served(hosted) == sample.batches[:whole], length
        assert hosted is not None
        hosted.log.append(batch(b"next"))
        assert hosted.log.log_end_offset == whole + 1
        sample.close()
        sample.restore()


def test_zeroes_behind_the_log_as_a_file_system_may_leave_them(sample: Sample) -> None:
    last = max(sample.folder.glob("*.log"))
    with open(last, "ab") as file:
        file.write(bytes(5000))
    hosted = sample.open(clean=False)
    assert sample.served(hosted) == sample.batches
    sample.close()


def test_files_of_strange_names_are_left_alone(sample: Sample) -> None:
    strange = ["x.log", "-1.log", "00000000000000000000.log.bak", "9" * 20 + ".index", "notes", "00000000000000000abc.log"]
    for name in strange:
        (sample.folder / name).write_bytes(b"x")
    hosted = sample.open(clean=False)
    assert sample.served(hosted) == sample.batches
    assert {"notes", "x.log", "00000000000000000000.log.bak"} <= set(os.listdir(sample.folder))
    sample.close()


def test_a_folder_in_a_files_place(sample: Sample) -> None:
    path = sample.folder / "00000000000000000000.index"
    path.unlink()
    path.mkdir()
    hosted = sample.open(clean=False)
    assert hosted is None or sample.served(hosted) == sample.batches


def _fill_up(hosted: PartitionLog) -> None:
    for _ in range(200):
        hosted.log.append(batch(b"k", value=os.urandom(20_000)))


def test_a_full_disk_takes_its_directory_offline_and_loses_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    small = tmp_path / "d0"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr!r}")
    try:
        rig = Rig(tmp_path, 2)
        rig.topics["t"] = {"segment.index.bytes": "1000"}
        rig.open()
        first, second = rig.manager.create(TopicPartition("t", 0), None), rig.manager.create(TopicPartition("t", 1), None)
        assert (first.directory.path, second.directory.path) == (rig.dirs[0], rig.dirs[1])
        with pytest.raises(KafkaError) as error:
            _fill_up(first)
        assert error.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        with pytest.raises(KafkaError):
            first.log.append(batch(b"k"))
        second.log.append(batch(b"k"))
        rig.manager.shutdown()
        assert not (rig.dirs[0] / ".kafka_cleanshutdown").exists()
        with open(small / "room", "wb"):
            subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        rig.manager = rig._manager()
        found = rig.open().get(TopicPartition("t", 0))
        assert found is not None
        assert found.log.log_end_offset == first.log.log_end_offset > 10
        rig.manager.shutdown()
    finally:
        # What the failed directory's logs still hold open goes with them.
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_a_directory_that_nobody_can_write_is_offline_and_the_other_goes_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 2)
    rig.manager.directories[0] = type(rig.manager.directories[0])("/proc/self/kafkax")
    rig.open()
    assert [directory.online for directory in rig.manager.directories] == [False, True]
    assert rig.create("t").directory is rig.manager.directories[1]
