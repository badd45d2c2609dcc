"""What goes wrong between a client and its brokers: nothing is lost, nothing comes twice, nothing hangs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import kafkax
from kafkax import aio
from kafkax.client.cluster import Cluster
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.fetch import FetchResponse
from kafkax.protocol.messages.metadata import MetadataResponseBroker
from kafkax.protocol.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.unit.client.fake import FETCH, LIST_OFFSETS, METADATA, PRODUCE, TOPIC_ID, FakeBroker, refused

READER = {"retry.backoff.ms": 1, "retry.backoff.max.ms": 2, "reconnect.backoff.ms": 0, "reconnect.backoff.max.ms": 0}
QUICK = {**READER, "linger.ms": 0}


def two_brokers(first: FakeBroker, second: FakeBroker, leader: list[int]) -> None:
    """Both say the same of the cluster; ``leader`` holds who leads, and its epoch."""

    def describe(request: Any, default: Any) -> Any:
        answer = default()
        answer.brokers = [
            MetadataResponseBroker(node_id=n + 1, host="127.0.0.1", port=b.port) for n, b in enumerate((first, second))
        ]
        for topic in answer.topics:
            for partition in topic.partitions:
                partition.leader_id, partition.leader_epoch = leader
        return answer

    first.handlers[METADATA] = second.handlers[METADATA] = describe


def refusal(code: ErrorCode, topic_id: UUID = TOPIC_ID) -> ProduceResponse:
    parts = [PartitionProduceResponse(index=0, error_code=code)]
    return ProduceResponse(responses=[TopicProduceResponse(topic_id=topic_id, partition_responses=parts)])


def test_records_follow_the_leader(broker: FakeBroker) -> None:
    second = FakeBroker(partitions=2)
    leader = [1, 0]
    two_brokers(broker, second, leader)
    errors: list[Any] = []
    with kafkax.Producer({"bootstrap.servers": f"{broker.address},{second.address}", **QUICK}) as producer:
        for number in range(200):
            if number == 50:
                # What the first one has is on the second one as well, its sequences included.
                producer.flush(30)
                second.logs, second.ends, second.sequences = broker.logs, broker.ends, broker.sequences
                broker.handlers[PRODUCE] = lambda request, default: refusal(ErrorCode.NOT_LEADER_OR_FOLLOWER)
                leader[:] = [2, 1]
            if number == 120:
                broker.close()
            producer.produce("t", b"%d" % number, partition=0, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
    second.close()
    assert errors == [None] * 200
    assert second.values(0) == [b"%d" % number for number in range(200)]


def moved(first: FakeBroker, second: FakeBroker, leader: list[int]) -> None:
    """The second broker leads, with all that the first one has; that one refuses."""
    second.logs, second.ends, second.sequences = first.logs, first.ends, first.sequences
    leader[:] = [2, 1]

    def refuse(request: Any, default: Any) -> Any:
        answer = default()
        for topic in answer.responses if isinstance(answer, FetchResponse) else answer.topics:
            for partition in topic.partitions:
                partition.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER
                if isinstance(answer, FetchResponse):
                    partition.records = None
        return answer

    first.handlers[FETCH] = first.handlers[LIST_OFFSETS] = refuse
    first.handlers[PRODUCE] = lambda request, default: refusal(ErrorCode.NOT_LEADER_OR_FOLLOWER)


@pytest.fixture
def second() -> Iterator[FakeBroker]:
    made = FakeBroker(partitions=2)
    yield made
    made.close()


def test_consumers_and_administration_follow_the_leader(broker: FakeBroker, second: FakeBroker) -> None:
    leader = [1, 0]
    two_brokers(broker, second, leader)
    broker.append(0, build_batch([Record(None, b"before", (), 5)]))
    config = {"bootstrap.servers": f"{broker.address},{second.address}", **READER}
    with kafkax.Consumer(config) as consumer, kafkax.AdminClient(config) as admin:
        consumer.assign([kafkax.TopicPartition("t", 0, 0)])
        assert [message.value() for message in consumer.consume(1, 20)] == [b"before"]
        assert admin.list_offsets({("t", 0): -1})["t", 0].result(20).offset == 1
        moved(broker, second, leader)
        second.append(0, build_batch([Record(None, b"after", (), 5)]))
        assert [message.value() for message in consumer.consume(1, 20)] == [b"after"]
        assert admin.list_offsets({("t", 0): -1})["t", 0].result(20).offset == 2
        broker.close()
        second.append(0, build_batch([Record(None, b"alone", (), 5)]))
        assert [message.value() for message in consumer.consume(1, 20)] == [b"alone"]
        assert admin.list_offsets({("t", 0): -1})["t", 0].result(20).offset == 3


async def test_coroutines_follow_the_leader(broker: FakeBroker, second: FakeBroker) -> None:
    leader = [1, 0]
    two_brokers(broker, second, leader)
    config = {"bootstrap.servers": f"{broker.address},{second.address}", **READER}
    async with aio.Producer(config) as producer, aio.Consumer(config) as consumer:
        await consumer.assign([kafkax.TopicPartition("t", 0, 0)])
        for number in range(30):
            if number == 10:
                moved(broker, second, leader)
            if number == 20:
                broker.close()
            await producer.send_and_wait("t", b"%d" % number, partition=0)
            message = await consumer.poll(20)
            assert message is not None
            assert message.value() == b"%d" % number
    assert second.values(0) == [b"%d" % number for number in range(30)]


def test_a_topic_that_was_made_anew_gets_what_comes_after(broker: FakeBroker) -> None:
    with kafkax.Producer({"bootstrap.servers": broker.address, **QUICK}) as producer:
        producer.produce("t", b"before", partition=0)
        assert producer.flush(30) == 0
        another = UUID(int=8)

        def describe(request: Any, default: Any) -> Any:
            answer = default()
            for topic in answer.topics:
                topic.topic_id = another
            return answer

        def produce(request: Any, default: Any) -> Any:
            if request.topic_data[0].topic_id != another:
                return refusal(ErrorCode.UNKNOWN_TOPIC_ID)
            answer = default()
            answer.responses[0].topic_id = another
            return answer

        broker.handlers[METADATA], broker.handlers[PRODUCE] = describe, produce
        broker.logs[0].clear()
        errors: list[Any] = []
        producer.produce("t", b"after", partition=0, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
    assert errors == [None]
    assert broker.values(0) == [b"after"]


@pytest.mark.parametrize("owner", [aio.Producer, aio.Consumer, aio.AdminClient])
async def test_a_name_that_does_not_resolve_is_an_error_in_coroutines(monkeypatch: pytest.MonkeyPatch, owner: Any) -> None:
    async def fail(self: Any, connection: Any, host: str, port: int) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(Cluster, "_connect", fail)
    begin = time.monotonic()
    limits = {"delivery.timeout.ms": 300} if owner is aio.Producer else {}
    async with owner({"bootstrap.servers": "broker.invalid:9092", **limits}) as client:
        with pytest.raises(KafkaError, match="broker.invalid:9092 does not resolve: Name or service not known"):
            await client.list_topics(timeout=3)
        if owner is aio.Producer:
            with pytest.raises(KafkaError, match=r"broker.invalid:9092 does not resolve"):
                await client.send_and_wait("t", b"x")
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("owner", [kafkax.Producer, kafkax.Consumer, kafkax.AdminClient])
def test_a_name_that_does_not_resolve_is_an_error_within_the_time(monkeypatch: pytest.MonkeyPatch, owner: Any) -> None:
    async def fail(self: Any, connection: Any, host: str, port: int) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(Cluster, "_connect", fail)
    says = "broker.invalid:9092 does not resolve: Name or service not known"
    with owner({"bootstrap.servers": "broker.invalid:9092"}) as client:
        refused(lambda seconds: client.list_topics(timeout=seconds), says)


def test_an_advertised_name_that_does_not_resolve_is_told_apart(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Cluster._connect

    async def fail(self: Cluster, connection: Any, host: str, port: int) -> None:
        if host == "inner.invalid":
            raise socket.gaierror(-2, "Name or service not known")
        await connect(self, connection, host, port)

    monkeypatch.setattr(Cluster, "_connect", fail)
    broker.advertised = ("inner.invalid", 9092)
    told: list[KafkaError] = []
    config = {"bootstrap.servers": broker.address, **QUICK, "delivery.timeout.ms": 2000, "error_cb": told.append}
    errors: list[Any] = []
    with kafkax.Producer(config) as producer:
        producer.produce("t", b"x", partition=0, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
    assert errors[0].code is ErrorCode.REQUEST_TIMED_OUT
    assert any("but it advertises inner.invalid:9092" in str(each) for each in told)


def test_an_error_that_nobody_expects_while_connecting_is_told_and_tried_again(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect, failures = Cluster.connection, [ValueError("odd"), ValueError("odd")]

    async def sometimes(self: Cluster, node_id: int) -> Any:
        if failures:
            raise failures.pop()
        return await connect(self, node_id)

    monkeypatch.setattr(Cluster, "connection", sometimes)
    told: list[KafkaError] = []
    with kafkax.Producer({"bootstrap.servers": broker.address, **QUICK, "error_cb": told.append}) as producer:
        producer.produce("t", b"x", partition=0)
        assert producer.flush(30) == 0
    assert broker.values(0) == [b"x"]
    assert [str(each) for each in told].count("connecting to broker 1: ValueError: odd") == 2
    assert "connecting to broker 1 failed unexpectedly" in caplog.text
