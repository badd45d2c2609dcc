from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import kafkax
from kafkax._core.assigned import Assigned
from kafkax.client.types import OFFSET_BEGINNING, OFFSET_END
from kafkax.config import ConfigError
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from kafkax.protocol.messages.metadata import MetadataResponseTopic
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.protocol.schema import ZERO_UUID
from tests.unit.client.fake import CLOSE, FETCH, METADATA, TOPIC_ID, FakeBroker


@pytest.fixture
def full() -> Iterator[FakeBroker]:
    """A broker with ten batches of ten records, one compression after the other."""
    made = FakeBroker(partitions=2)
    codecs = ("none", "gzip", "snappy", "lz4", "zstd") * 2
    for index, codec in enumerate(codecs):
        records = [Record(b"k", b"%d" % (10 * index + n), [("h", b"x")], 1000 + n) for n in range(10)]
        made.append(0, build_batch(records, compression=codec))
    yield made
    made.close()


def consumer(broker: FakeBroker, **config: Any) -> kafkax.Consumer:
    return kafkax.Consumer({"bootstrap.servers": broker.address, "fetch.wait.max.ms": 10, "retry.backoff.ms": 5, **config})


def at(offset: int) -> list[kafkax.TopicPartition]:
    return [kafkax.TopicPartition("t", 0, offset)]


def test_poll_gives_every_record_in_order(full: FakeBroker) -> None:
    with consumer(full) as c:
        c.assign(at(OFFSET_BEGINNING))
        found = [c.poll(30) for _ in range(100)]
        assert [m.value() for m in found if m] == [b"%d" % n for n in range(100)]
        first = found[0]
        assert first is not None
        assert (first.topic(), first.partition(), first.offset(), first.key(), first.headers()) == (
            "t",
            0,
            0,
            b"k",
            [("h", b"x")],
        )
        assert first.timestamp() == (1, 1000)
        assert c.poll(0.05) is None
        assert c.position(at(0))[0].offset == 100


def test_a_topic_that_comes_after_the_first_questions_is_read(full: FakeBroker) -> None:
    asked = 0

    def late(request: Any, default: Any) -> Any:
        nonlocal asked
        asked += 1
        answer = default()
        if asked <= 5:
            answer.topics = [MetadataResponseTopic(name="t", error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]
        return answer

    full.handlers[METADATA] = late
    with consumer(full, **{"retry.backoff.max.ms": 20}) as c:
        c.assign(at(0))
        found = c.poll(30)
        assert found is not None
        assert found.offset() == 0
        asked = 100
        time.sleep(0.3)
        assert asked == 100, "what is known is not asked for again and again"


def test_a_fetch_in_the_middle_of_a_batch_skips_what_is_not_wanted(full: FakeBroker) -> None:
    with consumer(full) as c:
        c.assign(at(37))
        assert [m.offset() for m in c.consume(5, 30)] == [37, 38, 39, 40, 41]


def test_partitions_come_and_go_one_by_one(full: FakeBroker) -> None:
    full.append(1, build_batch([Record(b"k", b"other %d" % n) for n in range(5)]))
    with consumer(full) as c:
        c.assign(at(0))
        assert [m.offset() for m in c.consume(15, 30)] == list(range(15))
        c.incremental_assign([kafkax.TopicPartition("t", 1, 3)])
        assert {each.key for each in c.assignment()} == {("t", 0), ("t", 1)}
        rest = c.consume(87, 30)
        assert [m.offset() for m in rest if m.partition() == 0] == list(range(15, 100))
        assert [m.value() for m in rest if m.partition() == 1] == [b"other 3", b"other 4"]
        c.incremental_unassign(at(0))
        assert [each.key for each in c.assignment()] == [("t", 1)]
        full.append(0, build_batch([Record(b"k", b"unseen")]))
        full.append(1, build_batch([Record(b"k", b"seen")]))
        assert [m.value() for m in c.consume(1, 30)] == [b"seen"]
        assert c.poll(0.3) is None
        with pytest.raises(KafkaError, match="t-0 is not assigned"):
            c.incremental_unassign(at(0))


def test_seek_drops_what_was_fetched(full: FakeBroker) -> None:
    with consumer(full) as c:
        c.assign(at(0))
        assert len(c.consume(15, 30)) == 15
        c.seek(kafkax.TopicPartition("t", 0, 3))
        assert [m.offset() for m in c.consume(2, 30)] == [3, 4]


def test_pause_and_resume(full: FakeBroker) -> None:
    with consumer(full) as c:
        c.assign(at(0))
        assert len(c.consume(5, 30)) == 5
        c.pause(at(0))
        assert c.poll(0.1) is None
        c.resume(at(0))
        assert [m.offset() for m in c.consume(3, 30)] == [5, 6, 7]


def test_batches_as_columns(full: FakeBroker) -> None:
    with consumer(full) as c:
        c.assign(at(25))
        batch = next(c.batches(5))
        columns = batch.columns()
        assert columns.rows == 5
        assert memoryview(columns.offsets).cast("q").tolist() == [25, 26, 27, 28, 29]
        assert memoryview(columns.timestamps).cast("q").tolist() == [1005, 1006, 1007, 1008, 1009]
        assert (columns.keys, columns.values) == (b"kkkkk", b"2526272829")


def test_a_partition_without_news_does_not_hold_up_the_others(full: FakeBroker) -> None:
    full.append(0, build_batch([Record(None, b"x" * 5000, (), 5)]))
    waits: list[int] = []

    def note(request: Any, default: Any) -> Any:
        waits.append(request.max_wait_ms)
        return default()

    full.handlers[FETCH] = note
    with consumer(full, **{"fetch.wait.max.ms": 400, "max.partition.fetch.bytes": 10}) as c:
        state, idle = (Assigned(("t", number), 0, ZERO_UUID) for number in range(2))
        c._fetcher.assigned.update({state.key: state, idle.key: idle})
        idle.place(0)
        idle.high_watermark = idle.last_stable_offset = 0
        state.place(0)
        state.queued = 100
        c._cluster.watched.add("t")
        c._io.call(c._cluster.refresh_soon)
        end = time.monotonic() + 30
        while len(waits) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    assert waits[:3] == [0, 0, 0]


def test_latest_waits_for_what_comes(full: FakeBroker) -> None:
    with consumer(full) as c:
        c.assign(at(OFFSET_END))
        while "Fetch" not in full.seen:
            assert c.poll(0.2) is None
        full.append(0, build_batch([Record(None, b"new", (), 5)]))
        message = c.poll(30)
        assert message is not None
        assert (message.offset(), message.value()) == (100, b"new")


def test_the_end_of_a_partition_is_an_event_if_wanted(full: FakeBroker) -> None:
    with consumer(full, **{"enable.partition.eof": True}) as c:
        c.assign(at(99))
        found = [c.poll(30), c.poll(30)]
        assert [m and m.error() is None for m in found] == [True, False]


def test_lost_connections_lose_nothing(full: FakeBroker) -> None:
    asked = 0

    def lossy(request: Any, default: Any) -> Any:
        nonlocal asked
        asked += 1
        return CLOSE if asked % 2 else default()

    full.handlers[FETCH] = lossy
    with consumer(full, **{"reconnect.backoff.ms": 1, "max.partition.fetch.bytes": 200}) as c:
        c.assign(at(0))
        assert [m.offset() for m in c.consume(100, 30)] == list(range(100))


@pytest.mark.parametrize("damage", [b"\xff" * 70, b"\0" * 11 + b"\x31" + b"\0" * 58])
def test_damaged_batches_are_an_error_not_a_crash(full: FakeBroker, damage: bytes) -> None:
    data = PartitionData(partition_index=0, high_watermark=9, records=damage)
    answer = FetchResponse(responses=[FetchableTopicResponse(topic_id=TOPIC_ID, partitions=[data])])
    full.handlers[FETCH] = lambda request, default: answer
    with consumer(full) as c:
        c.assign(at(0))
        with pytest.raises(KafkaError) as error:
            c.poll(30)
    assert error.value.code in (ErrorCode.CORRUPT_MESSAGE, ErrorCode.INVALID_RECORD)


def test_records_that_do_not_fit_their_batch_are_an_error(full: FakeBroker) -> None:
    broken = bytearray(build_batch([Record(b"k", b"v" * 20, (), 1)]))
    broken[61] = 0x7F
    full.logs[0][:] = [bytes(broken)]
    with consumer(full) as c:
        c.assign(at(0))
        for _ in range(2):
            with pytest.raises(KafkaError) as error:
                c.poll(30)
            assert error.value.code is ErrorCode.INVALID_RECORD
        c.seek(kafkax.TopicPartition("t", 0, 1))
        assert c.poll(0.05) is None


def test_groups_need_a_group_id(full: FakeBroker) -> None:
    with consumer(full) as c, pytest.raises(ConfigError, match=r"group\.id is not set"):
        c.subscribe(["t"])


def test_close_is_quick(full: FakeBroker) -> None:
    c = consumer(full)
    c.assign(at(0))
    c.poll(30)
    begin = time.monotonic()
    c.close()
    assert time.monotonic() - begin < 20
    with pytest.raises(RuntimeError, match="closed"):
        c.poll(0)
