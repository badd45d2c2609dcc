"""The coordinator runtime: what is replayed, what is appended, and when answers leave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from kafkax._core.batch_writer import BatchWriter
from kafkax.coordinator.batches import Entry, finish_batch, read_batches
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import CoordinatorRuntime, Producer, Result, RuntimeSettings
from kafkax.coordinator.timers import KeyedTimers
from kafkax.coordinator.undo import UndoDict, UndoLog
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.virtual import MemoryTopic, VirtualTime

Pair = tuple[str, str | None]


class Kept:
    """A pair that is its own record and waits for itself."""

    size = 100

    def __init__(self, key: str, value: str) -> None:
        self.pair = key, value
        self.told: list[KafkaError | None] = []

    def write(self, batch: BatchWriter) -> None:
        batch.add(self.pair[0].encode(), self.pair[1].encode())

    def settle(self, error: KafkaError | None) -> None:
        self.told.append(error)

    undone = settle


class Words:
    """A shard that remembers pairs of words."""

    def __init__(self, timers: KeyedTimers, undo: UndoLog) -> None:
        self.timers = timers
        self.words: UndoDict[str, str] = UndoDict(undo)
        self.open: dict[int, list[Pair]] = {}
        self.is_loaded = self.is_unloaded = False

    def encode(self, record: Pair) -> Entry:
        key, value = record
        return key.encode(), None if value is None else value.encode()

    def replay(self, record: Pair, producer: Producer | None) -> None:
        key, value = record
        if value == "bad":
            raise ValueError("a record that cannot be applied")
        if producer is not None:
            self.open.setdefault(producer.id, []).append(record)
        elif value is None:
            self.words.pop(key)
        else:
            self.words[key] = value

    def keep(self, block: Kept) -> bool:
        if block.pair[1] == "refused":
            return False
        self.replay(block.pair, None)
        return True

    def load(self, entries: Iterable[Entry], producer: Producer | None) -> None:
        for key, value in entries:
            self.replay((key.decode(), None if value is None else value.decode()), producer)

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        for record in self.open.pop(producer_id, []):
            if commit:
                self.replay(record, None)

    def catch_up(self, batches: bytes) -> None:
        for batch in read_batches(batches):
            for key, value in batch.entries:
                assert value is not None
                dict.__setitem__(self.words, key.decode(), value.decode())

    def load_plain(self, piece: bytes, position: int) -> int:
        return position

    def loaded(self) -> None:
        self.is_loaded = True

    def unloaded(self) -> None:
        self.is_unloaded = True


def put(*pairs: Pair, response: str = "done", **more: object):
    """An operation that writes pairs."""
    return lambda shard: Result(list(pairs), response, **more)


def code(promise: Promise) -> ErrorCode:
    """The code that a promise failed with."""
    assert isinstance(promise.error, KafkaError)
    return promise.error.code


class Lane:
    """A lane by which a test appends pairs past the runtime."""

    def __init__(self, topic: MemoryTopic) -> None:
        self.topic = topic
        self.open_ = self.halted = False
        self.taken = b""
        self.end = 0

    def open(self, index: int) -> None:
        self.open_ = True

    def shut(self, index: int) -> None:
        self.open_ = self.halted = False

    def halt(self, index: int) -> tuple[bytes, int]:
        self.halted = True
        return self.take(index)

    def resume(self, index: int) -> None:
        self.halted = False

    def take(self, index: int) -> tuple[bytes, int]:
        taken, self.taken = self.taken, b""
        return taken, self.end

    def put(self, key: str, value: str) -> None:
        assert self.open_
        assert not self.halted
        writer = BatchWriter()
        writer.add(key.encode(), value.encode())
        batch = finish_batch(writer, 0)
        self.end = self.topic.append(0, batch)
        self.taken += batch


class World:
    """A runtime over one partition that leads already."""

    def __init__(self, **limits: int) -> None:
        self.time = VirtualTime()
        self.topic = MemoryTopic(self.time)
        self.limits = RuntimeSettings(**limits)
        self.lane = Lane(self.topic)
        self.start()

    def start(self) -> None:
        make = lambda _, timers, undo: Words(timers, undo)  # noqa: E731
        self.runtime = CoordinatorRuntime(make, self.topic, self.topic, self.time, self.time, self.limits, self.lane)
        self.runtime.load(0, 0)
        self.time.run()

    @property
    def words(self) -> dict[str, str]:
        return dict(self.runtime.shard(0).words)


@pytest.fixture
def world() -> World:
    return World()


def test_an_answer_leaves_when_its_records_are_committed(world: World) -> None:
    world.topic.commit_delay_ms = lambda: 10
    promise = world.runtime.write(0, put(("a", "1")))
    world.time.run(9)
    assert not promise.done
    world.time.run(2)
    assert promise.result() == "done"


def test_the_next_operation_sees_what_is_not_yet_committed(world: World) -> None:
    world.topic.stalled = True
    world.runtime.write(0, put(("a", "1")))
    seen = []
    world.runtime.write(0, lambda shard: seen.append(shard.words["a"]) or Result([], None))
    assert seen == ["1"]


def test_operations_that_come_together_make_one_batch(world: World) -> None:
    promises = [world.runtime.write(0, put((str(n), "x"))) for n in range(100)]
    world.time.run()
    assert len(world.topic.batches[0]) == 1
    assert all(promise.result() == "done" for promise in promises)


def test_a_batch_never_exceeds_what_the_topic_takes() -> None:
    world = World(max_batch_bytes=300)
    for n in range(20):
        world.runtime.write(0, put((str(n), "x" * 50)))
    world.time.run()
    assert len(world.topic.batches[0]) > 3
    assert all(len(batch) <= 300 + 61 for _, batch in world.topic.batches[0])
    assert len(world.words) == 20


def test_records_that_never_fit_are_refused_and_leave_no_trace() -> None:
    world = World(max_batch_bytes=100)
    told = []
    promise = world.runtime.write(0, put(("a", "x" * 200), on_commit=told.append))
    assert code(promise) is ErrorCode.RECORD_LIST_TOO_LARGE
    assert told == [promise.error]
    assert world.words == {}


def test_a_read_waits_for_what_it_may_have_seen(world: World) -> None:
    world.topic.commit_delay_ms = lambda: 10
    world.runtime.write(0, put(("a", "1")))
    before_append = world.runtime.read(0, lambda shard: shard.words["a"])
    world.time.run(5)
    after_append = world.runtime.read(0, lambda shard: shard.words["a"])
    assert not before_append.done
    assert not after_append.done
    world.time.run(6)
    assert (before_append.result(), after_append.result()) == ("1", "1")
    assert world.runtime.read(0, lambda shard: shard.words["a"]).result() == "1"


def test_a_refused_operation_answers_at_once_and_changes_nothing(world: World) -> None:
    def refuse(shard: Words) -> Result[None]:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "no")

    assert code(world.runtime.write(0, refuse)) is ErrorCode.INVALID_REQUEST
    assert world.topic.batches == {}


def test_an_operation_that_breaks_is_an_unknown_server_error(world: World) -> None:
    assert code(world.runtime.write(0, lambda shard: 1 / 0)) is ErrorCode.UNKNOWN_SERVER_ERROR


def test_replay_that_breaks_halfway_is_taken_back(world: World) -> None:
    promise = world.runtime.write(0, put(("a", "1"), ("b", "bad")))
    assert code(promise) is ErrorCode.UNKNOWN_SERVER_ERROR
    world.time.run()
    assert world.words == {}
    assert world.topic.batches == {}


def test_a_failed_append_takes_the_whole_batch_back(world: World) -> None:
    world.runtime.write(0, put(("a", "1"), ("b", "1")))
    world.time.run()
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    told = []
    first = world.runtime.write(0, put(("a", "2"), ("c", "2")))
    second = world.runtime.write(0, put(("b", None), on_commit=told.append))
    third = world.runtime.write(0, put(("a", None)))
    assert world.words == {"c": "2"}
    world.time.run()
    assert [code(promise) for promise in (first, second, third)] == [ErrorCode.NOT_ENOUGH_REPLICAS] * 3
    assert told == [second.error]
    assert world.words == {"a": "1", "b": "1"}


def test_after_a_failed_append_the_shard_goes_on(world: World) -> None:
    codes = iter([ErrorCode.KAFKA_STORAGE_ERROR, None])
    world.topic.fail_append = lambda: next(codes)
    world.runtime.write(0, put(("a", "1")))
    world.time.run()
    world.runtime.write(0, put(("b", "1")))
    world.time.run()
    assert world.words == {"b": "1"}


def test_an_answer_does_not_wait_for_ever_but_the_records_stay(world: World) -> None:
    world.topic.stalled = True
    promise = world.runtime.write(0, put(("a", "1")))
    late = None
    world.time.run(3_000)
    late = world.runtime.write(0, put(("b", "1")))
    world.time.run(2_001)
    assert code(promise) is ErrorCode.REQUEST_TIMED_OUT
    assert not late.done
    world.time.run(3_000)
    assert code(late) is ErrorCode.REQUEST_TIMED_OUT
    world.topic.resume()
    assert world.words == {"a": "1", "b": "1"}
    assert world.runtime.read(0, lambda shard: len(shard.words)).result() == 2


def test_records_the_shard_applied_itself_are_not_replayed(world: World) -> None:
    world.runtime.write(0, put(("a", "1"), replay=False))
    world.time.run()
    assert world.words == {}
    assert len(world.topic.batches[0]) == 1


def test_a_partition_not_led_here_is_not_served(world: World) -> None:
    assert code(world.runtime.write(7, put(("a", "1")))) is ErrorCode.NOT_COORDINATOR


def test_while_the_log_is_replayed_operations_are_told_so(world: World) -> None:
    loading = world.runtime.load(1, 0)
    assert code(world.runtime.write(1, put(("a", "1")))) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.runtime.loading() == [1]
    world.time.run()
    assert loading.done
    assert world.runtime.active() == [0, 1]


def test_loading_replays_the_log_in_order(world: World) -> None:
    for pair in [("a", "1"), ("b", "1"), ("a", "2"), ("b", None)]:
        world.runtime.write(0, put(pair))
        world.time.run()
    world.start()
    assert world.words == {"a": "2"}
    assert world.runtime.shard(0).is_loaded


def test_a_log_that_cannot_be_read_is_not_served(world: World) -> None:
    world.topic.batches[3] = [(1, b"\0" * 80)]
    loading = world.runtime.load(3, 0)
    world.time.run()
    assert loading.error is not None
    assert code(world.runtime.write(3, put(("a", "1")))) is ErrorCode.NOT_COORDINATOR
    world.topic.batches[3] = []
    world.runtime.load(3, 1)
    world.time.run()
    assert 3 in world.runtime.active()


def test_an_unload_answers_who_waits_and_stops_the_timers(world: World) -> None:
    world.topic.stalled = True
    appended = world.runtime.write(0, put(("a", "1")))
    world.time.run()
    gathered = world.runtime.write(0, put(("b", "1")))
    fired = []
    shard = world.runtime.shard(0)
    shard.timers.set("t", 10, lambda _: fired.append(1) or Result([], None))
    world.runtime.unload(0)
    world.time.run(100)
    assert code(appended) is ErrorCode.NOT_COORDINATOR
    assert code(gathered) is ErrorCode.NOT_COORDINATOR
    assert shard.is_unloaded
    assert fired == []
    assert len(world.topic.batches[0]) == 1


def test_an_old_epoch_neither_loads_nor_unloads(world: World) -> None:
    world.runtime.load(2, 5)
    world.time.run()
    world.runtime.unload(2, 4)
    assert 2 in world.runtime.active()
    world.runtime.write(2, put(("a", "1")))
    world.runtime.load(2, 6)
    world.time.run()
    assert world.runtime.shard(2).words == {"a": "1"}
    world.runtime.unload(2, 6)
    assert world.runtime.active() == [0]


def test_leadership_that_goes_during_the_load_fails_it(world: World) -> None:
    loading = world.runtime.load(1, 0)
    world.runtime.unload(1, 0)
    world.time.run()
    assert code(loading) is ErrorCode.NOT_COORDINATOR


def test_transactional_records_count_after_the_commit_marker(world: World) -> None:
    producer = Producer(9, 0)
    world.runtime.write(0, put(("plain", "1")))
    world.runtime.write(0, put(("a", "1")), producer)
    world.runtime.write(0, put(("b", "1")), Producer(10, 0))
    world.time.run()
    assert world.words == {"plain": "1"}
    world.runtime.end_transaction(0, producer, 1, commit=True)
    world.runtime.end_transaction(0, Producer(10, 0), 1, commit=False)
    world.time.run()
    assert world.words == {"plain": "1", "a": "1"}
    kinds = [(b.transactional, b.producer_id, b.marker) for _, data in world.topic.batches[0] for b in read_batches(data)]
    assert kinds == [(False, -1, None), (True, 9, None), (True, 10, None), (True, 9, True), (True, 10, False)]
    world.start()
    assert world.words == {"plain": "1", "a": "1"}


def test_a_timer_is_an_operation(world: World) -> None:
    shard = world.runtime.shard(0)
    shard.timers.set("t", 50, put(("a", "1")))
    world.time.run(49)
    assert world.words == {}
    world.time.run(2)
    assert world.words == {"a": "1"}


async def test_a_promise_can_be_awaited(world: World) -> None:
    promise = world.runtime.write(0, put(("a", "1")))
    world.time.run()
    assert await promise == "done"
    later: Promise[int] = Promise()


    asyncio.get_running_loop().call_soon(later.resolve, 3)
    assert await later == 3


def test_an_operation_that_follows_a_full_batch_which_fails_fails_with_it() -> None:
    world = World(max_batch_bytes=200)
    world.topic.fail_append = lambda: ErrorCode.KAFKA_STORAGE_ERROR
    first = world.runtime.write(0, put(("a", "x" * 100)))
    second = world.runtime.write(0, put(("b", "x" * 100)))
    assert [code(first), code(second)] == [ErrorCode.KAFKA_STORAGE_ERROR] * 2
    assert world.words == {}
    world.topic.fail_append = lambda: None
    world.time.run()
    assert world.topic.batches == {}


def test_a_full_batch_that_was_appended_is_not_taken_back_with_the_next() -> None:
    world = World(max_batch_bytes=200)
    codes = iter([None, ErrorCode.KAFKA_STORAGE_ERROR])
    world.topic.fail_append = lambda: next(codes)
    world.runtime.write(0, put(("a", "x" * 100)))
    world.runtime.write(0, put(("b", "x" * 100)))
    world.time.run()
    assert set(world.words) == {"a"}


def test_what_a_shard_changed_itself_is_taken_back_when_its_operation_fails(world: World) -> None:
    def operation(shard: Words) -> Result[None]:
        shard.replay(("a", "1"), None)
        raise KafkaError(ErrorCode.INVALID_REQUEST, "changed its mind")

    world.runtime.write(0, operation)
    assert world.words == {}


def test_what_is_its_own_record_is_told_when_it_is_committed(world: World) -> None:
    kept = [Kept("a", "1"), Kept("b", "1")]
    assert [world.runtime.keep(0, each) for each in kept] == [True, True]
    assert not world.runtime.keep(0, Kept("c", "refused"))
    assert not world.runtime.keep(7, Kept("d", "1")), "this broker does not lead that partition"
    assert [each.told for each in kept] == [[], []]
    world.time.run()
    assert [each.told for each in kept] == [[None], [None]]
    assert len(world.topic.batches[0]) == 1, "they go into one batch"


def test_what_is_its_own_record_and_was_not_appended_is_taken_back(world: World) -> None:
    kept = Kept("a", "1")
    world.topic.fail_append = lambda: ErrorCode.KAFKA_STORAGE_ERROR
    assert world.runtime.keep(0, kept)
    assert world.runtime.shard(0).words == {"a": "1"}
    world.time.run()
    assert [error.code for error in kept.told if error] == [ErrorCode.KAFKA_STORAGE_ERROR]
    assert world.runtime.shard(0).words == {}


# -- what reaches the log past the runtime --------------------------------------------------------------------------------


def test_a_lane_is_open_while_its_shard_serves(world: World) -> None:
    assert world.lane.open_
    world.runtime.unload(0)
    assert not world.lane.open_
    world.runtime.load(0, 1)
    assert not world.lane.open_
    world.time.run()
    assert world.lane.open_


def test_an_operation_sees_what_a_lane_has_appended(world: World) -> None:
    world.lane.put("a", "1")
    read = world.runtime.read(0, lambda shard: dict(shard.words))
    world.time.run()
    assert read.result() == {"a": "1"}
    world.lane.put("a", "2")
    seen: list[str] = []
    world.runtime.write(0, lambda shard: seen.append(shard.words["a"]) or Result([], None))
    assert seen == ["2"]
    world.lane.put("a", "3")
    world.runtime.catch_up(0)
    world.runtime.catch_up(1)
    assert world.words == {"a": "3"}


def test_a_lane_is_halted_from_an_operation_until_its_records_are_appended(world: World) -> None:
    during: list[bool] = []

    def operation(shard: Words) -> Result[None]:
        during.append(world.lane.halted)
        return Result([("a", "1")], None)

    world.runtime.write(0, operation)
    assert (during, world.lane.halted, world.topic.end_offset(0)) == ([True], True, 0)
    world.time.run()
    assert (world.lane.halted, world.topic.end_offset(0)) == (False, 1)


@pytest.mark.parametrize("how", ["nothing", "refused", "failed", "kept", "not kept", "marker", "lost append", "read"])
def test_a_lane_goes_on_after_whatever_an_operation_does(world: World, how: str) -> None:
    runtime = world.runtime
    if how == "nothing":
        runtime.write(0, put())
    elif how == "refused":
        runtime.write(0, put(("a", "bad")))
    elif how == "failed":
        runtime.write(0, lambda _: 1 / 0)
    elif how == "kept":
        runtime.keep(0, Kept("a", "1"))
    elif how == "not kept":
        runtime.keep(0, Kept("a", "refused"))
    elif how == "marker":
        runtime.end_transaction(0, Producer(1, 0), 0, commit=True)
    elif how == "lost append":
        world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
        runtime.write(0, put(("a", "1")))
    else:
        runtime.read(0, lambda _: None)
    assert world.lane.halted == (how in ("kept", "lost append"))
    world.time.run()
    assert not world.lane.halted
    if how == "lost append":
        assert world.words == {}


def test_a_look_waits_for_what_a_lane_has_appended(world: World) -> None:
    world.topic.commit_delay_ms = lambda: 10
    world.lane.put("a", "1")
    read = world.runtime.read(0, lambda shard: shard.words["a"])
    nothing = world.runtime.write(0, put())
    world.time.run(9)
    assert (read.done, nothing.done) == (False, False)
    world.time.run(2)
    assert (read.result(), nothing.result()) == ("1", "done")


def test_what_a_lane_has_appended_is_not_undone(world: World) -> None:
    world.lane.put("a", "1")
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    world.runtime.write(0, put(("a", "2"), ("b", "2")))
    world.time.run()
    assert world.words == {"a": "1"}
