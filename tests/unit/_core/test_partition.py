"""Partitions and their registry: leadership, marks, waiting, and many threads at once."""

from __future__ import annotations

import select
import threading
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from kafkax._core.measure import append_seconds, floor_seconds, read_seconds
from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Partition
from kafkax._core.registry import Registry
from kafkax.errors import ErrorCode, KafkaError
from kafkax.replication.leadership import Leadership
from tests.unit._core.batches import Rec, batch, headers, values


def make(path: Path, name: str = "t", index: int = 0, *, flusher: Flusher | None = None, flushed: bool = False) -> Partition:
    folder = path / f"{name}-{index}"
    folder.mkdir()
    settings = LogSettings(timestamp_after_max_ms=(1 << 63) - 1, flushed=flushed, segment_bytes=20_000, index_interval_bytes=500)
    return Partition(name, index, uuid.uuid4(), Log.open(str(folder), settings, flusher=flusher))


def code_of(action: object, *arguments: object, **named: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        action(*arguments, **named)  # type: ignore[operator]
    return caught.value.code


LAG_MS = 10_000_000


def monotonic_ms() -> int:
    return int(time.monotonic() * 1000)


def dispatch(queue: NotifyQueue, timeout: float = 30.0) -> int:
    assert select.select([queue.fileno()], [], [], timeout)[0], "woken in time"
    return queue.dispatch()


def test_only_a_leader_appends_and_reads(tmp_path: Path) -> None:
    partition = make(tmp_path)
    assert code_of(partition.append, batch(1)) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert code_of(partition.read, 0, 10) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    partition.become_leader(3)
    assert partition.append(batch(2)).leader_epoch == 3
    assert partition.log.epochs() == [(3, 0)]
    partition.become_follower(4)
    assert code_of(partition.append, batch(1)) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert partition.read(0, 10, isolation="log_end", any_replica=True).records is not None
    assert code_of(partition.become_leader, 3) == ErrorCode.FENCED_LEADER_EPOCH


def test_leader_epochs_in_requests_are_checked(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(3)
    assert code_of(partition.read, 0, 10, current_leader_epoch=2) == ErrorCode.FENCED_LEADER_EPOCH
    assert code_of(partition.read, 0, 10, current_leader_epoch=4) == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert partition.read(0, 10, current_leader_epoch=3).records is None


def test_acks_and_the_in_sync_set(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(0, in_sync=1, min_in_sync=2, mark="external")
    assert code_of(partition.append, batch(1), acks=-1) == ErrorCode.NOT_ENOUGH_REPLICAS
    assert code_of(partition.append, batch(1), acks=2) == ErrorCode.INVALID_REQUIRED_ACKS
    partition.append(batch(1), acks=1)
    partition.set_in_sync(2, 2)
    result = partition.append(batch(1), acks=-1)
    assert not partition.committed(result.required_offset, 0)
    partition.high_watermark = 2
    assert partition.committed(result.required_offset, 0)
    partition.set_in_sync(1, 2)
    assert code_of(partition.committed, 2, 0) == ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
    partition.become_follower(1)
    assert code_of(partition.committed, 2, 0) == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_newer_epoch_of_the_same_leader_keeps_what_waits_for_replicas(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(0, in_sync=2, mark="external")
    result = partition.append(batch(1), acks=-1)
    partition.become_leader(3, in_sync=2, mark="external")
    assert not partition.committed(result.required_offset, 0)
    partition.high_watermark = 1
    assert partition.committed(result.required_offset, 0)
    partition.become_follower(4)
    partition.become_leader(5)
    assert code_of(partition.committed, 1, 3) == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_waiters_are_woken_exactly_when_the_mark_is_there(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(0, mark="external")
    queue = NotifyQueue()
    woken: list[str] = []
    assert partition.wait("log_end", 1, queue, lambda _: woken.append("end")) is not None
    assert partition.wait("high_watermark", 1, queue, lambda _: woken.append("high")) is not None
    cancelled = partition.wait("high_watermark", 1, queue, lambda _: woken.append("cancelled"))
    assert cancelled is not None
    assert cancelled.cancel()
    assert not cancelled.cancel()
    partition.append(batch(1), acks=1)
    dispatch(queue)
    assert woken == ["end"]
    partition.high_watermark = 1
    dispatch(queue)
    assert woken == ["end", "high"]
    assert partition.wait("high_watermark", 1, queue, pytest.fail) is None


def test_losing_leadership_or_the_log_wakes_everyone(tmp_path: Path) -> None:
    for i, end in enumerate((lambda p: p.become_follower(1), lambda p: p.log.close(), lambda p: p.become_leader(2))):
        partition = make(tmp_path, index=i)
        partition.become_leader(0)
        queue = NotifyQueue()
        woken: list[int] = []
        assert partition.wait("high_watermark", 99, queue, woken.append) is not None
        end(partition)
        dispatch(queue)
        assert len(woken) == 1


def test_a_wait_that_is_forgotten_leaves_no_trace(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(0)
    queue = NotifyQueue()
    partition.wait("log_end", 1, queue, pytest.fail)
    del queue
    partition.append(batch(1), acks=1)


def test_a_leader_counts_what_it_flushed_and_followers_say_what_they_have(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    partition = make(tmp_path, flusher=flusher, flushed=True)
    partition.become_leader(0, in_sync=2, mark="external")
    queue = NotifyQueue()
    partition.set_replicas(queue, pytest.fail, [(2, True)], leader_epoch=0, epoch_start=0, lag_max_ms=1000)
    woken: list[int] = []
    partition.append(batch(3), acks=1)
    assert partition.wait("high_watermark", 3, queue, woken.append) is not None
    partition.follower_fetched(2, 7, 3)
    dispatch(queue)
    assert partition.high_watermark == 3
    assert [(r.replica, r.offset, r.broker_epoch) for r in partition.replicas()] == [(2, 3, 7)]
    flusher.stop()


def test_waiting_hurries_the_flush_also_of_what_takes_the_place_of_a_flushed_record(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path), lazy_ms=3_600_000)
    partition = make(tmp_path, flusher=flusher, flushed=True)
    partition.become_leader(0)
    queue = NotifyQueue()
    waits: list[float] = []
    for _ in range(15):
        for records in (2, 1):
            begin, woken = time.monotonic(), list[int]()
            partition.append(batch(records), acks=1)
            if partition.wait("high_watermark", records, queue, woken.append) is not None:
                dispatch(queue)
            if records == 1:
                waits.append(time.monotonic() - begin)
            partition.log.truncate(0)
    flusher.stop()
    # What nobody waits for is put off for an hour.
    assert sorted(waits)[len(waits) // 2] < 0.04


def test_followers_of_an_earlier_leadership_count_no_longer(tmp_path: Path) -> None:
    partition = make(tmp_path)
    queue = NotifyQueue()
    partition.become_leader(0, in_sync=2, mark="external")
    partition.set_replicas(queue, pytest.fail, [(2, True)], leader_epoch=0, epoch_start=0, lag_max_ms=1000)
    partition.append(batch(1), acks=1)
    assert code_of(partition.follower_fetched, 2, 7, 1, leader_epoch=1) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    partition.become_leader(1, in_sync=2, mark="external")
    assert code_of(partition.follower_fetched, 2, 7, 1) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    partition.set_replicas(queue, pytest.fail, [(2, True)], leader_epoch=0, epoch_start=0, lag_max_ms=1000)
    assert partition.replicas() == [], "too late"
    assert partition.high_watermark == 0


def test_the_mark_waits_while_too_few_are_in_sync(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(0, in_sync=1, min_in_sync=2, mark="external")
    queue = NotifyQueue()
    partition.set_replicas(queue, lambda _: None, [(2, False)], leader_epoch=0, epoch_start=0, lag_max_ms=1000)
    partition.append(batch(1), acks=1)
    partition.follower_fetched(2, 7, 1)
    assert partition.high_watermark == 0
    partition.set_in_sync(2, 2)
    assert partition.high_watermark == 1


FETCHES = st.lists(
    st.tuples(st.sampled_from([2, 3]), st.integers(-1, 3), st.integers(0, 12), st.booleans()),
    max_size=30,
)


@given(FETCHES, st.sets(st.sampled_from([2, 3])), st.integers(1, 3), st.integers(0, 3))
def test_the_core_and_the_model_that_is_simulated_agree(
    fetches: list[tuple[int, int, int, bool]], counted: set[int], min_in_sync: int, epoch_start: int
) -> None:
    with TemporaryDirectory() as folder:
        partition = make(Path(folder))
        for _ in range(epoch_start):
            partition.become_leader(0)
            partition.append(batch(1), acks=1)
        isr = (1, *sorted(counted))
        partition.become_leader(1, in_sync=len(isr), min_in_sync=min_in_sync, mark="external")
        partition.high_watermark = 0
        model = Leadership(1, 1, 1, epoch_start, (1, 2, 3), isr, 0, monotonic_ms())
        replicas = [(2, 2 in counted), (3, 3 in counted)]
        partition.set_replicas(
            NotifyQueue(), lambda _: None, replicas, leader_epoch=1, epoch_start=epoch_start, lag_max_ms=LAG_MS
        )
        mark = model.committed(partition.log.log_end_offset, partition.high_watermark, min_in_sync, monotonic_ms(), LAG_MS)
        for replica, broker_epoch, offset, append in fetches:
            if append:
                partition.append(batch(1), acks=1)
            end = partition.log.log_end_offset
            mark = model.committed(end, mark, min_in_sync, monotonic_ms(), LAG_MS)
            known = model.fetched(replica, broker_epoch, min(offset, end), end, monotonic_ms())
            if known:
                partition.follower_fetched(replica, broker_epoch, min(offset, end))
            else:
                assert code_of(partition.follower_fetched, replica, broker_epoch, min(offset, end))
            mark = model.committed(end, mark, min_in_sync, monotonic_ms(), LAG_MS)
            assert partition.high_watermark == mark
            for progress in partition.replicas():
                follower = model.followers[progress.replica]
                assert (progress.offset, progress.broker_epoch) == (follower.offset, follower.broker_epoch)


def test_a_failed_disk_takes_its_logs_offline_and_tells_once(tmp_path: Path) -> None:
    queue = NotifyQueue()
    failures: list[int] = []
    flusher = Flusher(str(tmp_path), queue, failures.append)
    partition, other = make(tmp_path, flusher=flusher), make(tmp_path, index=1)
    for each in (partition, other):
        each.become_leader(0)
        each.append(batch(1), acks=1)
    flusher.fail(5)
    flusher.fail(28)
    assert dispatch(queue) == 1
    assert (failures, flusher.failed) == ([5], 5)
    assert code_of(partition.append, batch(1)) == ErrorCode.KAFKA_STORAGE_ERROR
    assert code_of(partition.read, 0, 10) == ErrorCode.KAFKA_STORAGE_ERROR
    assert other.append(batch(1), acks=1).base_offset == 1
    flusher.stop()


def test_registry_finds_by_name_and_by_id(tmp_path: Path) -> None:
    registry = Registry()
    partitions = [make(tmp_path, f"topic-{i % 7}", i) for i in range(60)]
    for partition in partitions:
        registry.add(partition)
    with pytest.raises(ValueError, match="registered already"):
        registry.add(partitions[0])
    for gone in partitions[::3]:
        assert registry.remove(gone.topic, gone.index) is gone
        assert code_of(gone.read, 0, 1) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert registry.remove("absent", 0) is None
    for i, partition in enumerate(partitions):
        found = None if i % 3 == 0 else partition
        assert registry.get(partition.topic, partition.index) is found
        assert registry.get_by_id(partition.topic_id, partition.index) is found
    assert len(registry) == len(list(registry)) == 40


def test_names_that_are_no_topic_are_refused(tmp_path: Path) -> None:
    log = make(tmp_path).log
    for name in ("", ".", "../x", "a" * 250, "é"):
        assert code_of(Partition, name, 0, uuid.uuid4(), log) == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_threads_append_read_truncate_delete_and_flush_at_once(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    partition = make(tmp_path, flusher=flusher, flushed=True)
    partition.become_leader(0)
    log = partition.log
    stop = threading.Event()
    errors: list[BaseException] = []

    def run(step: object) -> threading.Thread:
        def loop() -> None:
            try:
                while not stop.is_set():
                    step()  # type: ignore[operator]
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    def append() -> None:
        partition.append(batch([Rec(value=bytes(100)) for _ in range(5)]), acks=1)

    def read() -> None:
        start = log.log_start_offset
        try:
            result = partition.read(start, 5000)
        except KafkaError as error:
            if error.code != ErrorCode.OFFSET_OUT_OF_RANGE:
                raise
            return
        if result.records is not None:
            data = result.records.read()
            expected = None
            for _, header in headers(data):
                assert expected is None or header.base_offset == expected
                expected = header.base_offset + 5
                assert header.base_offset + 5 <= log.high_watermark

    def delete() -> None:
        for path in log.delete_before(log.high_watermark - 200):
            Path(path).unlink()

    threads = [run(step) for step in (append, append, read, read, delete, log.flush, log.roll)]
    stop.wait(1.5)
    while log.log_end_offset <= 100 and not errors:
        stop.wait(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    flusher.stop()
    assert not errors
    piece = log.read(log.log_start_offset, 1 << 30)
    assert piece is not None
    assert next(values(piece.read()))[1] == bytes(100)


def test_measuring_loops_run(tmp_path: Path) -> None:
    partition = make(tmp_path)
    partition.become_leader(0)
    assert append_seconds(partition, batch(10), 50) > 0
    assert partition.log.log_end_offset == 500
    assert floor_seconds(str(tmp_path / "floor"), batch(10), 50) > 0
    assert (tmp_path / "floor").stat().st_size == 50 * len(batch(10))
    assert read_seconds(partition, list(range(0, 500, 7)), 1000) > 0
