"""Moving a partition to another log directory while it is written and read."""

from __future__ import annotations

import os
import threading
import uuid
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from kafkax._core.partition import Partition
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.records import iter_batches
from kafkax.storage.moves import CHUNK, Moves
from kafkax.storage.partition_log import PartitionLog
from kafkax.storage.verify import verify
from tests.unit.storage.rig import NOW, Rig, batch

T0 = TopicPartition("t", 0)
ENOUGH = 60


class Broker:
    """A rig of two directories whose partition 0 of ``t`` is served."""

    def __init__(self, root: Path) -> None:
        self.rig = Rig(root, 2)
        self.rig.topics["t"] = {"segment.bytes": "20000", "kafkax.durability": "flushed"}
        self.rig.open()
        self.hosted = self.rig.create("t")
        self.serve()

    def serve(self) -> None:
        self.partition = Partition("t", 0, uuid.uuid5(uuid.NAMESPACE_DNS, "t"), self.log.log)
        self.partition.become_leader(3)
        self.moves = Moves(self.rig.manager, lambda _: self.partition, self.rig.broker, self.rig.clock)

    @property
    def log(self) -> PartitionLog:
        found = self.rig.manager.get(T0)
        assert found is not None
        return found

    @property
    def target(self) -> str:
        """The directory that it does not lie in."""
        return str(next(path for path in self.rig.dirs if path != self.log.directory.path))

    def append(self, number: int) -> None:
        data = batch(b"k", value=b"%d" % number, producer_id=9, producer_epoch=0, base_sequence=number)
        self.partition.append(data, acks=1, now_ms=NOW)

    def finish(self) -> None:
        while self.moves.step(T0) is not None:
            continue

    def read(self) -> list[bytes | None]:
        """The values that a reader of everything gets."""
        found: list[bytes | None] = []
        while (piece := self.partition.read(len(found), 5000, isolation="log_end").records) is not None:
            for each in iter_batches(piece.read()):
                found.extend(record.value for record in each.records() if record.offset >= len(found))
        return found


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path)


def folders(path: Path) -> list[str]:
    return sorted(entry for entry in os.listdir(path) if (path / entry).is_dir())


def values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_everything_is_there_afterwards_and_the_old_folder_goes(broker: Broker) -> None:
    for number in range(50):
        broker.append(number)
    former, target = broker.log, broker.target
    broker.moves._enqueue = lambda partition: None  # type: ignore[method-assign]
    broker.moves.move(T0, target)
    (future,) = [name for name in folders(Path(target)) if name.endswith("-future")]
    assert future.startswith("t-0.")
    assert [usage.future for usage in broker.rig.manager.usage()[1].logs] == [True]
    broker.finish()
    assert str(broker.log.directory.path) == target
    assert folders(Path(target)) == ["t-0"]
    assert folders(former.directory.path)[0].endswith("-delete")
    assert broker.partition.log is broker.log.log
    assert broker.log.log.epochs() == [(3, 0)]
    assert broker.log.topic_id == former.topic_id
    broker.append(50)
    assert broker.read() == values(51)
    broker.rig.clock.now += 100
    broker.rig.manager.deletions.run()
    assert folders(former.directory.path) == []
    assert broker.rig.restart().get(T0).log.log_end_offset == 51  # type: ignore[union-attr]
    broker.rig.manager.shutdown()
    assert verify(Path(target), deep=True).problems == []


def test_appends_reads_and_waits_go_on_meanwhile(broker: Broker) -> None:
    """One thread appends, one reads, and the partition goes to and fro between two directories."""
    done, errors = threading.Event(), list[BaseException]()
    seen: list[bytes | None] = []
    sent = 0

    def write() -> None:
        nonlocal sent
        try:
            while not done.is_set():
                broker.append(sent)
                sent += 1
        except BaseException as error:
            errors.append(error)

    def read() -> None:
        try:
            while writer.is_alive() or len(seen) < sent:
                piece = broker.partition.read(len(seen), 5000, isolation="log_end").records
                for each in iter_batches(b"" if piece is None else piece.read()):
                    seen.extend(record.value for record in each.records() if record.offset >= len(seen))
        except BaseException as error:
            errors.append(error)

    writer, reader = threading.Thread(target=write), threading.Thread(target=read)
    for thread in (writer, reader):
        thread.start()
    places = [broker.log.directory]
    for _ in range(4):
        broker.rig.manager.begin_move(T0, broker.target)
        broker.finish()
        places.append(broker.log.directory)
    done.set()
    for thread in (writer, reader):
        thread.join(ENOUGH)
    assert errors == []
    assert all(before is not after for before, after in pairwise(places))
    assert seen == values(sent)
    assert [entry.last_sequence for entry in broker.log.log.producers()] == [sent - 1]


def test_a_waiter_at_the_old_log_is_woken_to_look_at_the_new_one(broker: Broker) -> None:
    from kafkax._core.notify import NotifyQueue

    queue, woken = NotifyQueue(), list[int]()
    assert broker.partition.wait("high_watermark", 1, queue, woken.append) is not None
    broker.rig.manager.begin_move(T0, broker.target)
    broker.finish()
    queue.dispatch()
    assert len(woken) == 1
    broker.append(0)
    broker.log.log.flush()
    assert broker.partition.wait("high_watermark", 1, queue, woken.append) is None
    assert broker.partition.committed(1, 3)


def test_a_restart_goes_on_with_what_the_copy_holds(broker: Broker) -> None:
    data = batch(b"k", value=os.urandom(19_000))
    for _ in range(3 * CHUNK // 19_000):
        broker.partition.append(data, acks=1, now_ms=NOW)
    broker.rig.manager.begin_move(T0, broker.target)
    assert broker.moves.step(T0) == 0
    copied = broker.rig.manager.future(T0).log.log_end_offset  # type: ignore[union-attr]
    assert 0 < copied < broker.log.log.log_end_offset
    former = broker.log.directory.path
    broker.rig.restart()
    broker.serve()
    assert broker.rig.manager.moving() == [T0]
    assert broker.rig.manager.future(T0).log.log_end_offset == copied  # type: ignore[union-attr]
    broker.moves.resume()
    deadline = threading.Event()
    for _ in range(1000):
        if broker.rig.manager.future(T0) is None:
            break
        deadline.wait(0.02)
    broker.moves.stop()
    assert broker.log.directory.path != former


def test_a_crash_between_the_two_renames_leaves_the_copy_to_be_the_log(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        broker.append(number)
    broker.rig.manager.begin_move(T0, broker.target)
    former = broker.log.directory.path
    monkeypatch.setattr("kafkax.storage.manager.sync_directory", lambda path: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        broker.finish()
    monkeypatch.undo()
    assert folders(former)[0].endswith("-delete")
    broker.rig.restart(clean=False)
    broker.serve()
    assert broker.rig.manager.moving() == []
    assert broker.log.directory.path != former
    assert broker.read() == values(5)


def test_what_the_log_lost_in_a_crash_goes_from_the_copy(broker: Broker) -> None:
    for number in range(5):
        broker.append(number)
    broker.rig.manager.begin_move(T0, broker.target)
    future = broker.rig.manager.future(T0)
    assert future is not None
    piece = broker.log.log.read(0, 5000)
    assert piece is not None
    future.log.append_follower(piece.read())
    broker.log.log.truncate(3)
    broker.rig.restart(clean=False)
    assert broker.rig.manager.future(T0).log.log_end_offset == 3  # type: ignore[union-attr]


def test_another_destination_gives_the_first_move_up(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 3)
    rig.open()
    rig.create("t")
    rig.manager.begin_move(T0, str(rig.dirs[1]))
    rig.manager.begin_move(T0, str(rig.dirs[2]))
    assert rig.manager.future(T0).directory.path == rig.dirs[2]  # type: ignore[union-attr]
    assert folders(rig.dirs[1])[0].endswith("-delete")
    assert not rig.manager.begin_move(T0, str(rig.dirs[0]))
    assert rig.manager.moving() == []


def test_what_cannot_be_moved(broker: Broker) -> None:
    manager = broker.rig.manager
    for partition, path, code in (
        (T0, "/elsewhere", ErrorCode.LOG_DIR_NOT_FOUND),
        (TopicPartition("t" * 249, 0), broker.target, ErrorCode.INVALID_TOPIC_EXCEPTION),
        (TopicPartition("later", 0), broker.target, ErrorCode.REPLICA_NOT_AVAILABLE),
    ):
        with pytest.raises(KafkaError) as error:
            manager.begin_move(partition, path)
        assert error.value.code is code
    assert str(broker.rig.create("later").directory.path) == broker.target
    manager.take_offline(manager.directories[1], "test")
    with pytest.raises(KafkaError) as error:
        manager.begin_move(T0, str(broker.rig.dirs[1]))
    assert error.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_move_keeps_to_its_rate_and_follows_a_new_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 2)
    rig.topics["t"] = {"segment.bytes": "100000000"}
    rig.open()
    broker = Broker.__new__(Broker)
    broker.rig, broker.hosted = rig, rig.create("t")
    broker.serve()
    for number in range(40):
        broker.partition.append(batch(b"k", value=b"%d" % number + b"x" * 500_000), acks=1, now_ms=NOW)
    set_rate = partial(rig.broker.set_dynamic, cluster={})
    set_rate(broker={"replica.alter.log.dirs.io.max.bytes.per.second": "1000000"})
    broker.rig.manager.begin_move(T0, broker.target)
    began = rig.clock.now
    while rig.clock.now < began + 10:
        wait = broker.moves.step(T0)
        assert wait is not None, "it cannot be done yet"
        rig.clock.now += wait
    future = rig.manager.future(T0)
    assert future is not None
    assert 0.9 < future.log.size / 10e6 < 1.2
    set_rate(broker={})
    assert broker.moves.step(T0) == 0.0
    broker.finish()
    assert rig.clock.now < began + 12
    assert broker.log.log.log_end_offset == 40
    assert rig.manager.future(T0) is None
