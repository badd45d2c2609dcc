"""What is fetched, and how that is asked for: the same as the schema says."""

from __future__ import annotations

import uuid

import pytest

from kafkax._core.assigned import Assigned, Exchange, FetchForm, plain_batches, wanted
from kafkax.client.batch import Batch
from kafkax.client.metadata import PartitionMetadata, TopicMetadata
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch, iter_batches

IDS = {name: uuid.uuid4() for name in ("a", "b")}
PARTITIONS = {n: PartitionMetadata(n, 1, [1], [1], 7 + n, [], None) for n in range(3)}
TOPICS = {name: TopicMetadata(name, PARTITIONS, None, id, False, id.bytes) for name, id in IDS.items()}


@pytest.mark.parametrize("version", [13, 14, 15, 16, 17])
@pytest.mark.parametrize("rack", ["", "r" * 200])
@pytest.mark.parametrize("sent", [{}, {("a", 0): 5, ("b", 2): 1}, {("a", 0): 5, ("a", 1): 6, ("b", 2): 9}])
def test_a_form_writes_what_the_schema_writes(version: int, rack: str, sent: dict[tuple[str, int], int]) -> None:
    offsets = {("a", 0): 5, ("a", 1): 6, ("b", 2): 1 << 40}
    topics = []
    for name in ("a", "b"):
        changed = [(n, offset) for (topic, n), offset in offsets.items() if topic == name and sent.get((topic, n)) != offset]
        parts = [
            FetchPartition(partition=n, current_leader_epoch=7 + n, fetch_offset=offset, partition_max_bytes=99)
            for n, offset in changed
        ]
        if parts:
            topics.append(FetchTopic(topic_id=IDS[name], partitions=parts))
    request = FetchRequest(
        max_wait_ms=500,
        min_bytes=1,
        max_bytes=1000,
        isolation_level=1,
        session_id=3,
        session_epoch=4,
        rack_id=rack,
        topics=topics,
    )
    assert FetchForm(1, 1000, 99, 1, rack).body(version, 500, 3, 4, sent, offsets, TOPICS) == request.encode(version)


def test_what_must_be_forgotten_is_left_to_the_schema() -> None:
    assert FetchForm(1, 1000, 99, 0, "").body(15, 500, 3, 4, {("a", 0): 5, ("b", 0): 1}, {("a", 0): 5}, TOPICS) is None


def test_room_and_sources_decide_what_is_fetched() -> None:
    states = {("a", n): Assigned(("a", n), 0, IDS["a"]) for n in range(5)}
    lost, paused, full, good, leaderless = states.values()
    for state in (paused, full, good, leaderless):
        state.place(10)
    paused.paused = True
    full.queued = 100
    asked: list[Assigned] = []

    def source(state: Assigned) -> int:
        asked.append(state)
        return -1 if state is leaderless else 1 if state is good else 2

    unplaced: list[Assigned] = []
    assert wanted(states, 1, 1000, 100, source, unplaced.append) == ({1: {good.key: good}}, {2})
    assert unplaced == [lost]
    assert asked == [full, good, leaderless]
    wanted(states, 1, 1000, 100, source, unplaced.append)
    assert asked[3:] == [leaderless]
    good.preferred = (5, 1.0)
    wanted(states, 1, 1000, 100, source, unplaced.append)
    assert asked[4:] == [good, leaderless]
    wanted(states, 2, 1000, 100, source, unplaced.append)
    assert asked[6:] == [full, good, leaderless]
    exchange = Exchange(None, None, 13, {good.key: good})
    good.place(20)
    assert (exchange.epochs, exchange.offsets) == ({good.key: good.epoch - 1}, {good.key: 10})


def test_plain_batches_are_those_that_are_told_apart_otherwise_at_every_cut() -> None:
    data = b"".join(build_batch([Record(value=b"v%d" % at)] * 3, base_offset=at) for at in (4, 7, 10))
    for size in range(len(data) + 1):
        cut = memoryview(data[:size])
        slow = list(iter_batches(cut))
        fast = plain_batches(cut, "a", 0, 5, Batch)
        if not slow:
            assert fast is None
            continue
        assert fast is not None
        batches, following, count = fast
        assert [each.base_offset for each in batches] == [each.base_offset for each in slow]
        assert (following, count) == (slow[-1].next_offset, 3 * len(slow))
        assert next(m.offset() for batch in batches for m in batch) == 5


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"control": True}])
def test_unusual_batches_are_not_plain(options: dict[str, object]) -> None:
    data = build_batch([Record(key=b"\0\0\0\1", value=b"\0" * 6)], **options)  # type: ignore[arg-type]
    assert plain_batches(memoryview(data), "a", 0, 0, Batch) is None
    old = bytearray(build_batch([Record(value=b"v")]))
    old[16] = 1
    assert plain_batches(memoryview(old), "a", 0, 0, Batch) is None
