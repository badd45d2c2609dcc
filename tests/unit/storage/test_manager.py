from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path

import pytest

from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.storage.checkpoints import LOG_START_OFFSET, RECOVERY_POINT, REPLICATION_OFFSET, OffsetCheckpoint
from kafkax.storage.names import FolderKind, parse_folder
from tests.unit.storage.rig import NOW, Rig, batch

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.open()
    return rig


def folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())


class TestCreateAndRestart:
    def test_a_log_is_begun_with_its_topic_id_and_found_again(self, rig: Rig) -> None:
        created = rig.create("t")
        assert rig.create("t") is created
        assert (rig.dirs[0] / "t-0" / "partition.metadata").exists()
        rig.append(created, [batch(b"a", b"b"), batch(b"c")])
        found = rig.restart().get(T0)
        assert found is not None
        assert (found.log.log_end_offset, found.log.high_watermark, found.topic_id) == (3, 3, created.topic_id)
        assert rig.progress.logs_total == rig.progress.logs_done == 1

    def test_logs_go_where_the_fewest_are(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, 3)
        rig.open()
        for number in range(7):
            rig.create("t", number)
        assert [len(folders(path)) for path in rig.dirs] == [3, 2, 2]

    def test_a_topic_of_the_same_name_and_another_id_is_refused(self, rig: Rig) -> None:
        rig.create("t")
        with pytest.raises(KafkaError, match="of another id") as error:
            rig.create("t", topic_id=uuid.uuid4())
        assert error.value.code is ErrorCode.INCONSISTENT_TOPIC_ID

    def test_a_log_without_topic_id_gets_it_later(self, rig: Rig) -> None:
        assert rig.manager.create(T0, None).topic_id is None
        assert rig.create("t").topic_id is not None

    def test_after_an_orderly_stop_nothing_is_scanned(self, rig: Rig) -> None:
        rig.append(rig.create("t"), [batch(b"a") for _ in range(100)])
        rig.restart()
        assert rig.progress.recovery.bytes_total == 0
        rig.restart(clean=False)
        assert rig.progress.recovery.bytes_total > 0

    def test_after_a_crash_everything_that_was_written_is_there(self, rig: Rig) -> None:
        rig.append(rig.create("t"), [batch(b"a") for _ in range(100)])
        found = rig.restart(clean=False).get(T0)
        assert found is not None
        assert found.log.log_end_offset == 100

    def test_topics_keep_their_settings(self, rig: Rig) -> None:
        hosted = rig.create("t", segment_bytes="200")
        rig.append(hosted, [batch(b"a") for _ in range(10)])
        assert len(hosted.log.segments()) > 3
        rig.topics["t"] = {}
        rig.manager.topic_changed("t")
        before = len(hosted.log.segments())
        rig.append(hosted, [batch(b"a") for _ in range(10)])
        assert len(hosted.log.segments()) <= before + 1


class TestLoading:
    def test_what_is_no_partition_is_left_alone_and_said(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        rig.create("t")
        rig.manager.shutdown()
        stray = rig.dirs[0] / "old-0.0123456789abcdef0123456789abcdef-stray"
        for path in (rig.dirs[0] / "lost+found", stray, rig.dirs[0] / "__cluster_metadata-0"):
            path.mkdir()
        (rig.dirs[0] / "recovery-point-offset-checkpoint.tmp").touch()
        rig.restart()
        assert [hosted.partition for hosted in rig.manager.logs()] == [T0]
        assert "lost+found is not named as a partition's folder" in caplog.text
        assert "belongs to no topic" in caplog.text
        assert stray.exists()
        assert not (rig.dirs[0] / "recovery-point-offset-checkpoint.tmp").exists()

    def test_folders_marked_for_deletion_go(self, rig: Rig) -> None:
        rig.create("t")
        rig.manager.delete(T0)
        assert folders(rig.dirs[0])[0].endswith("-delete")
        rig.restart()
        rig.manager.deletions.run()
        assert folders(rig.dirs[0]) == []

    def test_a_log_that_does_not_open_is_named_and_the_others_go_on(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        rig.create("bad")
        rig.create("t")
        rig.manager.shutdown()
        (rig.dirs[0] / "bad-0" / "partition.metadata").write_bytes(b"version: 9\n")
        rig.restart()
        assert [hosted.partition for hosted in rig.manager.logs()] == [T0]
        assert "version '9'" in rig.manager.failures[TopicPartition("bad", 0)]
        assert "remove the file to have it written anew" in caplog.text
        with pytest.raises(KafkaError, match="does not open"):
            rig.create("bad")

    def test_a_partition_in_two_directories_is_refused(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, 2)
        rig.open()
        rig.create("t")
        rig.manager.shutdown()
        (rig.dirs[1] / "t-0").mkdir()
        with pytest.raises(KafkaError, match="t-0 stands in .*d0 and in .*d1"):
            rig.restart()

    @pytest.mark.parametrize("name", [RECOVERY_POINT, REPLICATION_OFFSET, LOG_START_OFFSET])
    def test_a_damaged_checkpoint_costs_a_scan_at_most(self, rig: Rig, name: str, caplog: pytest.LogCaptureFixture) -> None:
        rig.append(rig.create("t"), [batch(b"a") for _ in range(10)])
        rig.manager.shutdown()
        (rig.dirs[0] / name).write_bytes(b"0\n1\nt 0")
        found = rig.restart().get(T0)
        assert found is not None
        assert found.log.log_end_offset == 10
        assert "checkpoint is not used" in caplog.text

    def test_many_logs_load_on_many_threads(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, 2, **{"num.recovery.threads.per.data.dir": "4"})
        rig.open()
        for number in range(40):
            rig.append(rig.create("t", number), [batch(b"a")] * number)
        rig.restart()
        assert {hosted.partition.partition: hosted.log.log_end_offset for hosted in rig.manager.logs()} == {
            n: n for n in range(40)
        }

    def test_a_checkpoint_of_offsets_that_the_log_no_longer_has(self, rig: Rig) -> None:
        rig.append(rig.create("t"), [batch(b"a")])
        rig.manager.shutdown()
        for name in (RECOVERY_POINT, REPLICATION_OFFSET):
            OffsetCheckpoint(rig.dirs[0], name).write({T0: 1000})
        found = rig.restart(clean=False).get(T0)
        assert found is not None
        assert (found.log.log_end_offset, found.log.high_watermark) == (1, 1)

    def test_a_power_cut_in_the_midst_of_a_creation_leaves_nothing_to_mend(self, rig: Rig) -> None:
        first, second = rig.create("t", 0), rig.create("t", 1)
        rig.append(second, [batch(b"a")])
        for hosted in (first, second):
            Path(hosted.log.directory, "partition.metadata").write_bytes(b"")
        manager = rig.restart(clean=False)
        found = manager.get(T0)
        assert found is not None
        assert found.topic_id is None
        assert rig.create("t", 0).topic_id == first.topic_id
        assert list(manager.failures) == [T1], "what it holds may be another topic's"


class TestDelete:
    def test_the_folder_is_renamed_at_once_and_goes_after_the_delay(self, rig: Rig) -> None:
        rig.create("t", file_delete_delay_ms="5000")
        assert rig.manager.delete(T0)
        assert rig.manager.get(T0) is None
        (name,) = folders(rig.dirs[0])
        parsed = parse_folder(name)
        assert parsed is not None
        assert (parsed.partition, parsed.kind) == (T0, FolderKind.DELETE)
        rig.clock.now += 4.9
        rig.manager.deletions.run()
        assert folders(rig.dirs[0]) == [name]
        rig.clock.now += 0.2
        rig.manager.deletions.run()
        assert folders(rig.dirs[0]) == []

    def test_a_topic_may_come_again_while_the_old_one_still_waits(self, rig: Rig) -> None:
        rig.append(rig.create("t"), [batch(b"a")])
        rig.manager.delete(T0)
        assert rig.create("t", topic_id=uuid.uuid4()).log.log_end_offset == 0

    def test_what_was_handed_out_stays_readable(self, rig: Rig) -> None:
        hosted = rig.create("t")
        data = batch(b"a")
        rig.append(hosted, [data])
        piece = hosted.log.read(0, 1000)
        rig.manager.delete(T0)
        rig.clock.now += 1000
        rig.manager.deletions.run()
        assert piece is not None
        assert len(piece.read()) == len(data)

    def test_a_stray_is_kept(self, rig: Rig) -> None:
        rig.create("t")
        rig.manager.delete(T0, stray=True)
        assert folders(rig.dirs[0])[0].endswith("-stray")
        assert not rig.manager.delete(T0)


class TestRetention:
    def test_old_segments_go_under_deleted_names_and_then_altogether(self, rig: Rig) -> None:
        hosted = rig.create("t", segment_bytes="200", retention_ms="60000", file_delete_delay_ms="1000")
        rig.append(hosted, [batch(b"a", timestamp=NOW - 100_000) for _ in range(20)])
        rig.append(hosted, [batch(b"b", timestamp=NOW) for _ in range(2)])
        piece = hosted.log.read(0, 10)
        assert rig.manager.enforce_retention() == 1
        assert hosted.log.log_start_offset >= 18
        left = sorted(os.listdir(hosted.log.directory))
        assert any(name.endswith(".deleted") for name in left)
        assert piece is not None
        assert len(piece.read()) > 0
        rig.clock.now += 1.1
        rig.manager.deletions.run()
        assert not any(name.endswith(".deleted") for name in os.listdir(hosted.log.directory))
        assert rig.restart().get(T0).log.log_start_offset >= 18  # type: ignore[union-attr]

    def test_the_active_segment_is_rolled_when_all_of_it_is_old(self, rig: Rig) -> None:
        hosted = rig.create("t", retention_ms="60000")
        rig.append(hosted, [batch(b"a", timestamp=NOW - 100_000)] * 3)
        rig.manager.enforce_retention()
        assert (hosted.log.log_start_offset, hosted.log.log_end_offset, hosted.log.size) == (3, 3, 0)
        rig.append(hosted, [batch(b"b")])
        assert hosted.log.log_end_offset == 4

    def test_a_compacted_topic_keeps_what_is_old(self, rig: Rig) -> None:
        hosted = rig.create("t", segment_bytes="200", retention_ms="1", retention_bytes="1", cleanup_policy="compact")
        rig.append(hosted, [batch(b"a", timestamp=NOW - 10**9) for _ in range(20)])
        assert rig.manager.enforce_retention() == 0

    def test_records_deleted_on_request_go_under_every_policy_and_stay_gone(self, rig: Rig) -> None:
        hosted = rig.create("t", segment_bytes="200", cleanup_policy="compact")
        rig.append(hosted, [batch(b"a") for _ in range(20)])
        hosted.log.set_log_start_offset(11)
        rig.manager.checkpoint_log_starts()
        assert OffsetCheckpoint(rig.dirs[0], LOG_START_OFFSET).read() == {T0: 11}
        rig.manager.enforce_retention()
        assert hosted.log.segments()[0].base_offset > 0
        assert rig.restart(clean=False).get(T0).log.log_start_offset == 11  # type: ignore[union-attr]

    def test_a_log_that_is_being_compacted_is_left_for_the_next_time(self, rig: Rig) -> None:
        hosted = rig.create("t", segment_bytes="200", retention_ms="1")
        rig.append(hosted, [batch(b"a", timestamp=NOW - 10**9) for _ in range(20)])
        with hosted.maintenance:
            assert rig.manager.enforce_retention() == 0
        assert rig.manager.enforce_retention() == 1


class TestCheckpoints:
    def test_recovery_begins_where_the_log_was_last_flushed(self, rig: Rig) -> None:
        hosted = rig.create("t", segment_bytes="400")
        rig.append(hosted, [batch(b"a") for _ in range(100)])
        rig.manager.checkpoint_recovery_points()
        assert OffsetCheckpoint(rig.dirs[0], RECOVERY_POINT).read() == {T0: 100}
        rig.restart(clean=False)
        assert 0 <= rig.progress.recovery.bytes_total <= 400

    def test_what_recovery_would_skip_has_its_epochs_on_disk_first(self, rig: Rig) -> None:
        hosted = rig.create("t")
        hosted.log.append(batch(b"a"), leader_epoch=5)
        (rig.dirs[0] / "t-0" / "leader-epoch-checkpoint.tmp").mkdir()
        hosted.log.flush()
        rig.manager.checkpoint_recovery_points()
        assert not hosted.directory.online
        assert T0 not in OffsetCheckpoint(rig.dirs[0], RECOVERY_POINT).read()

    def test_nothing_is_written_while_nothing_changed(self, rig: Rig) -> None:
        hosted = rig.create("t")
        rig.append(hosted, [batch(b"a")])
        path = rig.dirs[0] / REPLICATION_OFFSET
        rig.manager.checkpoint_high_watermarks()
        written = path.stat().st_ino
        rig.manager.checkpoint_high_watermarks()
        assert path.stat().st_ino == written
        rig.append(hosted, [batch(b"a")])
        rig.manager.checkpoint_high_watermarks()
        assert path.stat().st_ino != written

    def test_a_directory_that_cannot_be_written_goes_offline_and_the_other_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = Rig(tmp_path, 2)
        rig.open()
        first, second = rig.create("t", 0), rig.create("t", 1)
        rig.append(first, [batch(b"a")])
        rig.append(second, [batch(b"a")])
        (first.directory.path / (RECOVERY_POINT + ".tmp")).mkdir()
        rig.manager.checkpoint_recovery_points()
        assert not first.directory.online
        assert [(directory.path, [hosted.partition for hosted in lost]) for directory, lost in rig.lost] == [(rig.dirs[0], [T0])]
        with pytest.raises(KafkaError) as error:
            first.log.append(batch(b"b"))
        assert error.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        second.log.append(batch(b"b"))
        with pytest.raises(KafkaError, match="may lie in .*d0, which is offline"):
            rig.manager.create(TopicPartition("u", 0), None, is_new=False)
        assert rig.create("u").directory is second.directory
        rig.manager.shutdown()
        assert not (rig.dirs[0] / ".kafka_cleanshutdown").exists()
        assert (rig.dirs[1] / ".kafka_cleanshutdown").exists()


class TestDirectories:
    def test_usage_names_space_and_logs(self, rig: Rig) -> None:
        rig.append(rig.create("t"), [batch(b"a")])
        (usage,) = rig.manager.usage()
        assert usage.online
        assert usage.total_bytes >= usage.usable_bytes > 0
        assert [(log.partition, log.size, log.log_end_offset) for log in usage.logs] == [(T0, len(batch(b"a")), 1)]

    def test_a_directory_that_cannot_be_made_is_offline_from_the_start(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rig = Rig(tmp_path, 2)
        rig.dirs[0].write_text("a file, no directory")
        rig.open()
        assert [directory.online for directory in rig.manager.directories] == [False, True]
        assert "is offline: it cannot be used" in caplog.text
        assert rig.create("t").directory.path == rig.dirs[1]
        assert [usage.online for usage in rig.manager.usage()] == [False, True]

    def test_without_any_directory_there_is_no_broker(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        rig.dirs[0].write_text("a file, no directory")
        with pytest.raises(KafkaError, match="no log directory is usable"):
            rig.open()

    def test_another_clusters_directory_is_refused(self, rig: Rig) -> None:
        rig.manager.shutdown()
        rig.manager = rig._manager()
        with pytest.raises(KafkaError, match="belongs to cluster cluster"):
            rig.manager.load("other", 1)

    def test_stopping_twice_is_stopping_once(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.ERROR)
        rig.manager.shutdown()
        rig.manager.shutdown()
        assert caplog.text == ""


def test_periodic_work_runs_by_the_clock(rig: Rig) -> None:
    hosted = rig.create("t", retention_ms="60000")
    rig.append(hosted, [batch(b"a", timestamp=NOW - 100_000)])
    manager = rig.manager
    manager.schedule_tasks()
    rig.clock.now += 301
    manager.tasks.tick()
    assert hosted.log.log_start_offset == 1
    assert OffsetCheckpoint(rig.dirs[0], RECOVERY_POINT).read() == {T0: 1}


def test_idle_logs_stay_closed_through_retention(rig: Rig) -> None:
    for number in range(20):
        rig.append(rig.create("t", number), [batch(b"a")])
    rig.restart()
    before = len(os.listdir("/proc/self/fd"))
    assert rig.manager.enforce_retention() == 0
    rig.manager.checkpoint_log_starts()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_the_age_of_a_segment_that_was_not_opened_is_read_from_its_time_index(rig: Rig) -> None:
    hosted = rig.create("t")
    rig.append(hosted, [batch(b"a", timestamp=NOW - 5)])
    found = rig.restart().get(T0)
    assert found is not None
    (segment,) = found.log.segments(times=False)
    assert segment.max_timestamp == -1
    assert found.max_timestamp(segment) == NOW - 5
