from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kafkax.model import TopicPartition
from kafkax.protocol.control import end_transaction_batch
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.storage.checkpoints import CLEANER_OFFSET, OffsetCheckpoint
from kafkax.storage.cleaner import Cleaner
from kafkax.storage.cleaner_policy import CompactionPolicy
from kafkax.storage.cleaner_round import CleaningRound
from kafkax.storage.partition_log import PartitionLog
from kafkax.storage.reader import PartitionReader
from kafkax.storage.verify import verify
from tests.unit.storage.rig import NOW, Rig, batch

T0 = TopicPartition("t", 0)
COMPACT = {
    "cleanup_policy": "compact",
    "segment_bytes": "400",
    "min_cleanable_dirty_ratio": "0.1",
    "file_delete_delay_ms": "1000",
}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path, **{"log.cleaner.dedupe.buffer.size": "1048576"})
    rig.open()
    return rig


def cleaner(rig: Rig) -> Cleaner:
    return Cleaner(rig.manager, rig.broker, rig.clock)


def records(hosted: PartitionLog) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(record.offset, record.key, record.value) for record in PartitionReader(hosted.log.directory).records()]


def fill(rig: Rig, hosted: PartitionLog, count: int = 60, keys: int = 5, start: int = 0) -> None:
    rig.append(hosted, [batch(b"key-%d" % (n % keys), value=b"value-%d" % n) for n in range(start, start + count)])


def read_all(hosted: PartitionLog, offset: int = 0) -> list[int]:
    """Offsets that the log itself serves, fetch after fetch."""
    from kafkax.protocol.records import iter_batches

    found: list[int] = []
    while True:
        piece = hosted.log.read(offset, 1000)
        if piece is None:
            return found
        for each in iter_batches(piece.read()):
            found.extend(record.offset for record in each.records() if record.offset >= offset)
            offset = each.next_offset


class TestRounds:
    def test_each_key_keeps_its_last_record_at_its_offset(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        before = records(hosted)
        active = hosted.log.segments()[-1].base_offset
        result = cleaner(rig).clean_dirtiest()
        assert result is not None
        assert result.cleaned_to == active
        last = {key: offset for offset, key, _ in before if offset < active}
        assert records(hosted) == [entry for entry in before if entry[0] >= active or entry[0] == last[entry[1]]]
        assert read_all(hosted) == [offset for offset, _, _ in records(hosted)]
        assert verify(Path(hosted.log.directory), deep=True).problems == []

    def test_what_is_clean_is_not_cleaned_again_until_it_is_dirty(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        cleaning = cleaner(rig)
        assert cleaning.clean_dirtiest() is not None
        assert cleaning.clean_dirtiest() is None
        fill(rig, hosted, start=60)
        assert cleaning.clean_dirtiest() is not None
        assert len({key for _, key, _ in records(hosted)}) == 5

    def test_small_segments_become_few(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted, 200)
        many = len(hosted.log.segments())
        rig.topics["t"]["segment.bytes"] = "1000000"
        rig.manager.topic_changed("t")
        cleaner(rig).clean_dirtiest()
        assert many > 10
        assert len(hosted.log.segments()) == 2

    def test_the_dirtiest_log_comes_first(self, rig: Rig) -> None:
        first, second = rig.create("a", **COMPACT), rig.create("b", **COMPACT)
        fill(rig, first, 200)
        cleaning = cleaner(rig)
        cleaning.clean_dirtiest()
        fill(rig, first, 60, start=200)
        fill(rig, second, 60)
        cleaning.clean_dirtiest()
        assert OffsetCheckpoint(rig.dirs[0], CLEANER_OFFSET).read()[second.partition] > 0

    def test_a_topic_that_is_not_compacted_is_left_alone(self, rig: Rig) -> None:
        fill(rig, rig.create("t", segment_bytes="400"))
        assert cleaner(rig).clean_dirtiest() is None

    def test_records_of_an_open_transaction_and_all_behind_it_stay(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted, 20)
        opened = build_batch(
            [Record(b"key-1", b"open", (), NOW)], producer_id=7, producer_epoch=0, base_sequence=0, transactional=True
        )
        hosted.log.append(opened, validated=True)
        fill(rig, hosted, 60, start=20)
        stable = hosted.log.last_stable_offset
        assert stable == 20
        before = records(hosted)
        cleaning = cleaner(rig)
        result = cleaning.clean_dirtiest()
        assert result is not None
        assert result.cleaned_to <= stable
        assert [entry for entry in records(hosted) if entry[0] >= stable] == [entry for entry in before if entry[0] >= stable]

        marker = end_transaction_batch(False, producer_id=7, producer_epoch=0, coordinator_epoch=0, timestamp=NOW)
        hosted.log.append(marker, origin="coordinator")
        fill(rig, hosted, 20, start=80)
        assert cleaning.clean_dirtiest() is not None
        assert (20, b"key-1", b"open") not in records(hosted)

    def test_tombstones_stay_for_delete_retention_and_then_go(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT, delete_retention_ms="60000")
        fill(rig, hosted, 20)
        rig.append(hosted, [batch(b"key-1", value=None)])
        fill(rig, hosted, 40, keys=1, start=0)
        cleaning = cleaner(rig)
        cleaning.clean_dirtiest()
        assert [entry for entry in records(hosted) if entry[1] == b"key-1"] == [(20, b"key-1", None)]
        rig.clock.now += 61
        fill(rig, hosted, 40, keys=1, start=40)
        cleaning.clean_dirtiest()
        assert [entry for entry in records(hosted) if entry[1] == b"key-1"] == []

    def test_a_fetch_that_began_before_reads_on_in_the_old_segment(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        piece = hosted.log.read(0, 1000)
        assert piece is not None
        before = piece.read()
        cleaner(rig).clean_dirtiest()
        rig.clock.now += 2
        rig.manager.deletions.run()
        assert piece.read() == before

    def test_replaced_files_go_after_the_delay(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        cleaner(rig).clean_dirtiest()
        assert any(name.endswith(".deleted") for name in os.listdir(hosted.log.directory))
        rig.clock.now += 1.1
        rig.manager.deletions.run()
        assert not any("deleted" in name or "cleaned" in name or "swap" in name for name in os.listdir(hosted.log.directory))

    def test_a_small_map_takes_several_rounds(self, rig: Rig) -> None:
        rig = Rig(rig.dirs[0].parent / "small", **{"log.cleaner.dedupe.buffer.size": str(24 * 40)})
        rig.open()
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted, 200, keys=100)
        cleaning, rounds = cleaner(rig), 0
        while cleaning.clean_dirtiest() is not None:
            rounds += 1
        active = hosted.log.segments()[-1].base_offset
        below = [key for offset, key, _ in records(hosted) if offset < active]
        assert rounds > 3
        assert len(below) == len(set(below))

    def test_a_producers_sequence_survives_compaction_and_restart(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        sequence = [batch(b"p", producer_id=3, producer_epoch=0, base_sequence=n) for n in range(3)]
        rig.append(hosted, sequence)
        fill(rig, hosted)
        rig.append(hosted, [batch(b"p")])
        fill(rig, hosted, start=60)
        cleaner(rig).clean_dirtiest()
        for snapshot in Path(hosted.log.directory).glob("*.snapshot"):
            snapshot.unlink()
        found = rig.restart(clean=False).get(T0)
        assert found is not None
        end = found.log.log_end_offset
        assert found.log.append(sequence[2]).duplicate
        assert found.log.log_end_offset == end

    def test_appends_and_reads_go_on_during_a_round(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted, 100, keys=10)
        failures: list[BaseException] = []
        stop = threading.Event()

        def run(work: Callable[[], object]) -> None:
            try:
                while not stop.wait(0.002):
                    work()
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=run, args=(lambda: hosted.log.append(batch(b"key-1")),)),
            threading.Thread(target=run, args=(lambda: read_all(hosted),)),
        ]
        for thread in threads:
            thread.start()
        cleaning = cleaner(rig)
        deadline = time.monotonic() + 30
        while cleaning.stats.rounds < 2 and time.monotonic() < deadline:
            hosted.log.high_watermark = hosted.log.log_end_offset
            cleaning.clean_dirtiest()
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert cleaning.stats.failures == 0
        assert cleaning.stats.rounds > 1


class TestCheckpoint:
    def test_a_restart_goes_on_where_the_last_round_came_to(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        result = cleaner(rig).clean_dirtiest()
        assert result is not None
        assert OffsetCheckpoint(rig.dirs[0], CLEANER_OFFSET).read() == {T0: result.cleaned_to}
        rig.restart()
        assert cleaner(rig).clean_dirtiest() is None

    def test_a_deleted_log_is_forgotten_and_a_truncated_one_taken_back(self, rig: Rig) -> None:
        kept, gone = rig.create("t", **COMPACT), rig.create("gone", **COMPACT)
        cleaning = cleaner(rig)
        for hosted in (kept, gone):
            fill(rig, hosted)
            cleaning.clean_dirtiest()
        rig.manager.delete(gone.partition)
        fill(rig, kept, start=60)
        cleaning.clean_dirtiest()
        assert set(OffsetCheckpoint(rig.dirs[0], CLEANER_OFFSET).read()) == {T0}
        cleaning.truncated(T0, 10)
        assert OffsetCheckpoint(rig.dirs[0], CLEANER_OFFSET).read() == {T0: 10}

    def test_a_damaged_checkpoint_means_cleaning_anew(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted, keys=60)
        cleaner(rig).clean_dirtiest()
        assert cleaner(rig).clean_dirtiest() is None
        (rig.dirs[0] / CLEANER_OFFSET).write_bytes(b"0\n7\n")
        assert cleaner(rig).clean_dirtiest() is not None


class TestFailures:
    def test_a_corrupt_batch_makes_its_log_uncleanable_and_the_next_is_cleaned(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad, good = rig.create("bad", **COMPACT), rig.create("t", **COMPACT)
        fill(rig, bad, 120)
        fill(rig, good)
        path = Path(bad.log.directory) / "00000000000000000000.log"
        data = bytearray(path.read_bytes())
        data[70] ^= 1
        path.write_bytes(data)
        cleaning = cleaner(rig)
        results = [cleaning.clean_dirtiest() for _ in range(3)]
        assert sum(result is not None for result in results) == 1
        assert cleaning.stats.uncleanable.keys() == {bad.partition}
        assert "is not compacted until the next start" in caplog.text
        assert "the batch at byte 0 is corrupt" in caplog.text
        assert not any("cleaned" in name for name in os.listdir(bad.log.directory))

    @pytest.mark.parametrize(("code", "online"), [(errno.ENOSPC, True), (errno.EIO, False)])
    def test_no_space_is_tried_again_and_a_broken_disk_goes_offline(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, code: int, online: bool
    ) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        before = records(hosted)

        def fail(_: int) -> None:
            raise OSError(code, os.strerror(code))

        cleaning = cleaner(rig)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            assert cleaning.clean_dirtiest() is None
        assert hosted.directory.online is online
        assert records(hosted) == before
        if online:
            assert cleaning.clean_dirtiest() is not None

    def test_a_log_that_goes_away_ends_its_round(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        cleaning = cleaner(rig)
        grabbed = cleaning._grab()
        assert grabbed is not None
        rig.manager.delete(T0)
        assert cleaning._clean(*grabbed) is None
        assert cleaning.stats.uncleanable == {}

    def test_the_throttle_spreads_a_round_over_time(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        moved: list[int] = []

        def paced(size: int) -> bool:
            moved.append(size)
            return True

        cleaning = cleaner(rig)
        grabbed = cleaning._grab()
        assert grabbed is not None
        result = CleaningRound(
            hosted.log, grabbed[1], CompactionPolicy.of(hosted.config), NOW, memory=1 << 20, load_factor=0.9, paced=paced
        ).run()
        assert sum(moved) >= result.bytes_read


class TestCrash:
    """A round is stopped at every rename and unlink that it makes; what a start then finds has to be whole."""

    def test_every_step_leaves_a_log_with_all_last_records(self, tmp_path: Path) -> None:
        whole = Rig(tmp_path / "model")
        whole.open()
        hosted = whole.create("t", **COMPACT)
        fill(whole, hosted, 23)
        whole.topics["t"]["segment.bytes"] = "100000"
        whole.manager.topic_changed("t")
        before = records(hosted)
        latest = {key: entry for entry in before for key in [entry[1]]}
        cleaner(whole).clean_dirtiest()
        folder = Path(hosted.log.directory)
        names = sorted(path.name for path in folder.iterdir())
        replaced = [name for name in names if name.endswith(".log.deleted")]
        assert len(replaced) >= 3
        whole.crash()

        stages = _stages(names)
        assert len(stages) > 15
        for number, stage in enumerate(stages):
            rig = Rig(tmp_path / f"stage-{number}")
            target = rig.dirs[0] / "t-0"
            target.mkdir(parents=True)
            for source, name in stage.items():
                (target / name).write_bytes((folder / source).read_bytes())
            rig.topics["t"] = {name.replace("_", "."): value for name, value in COMPACT.items()}
            rig.open()
            found = rig.manager.get(T0)
            assert found is not None, rig.manager.failures
            served = records(found)
            assert {key: entry for entry in served for key in [entry[1]]} == latest, stage
            assert [entry for entry in served if entry not in before] == []
            assert read_all(found) == [offset for offset, _, _ in served]
            assert not [name for name in os.listdir(target) if name.endswith((".cleaned", ".swap", ".deleted"))]
            assert verify(target, deep=True).problems == []
            rig.manager.shutdown()


def _stages(names: list[str]) -> list[dict[str, str]]:
    """Folder contents (file to take, name to give it) after each step of an exchange, from the folder as it is afterwards."""
    cleaned = sorted(name for name in names if name.startswith("0" * 20) and name.endswith((".log", ".index", ".timeindex")))
    old = sorted(name for name in names if name.endswith(".deleted"))
    rest = [name for name in names if name not in cleaned and name not in old]
    order = sorted(cleaned, key=lambda name: name.endswith(".log"))

    def folder(new: dict[str, str], gone: int) -> dict[str, str]:
        files = {name: name for name in rest} | {name: new[name] for name in new}
        files |= {name: name if place < gone else name.removesuffix(".deleted") for place, name in enumerate(old)}
        return files

    stages = [folder({name: name + ".cleaned" for name in order[:count]}, 0) for count in range(len(order) + 1)]
    for count in range(1, len(order) + 1):
        stages.append(folder({name: name + (".swap" if place < count else ".cleaned") for place, name in enumerate(order)}, 0))
    for gone in range(1, len(old) + 1):
        stages.append(folder({name: name + ".swap" for name in order}, gone))
    for count in range(1, len(order) + 1):
        stages.append(folder({name: name if place < count else name + ".swap" for place, name in enumerate(order)}, len(old)))
    return stages


class TestTruncation:
    def test_a_round_under_way_is_given_up_for_it(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else it would put back what was cut off."""
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        cleaning = cleaner(rig)
        cut: list[threading.Thread] = []

        def charge(moved: int) -> float:
            if not cut:
                cut.append(threading.Thread(target=rig.manager.truncate, args=(hosted.partition, 7)))
                cut[0].start()
                while not hosted.waiting:
                    threading.Event().wait(0.001)
            return 0.0

        monkeypatch.setattr(cleaning._throttle, "charge", charge)
        assert cleaning.clean_dirtiest() is None
        cut[0].join()
        assert cleaning.stats.failures == 0
        assert hosted.log.log_end_offset == 7

    def test_what_is_written_again_counts_as_dirty(self, rig: Rig) -> None:
        hosted = rig.create("t", **COMPACT)
        fill(rig, hosted)
        assert cleaner(rig).clean_dirtiest() is not None
        cleaned = hosted.directory.cleaned
        assert cleaned.read()[hosted.partition] > 7
        rig.manager.truncate(hosted.partition, 7)
        assert cleaned.read()[hosted.partition] <= 7
        rig.manager.truncate_fully(hosted.partition, 3)
        assert cleaned.read()[hosted.partition] <= 3
        assert hosted.log.log_end_offset == 3
