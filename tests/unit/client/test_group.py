from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kafkax
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.heartbeat import HeartbeatResponse
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.unit.client.fake_coordinator import HEARTBEAT, OFFSET_COMMIT, FakeCoordinator

SETTINGS: dict[str, Any] = {
    "group.id": "g",
    "auto.offset.reset": "earliest",
    "heartbeat.interval.ms": 20,
    "fetch.wait.max.ms": 10,
    "retry.backoff.ms": 5,
}


@pytest.fixture
def broker() -> Iterator[FakeCoordinator]:
    """A partition of ten batches of ten records, and the coordinator of groups of one member."""
    made = FakeCoordinator()
    for batch in range(10):
        made.append(0, build_batch([Record(None, b"%d" % (10 * batch + n), [], 1000) for n in range(10)]))
    yield made
    made.close()


def rebalance(broker: FakeCoordinator) -> None:
    """Have the member join again at its next heartbeat."""
    generation = broker.generation

    def answer(_: Any, default: Callable[[], Any]) -> Any:
        code = ErrorCode.REBALANCE_IN_PROGRESS
        return HeartbeatResponse(error_code=code) if broker.generation == generation else default()

    broker.handlers[HEARTBEAT] = answer


def by_poll(consumer: kafkax.Consumer, timeout: float) -> list[bytes | None]:
    message = consumer.poll(timeout)
    return [] if message is None else [message.value()]


def by_batch(consumer: kafkax.Consumer, timeout: float) -> list[bytes | None]:
    batch = next(consumer.batches(timeout), None)
    return [] if batch is None else [message.value() for message in batch]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("read", [by_poll, by_batch])
def test_nothing_is_handed_out_between_a_commit_and_the_rebalance_it_is_for(
    read: Callable[[kafkax.Consumer, float], list[bytes | None]], told: bool, broker: FakeCoordinator
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(_: Any, default: Callable[[], Any]) -> Any:
        asked.set()
        assert go_on.wait(30)
        return default()

    revoked: list[list[kafkax.TopicPartition]] = []
    with kafkax.Consumer({"bootstrap.servers": broker.address, **SETTINGS}) as consumer:
        consumer.subscribe(["t"], on_revoke=(lambda _, which: revoked.append(which)) if told else None)
        found: list[bytes | None] = []
        while len(found) < 15:
            found += read(consumer, 30)
        broker.handlers[OFFSET_COMMIT] = slow
        rebalance(broker)
        end = time.monotonic() + 30
        while not asked.wait(0.1) and time.monotonic() < end:
            found += read(consumer, 0)
        assert asked.is_set(), "no commit before the rebalance"
        meanwhile = read(consumer, 0.2)
        go_on.set()
        while len(found) < 100 and (more := read(consumer, 30)):
            found += more
        assert found == [b"%d" % number for number in range(100)]
        assert meanwhile == []
    # Once for the rebalance, once at the end.
    assert len(revoked) == (2 if told else 0)


def test_a_commit_waits_for_a_coordinator_that_loads(broker: FakeCoordinator) -> None:
    refused: list[int] = []

    def loading(_: Any, default: Callable[[], Any]) -> Any:
        if len(refused) == 2:
            return default()
        code = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        refused.append(code)
        part = OffsetCommitResponsePartition(partition_index=0, error_code=code)
        return OffsetCommitResponse(topics=[OffsetCommitResponseTopic(name="t", partitions=[part])])

    broker.handlers[OFFSET_COMMIT] = loading
    with kafkax.Consumer({"bootstrap.servers": broker.address, **SETTINGS}) as consumer:
        consumer.subscribe(["t"])
        assert [message.value() for message in consumer.consume(15, 30)] == [b"%d" % number for number in range(15)]
        (committed,) = consumer.commit(asynchronous=False) or ()
    assert (committed.error, broker.committed["t", 0], len(refused)) == (None, 15, 2)
