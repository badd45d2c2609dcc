"""What each client does in the tests of faults: its ordinary work, against a fake broker, and what must come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import kafkax
from kafkax import aio
from kafkax.client.admin import NewTopic
from kafkax.errors import KafkaError
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.unit.client.fake import API_VERSIONS, FETCH, INIT_PRODUCER_ID, LIST_OFFSETS, METADATA, PRODUCE
from tests.unit.client.fake_coordinator import (
    CREATE_TOPICS,
    DESCRIBE_CLUSTER,
    FIND_COORDINATOR,
    JOIN_GROUP,
    OFFSET_COMMIT,
    OFFSET_FETCH,
    SYNC_GROUP,
    FakeCoordinator,
)

HASTY = {
    "retry.backoff.ms": 1,
    "retry.backoff.max.ms": 2,
    "reconnect.backoff.ms": 0,
    "reconnect.backoff.max.ms": 0,
}
VALUES = [b"0", b"1", b"2"]
PATIENCE = 60
"""Seconds after which something counts as hanging."""
Config = dict[str, Any]
T = TypeVar("T")


class Work(NamedTuple):
    """Ordinary work of a client.

    Attributes:
        apis: what it asks the broker.
        run: does it and asserts what came of it.
    """

    apis: tuple[int, ...]
    run: Callable[[FakeCoordinator, Config], None]


def fill(broker: FakeCoordinator) -> None:
    for value in VALUES:
        broker.append(0, build_batch([Record(None, value, (), 5)]))


def produce(broker: FakeCoordinator, config: Config) -> None:
    told: list[Any] = []
    with kafkax.Producer({**config, "linger.ms": 0}) as producer:
        for value in VALUES:
            producer.produce("t", value, partition=0, on_delivery=lambda error, message: told.append((error, message.value())))
            assert producer.flush(PATIENCE) == 0
    assert told == [(None, value) for value in VALUES]
    assert broker.values(0) == VALUES


def consume(broker: FakeCoordinator, config: Config) -> None:
    fill(broker)
    with kafkax.Consumer({**config, "auto.offset.reset": "earliest"}) as consumer:
        consumer.assign([kafkax.TopicPartition("t", 0)])
        assert [message.value() for message in consumer.consume(3, PATIENCE)] == VALUES
        assert consumer.poll(0.02) is None


def member(config: Config) -> Config:
    return {**config, "group.id": "g", "auto.offset.reset": "earliest", "enable.auto.commit": False}


def insist(call: Callable[[], T]) -> T:
    """Call until it works; what a caller does whose request.timeout.ms was over before the broker's answer was there."""
    while True:
        try:
            return call()
        except KafkaError as error:
            if not error.retriable:
                raise


def consume_in_a_group(broker: FakeCoordinator, config: Config) -> None:
    fill(broker)
    with kafkax.Consumer(member(config)) as consumer:
        consumer.subscribe(["t"])
        # A member that has to join anew begins again where it committed.
        found = [message.value() for message in consumer.consume(3, PATIENCE)]
        assert found == VALUES
        place = kafkax.TopicPartition("t", 0, 3)
        (done,) = insist(lambda: consumer.commit(offsets=[place], asynchronous=False)) or []
        assert (done.offset, done.error) == (3, None)
        assert insist(lambda: consumer.committed([place]))[0].offset == 3
    assert broker.committed == {("t", 0): 3}


def administer(broker: FakeCoordinator, config: Config) -> None:
    fill(broker)
    with kafkax.AdminClient(config) as admin:
        assert list(admin.list_topics("t", timeout=PATIENCE).topics["t"].partitions) == [0, 1]
        assert admin.list_offsets({("t", 0): -1}, request_timeout=PATIENCE)["t", 0].result(PATIENCE).offset == 3
        assert admin.describe_cluster(request_timeout=PATIENCE).cluster_id == "fake"
        made = admin.create_topics([NewTopic("new")], operation_timeout=0.2)
        assert made["new"].result(PATIENCE).topic == "new"


def produce_in_coroutines(broker: FakeCoordinator, config: Config) -> None:
    async def work() -> None:
        async with aio.Producer(config) as producer:
            for offset, value in enumerate(VALUES):
                message = await asyncio.wait_for(producer.send_and_wait("t", value, partition=0), PATIENCE)
                # A broker that has a record already does not say at which offset.
                assert message.offset() in (offset, None)
        assert broker.values(0) == VALUES

    asyncio.run(work())


def consume_in_coroutines(broker: FakeCoordinator, config: Config) -> None:
    async def work() -> None:
        fill(broker)
        async with aio.Consumer(member(config)) as consumer:
            consumer.subscribe(["t"])
            found: list[bytes | None] = []
            while len(found) < 3:
                message = await consumer.poll(PATIENCE)
                assert message is not None
                found.append(message.value())
            assert found == VALUES
            place = kafkax.TopicPartition("t", 0, 3)
            while True:
                try:
                    await consumer.commit(offsets=[place])
                    assert (await consumer.committed([place]))[0].offset == 3
                    break
                except KafkaError as error:
                    if not error.retriable:
                        raise

    asyncio.run(work())


def administer_in_coroutines(broker: FakeCoordinator, config: Config) -> None:
    async def work() -> None:
        async with aio.AdminClient(config) as admin:
            assert list((await admin.list_topics("t", timeout=PATIENCE)).topics["t"].partitions) == [0, 1]
            made = (await admin.create_topics([NewTopic("new")], operation_timeout=0.2))["new"]
            if isinstance(made, KafkaError):
                raise made
            assert made.topic == "new"

    asyncio.run(work())


def rebalancing(name: str, limit_ms: int) -> Config:
    """What bounds how long a member waits for an answer while its group rebalances, beside request.timeout.ms."""
    return {"max.poll.interval.ms": limit_ms} if "member" in name else {}


_ALL = (API_VERSIONS, METADATA)
_READING = (*_ALL, LIST_OFFSETS, FETCH)
_GROUP = (*_READING, FIND_COORDINATOR, JOIN_GROUP, SYNC_GROUP, OFFSET_FETCH, OFFSET_COMMIT)
WORKS = {
    "producer": Work((*_ALL, INIT_PRODUCER_ID, PRODUCE), produce),
    "consumer": Work(_READING, consume),
    "member": Work(_GROUP, consume_in_a_group),
    "admin": Work((*_ALL, LIST_OFFSETS, DESCRIBE_CLUSTER, CREATE_TOPICS), administer),
    "aio-producer": Work((*_ALL, INIT_PRODUCER_ID, PRODUCE), produce_in_coroutines),
    "aio-member": Work(_GROUP, consume_in_coroutines),
    "aio-admin": Work((*_ALL, CREATE_TOPICS), administer_in_coroutines),
}
"""By name of the client."""
