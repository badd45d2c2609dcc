"""Fetches of followers in the core: up to the log's end, progress noted, divergence told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Partition
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.fetch import FetchRequest, FetchResponse, PartitionData, ReplicaState
from tests.unit._core.topics import Topics, answer, ask, batch, encode, fetch, serving, values
from tests.unit._core.wire import Broker

EPOCH = 1
VERSIONS = [12, 14, 15, 17]


def led(topics: Topics, *, followers: tuple[int, ...] = (2,), joined: Callable[[int], object] = pytest.fail) -> Partition:
    """A partition that this broker (1) leads, with followers in sync, and one (9) that is not."""
    partition = topics.add("t", mark="external", in_sync=1 + len(followers))
    replicas = [*((follower, True) for follower in followers), (9, False)]
    partition.set_replicas(NotifyQueue(), joined, replicas, leader_epoch=EPOCH, epoch_start=0, lag_max_ms=0)
    return partition


def wanted(
    topics: Topics, offset: int, version: int = 17, *, replica: int = 2, last_epoch: int = EPOCH, epoch: int = 5, **fields: int
) -> FetchRequest:
    """What a follower asks for."""
    request = fetch(topics, {("t", 0): offset}, version, leader_epoch=EPOCH, **fields)
    request.topics[0].partitions[0].last_fetched_epoch = last_epoch
    if version >= 15:
        request.replica_state = ReplicaState(replica_id=replica, replica_epoch=epoch)
    else:
        request.replica_id = replica
    return request


def only(response: FetchResponse) -> PartitionData:
    assert response.error_code == 0
    return response.responses[0].partitions[0]


@contextmanager
def brokers(folder: Path) -> Iterator[tuple[Topics, Broker]]:
    with serving(folder, between_brokers=True) as (topics, broker):
        yield topics, broker
        assert broker.reactor.counters()["handed_over"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_follower_gets_what_is_not_committed_and_says_what_it_has(version: int, tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = led(topics)
        partition.append(batch(b"a", b"b"))
        client = broker.client()
        got = only(ask(client, wanted(topics, 0, version, last_epoch=-1), version, FetchResponse))
        assert values(got.records) == [b"a", b"b"]
        assert (got.error_code, got.high_watermark, got.diverging_epoch.end_offset) == (0, 0, -1)
        got = only(ask(client, wanted(topics, 2, version), version, FetchResponse))
        assert (bytes(got.records or b""), got.high_watermark) == (b"", 2)
        assert partition.high_watermark == 2
        assert partition.replicas()[0].broker_epoch == (5 if version >= 15 else -1)


def test_one_that_waits_hears_of_an_append_at_once(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = led(topics)
        client = broker.client()
        request = wanted(topics, 0, last_epoch=-1, max_wait_ms=60_000)
        client.send(encode(request, 17))
        time.sleep(0.05)
        partition.append(batch(b"a"))
        assert values(only(answer(client, request, 17, FetchResponse)).records) == [b"a"]


def test_where_the_logs_part_the_epoch_is_told_and_nothing_counts(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = led(topics)
        partition.append(batch(b"a"))
        client = broker.client()
        got = only(ask(client, wanted(topics, 1, last_epoch=0, max_wait_ms=60_000), 17, FetchResponse))
        assert (got.error_code, bytes(got.records or b"")) == (0, b"")
        assert (got.diverging_epoch.epoch, got.diverging_epoch.end_offset) == (0, 0)
        got = only(ask(client, wanted(topics, 5, max_wait_ms=60_000), 17, FetchResponse))
        assert (got.diverging_epoch.epoch, got.diverging_epoch.end_offset) == (EPOCH, 1)
        assert partition.replicas()[0].offset == -1
        got = only(ask(client, wanted(topics, 1, last_epoch=7, max_wait_ms=60_000), 17, FetchResponse))
        assert got.error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_who_is_no_replica_or_of_a_former_life_or_epoch_is_refused(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = led(topics)
        client = broker.client()
        assert only(ask(client, wanted(topics, 0, replica=3), 17, FetchResponse)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert only(ask(client, wanted(topics, 0, epoch=5), 17, FetchResponse)).error_code == 0
        assert only(ask(client, wanted(topics, 0, epoch=4), 17, FetchResponse)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        partition.become_leader(EPOCH + 1, in_sync=2, mark="external")
        assert only(ask(client, wanted(topics, 0), 17, FetchResponse)).error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_the_control_plane_hears_of_one_that_may_join(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        queue = NotifyQueue()
        joined: list[int] = []
        partition = topics.add("t", mark="external")
        partition.set_replicas(queue, joined.append, [(9, False)], leader_epoch=EPOCH, epoch_start=1, lag_max_ms=0)
        partition.append(batch(b"a"))
        client = broker.client()
        for offset in (0, 1):
            ask(client, wanted(topics, offset, replica=9, last_epoch=EPOCH if offset else -1), 17, FetchResponse)
        queue.dispatch()
        assert joined == [9], "only once it has reached the start of the leader's epoch"


def throttled(topics: Topics, queue: NotifyQueue, *, rate: int = 1000) -> Partition:
    """A partition with a follower in sync (2) and one that lags (9), both throttled, at a rate that is used up."""
    partition = topics.add("t", mark="external", in_sync=2)
    replicas = [(2, True), (9, False)]
    partition.set_replicas(queue, pytest.fail, replicas, leader_epoch=EPOCH, epoch_start=9, lag_max_ms=0, throttled=True)
    topics.quota.limit = rate
    topics.quota.record(100 * rate, int(time.monotonic() * 1000))
    return partition


def test_a_throttled_replica_that_lags_gets_nothing_but_the_marks_while_the_rate_is_used_up(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = throttled(topics, NotifyQueue())
        partition.append(batch(b"a"))
        began = time.monotonic()
        client = broker.client()
        got = only(ask(client, wanted(topics, 0, replica=9, last_epoch=-1, max_wait_ms=200), 17, FetchResponse))
        assert (got.error_code, bytes(got.records or b""), got.log_start_offset) == (0, b"", 0)
        assert time.monotonic() - began > 0.19, "it waits like one for which there is nothing"
        assert partition.replicas()[1].offset == 0, "its progress is noted all the same"
        topics.quota.limit = 1 << 40
        got = only(ask(client, wanted(topics, 0, replica=9, last_epoch=-1), 17, FetchResponse))
        assert values(got.records) == [b"a"]


def test_a_throttled_replica_in_sync_gets_everything_and_it_counts(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = throttled(topics, NotifyQueue())
        partition.append(batch(b"x" * 5000))
        client = broker.client()
        topics.quota.limit = 1 << 40
        assert topics.quota.wait_ms(int(time.monotonic() * 1000)) == 0
        got = only(ask(client, wanted(topics, 0, last_epoch=-1), 17, FetchResponse))
        assert values(got.records) == [b"x" * 5000]
        topics.quota.limit = 1000
        assert topics.quota.wait_ms(int(time.monotonic() * 1000)) > 0
        got = only(ask(client, wanted(topics, 0, last_epoch=-1), 17, FetchResponse))
        assert values(got.records) == [b"x" * 5000]


def test_what_lags_and_is_not_throttled_is_neither_held_back_nor_counted(tmp_path: Path) -> None:
    with brokers(tmp_path) as (topics, broker):
        partition = led(topics)
        partition.append(batch(b"x" * 5000))
        topics.quota.limit = 1000
        client = broker.client()
        for _ in range(3):
            got = only(ask(client, wanted(topics, 0, replica=9, last_epoch=-1), 17, FetchResponse))
            assert values(got.records) == [b"x" * 5000]
        assert topics.quota.wait_ms(int(time.monotonic() * 1000)) == 0
        partition.set_replicas(
            NotifyQueue(), pytest.fail, [(9, False)], leader_epoch=EPOCH, epoch_start=9, lag_max_ms=0, throttled=True
        )
        ask(client, wanted(topics, 0, replica=9, last_epoch=-1), 17, FetchResponse)
        assert topics.quota.wait_ms(int(time.monotonic() * 1000)) > 0
