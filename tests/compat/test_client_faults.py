"""The client when brokers die and topics go: nothing is lost, nothing comes twice, nothing hangs."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

import kafkax
from bench.ports import free_port
from kafkax import aio
from kafkax.client.admin import NewTopic
from kafkax.errors import ErrorCode, KafkaError
from tests.compat.brokers import start_broker

COUNT = 30_000


def create(config: dict[str, Any], topic: str, partitions: int) -> None:
    with kafkax.AdminClient(config) as admin:
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)


def read_all(config: dict[str, Any], topic: str, count: int) -> list[Any]:
    settings = {**config, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    found: list[Any] = []
    with kafkax.Consumer(settings) as consumer:
        consumer.subscribe([topic])
        end = time.monotonic() + 60
        while len(found) < count and time.monotonic() < end:
            found += consumer.consume(10_000, 0.5)
        found += consumer.consume(10_000, 0.3)
    return found


def test_a_broker_killed_and_restarted_in_mid_produce_loses_and_doubles_nothing(tmp_path: Path) -> None:
    port = free_port()
    broker = start_broker(tmp_path / "data", port=port)
    config = {"bootstrap.servers": broker.address, "reconnect.backoff.max.ms": 200, "retry.backoff.max.ms": 200}
    errors: list[Any] = []
    try:
        create(config, "t", 2)
        with kafkax.Producer({**config, "linger.ms": 1, "batch.num.messages": 50}) as producer:
            for number in range(COUNT):
                producer.produce("t", b"%05d" % number, partition=number % 2, on_delivery=lambda error, _: errors.append(error))
                if number % 100 == 0:
                    producer.poll(0)
                if number in (COUNT // 3, 2 * COUNT // 3):
                    while len(errors) < number // 2:
                        producer.poll(0.1)
                    broker.process.send_signal(signal.SIGKILL)
                    broker.process.wait(20)
                    broker = start_broker(tmp_path / "data", port=port)
            assert producer.flush(60) == 0
        assert errors == [None] * COUNT
        found = read_all(config, "t", COUNT)
    finally:
        broker.process.kill()
        broker.process.wait(20)
    for partition in (0, 1):
        values = [message.value() for message in found if message.partition() == partition]
        assert values == [b"%05d" % number for number in range(partition, COUNT, 2)]


def test_readers_administrators_and_coroutines_outlive_a_broker_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    broker = start_broker(tmp_path / "data", port=port)
    config = {"bootstrap.servers": broker.address, "reconnect.backoff.max.ms": 200, "retry.backoff.max.ms": 200}

    def killed() -> None:
        nonlocal broker
        broker.process.send_signal(signal.SIGKILL)
        broker.process.wait(20)
        broker = start_broker(tmp_path / "data", port=port)

    async def work(admin: kafkax.AdminClient) -> tuple[list[bytes | None], Any]:
        settings = {**config, "group.id": "g", "auto.offset.reset": "earliest", "fetch.max.bytes": 1000}
        found: list[bytes | None] = []
        async with aio.Producer(config) as producer, aio.Consumer(settings) as consumer:
            consumer.subscribe(["t"])
            waiting = [await producer.send("t", b"%05d" % number, partition=0) for number in range(1000)]
            while len(found) < 300:
                found += [message.value() for message in await consumer.consume(50, 1.0)]
            waiting += [await producer.send("t", b"%05d" % number, partition=0) for number in range(1000, 2000)]
            restart = asyncio.get_running_loop().run_in_executor(None, killed)
            made = admin.create_topics([NewTopic("made-meanwhile", 1, 1)])
            waiting += [await producer.send("t", b"%05d" % number, partition=0) for number in range(2000, 3000)]
            await restart
            await asyncio.wait_for(asyncio.gather(*waiting), 60)
            end = time.monotonic() + 60
            while len(found) < 3000 and time.monotonic() < end:
                found += [message.value() for message in await consumer.consume(500, 1.0)]
        return found, made["made-meanwhile"].exception(60)

    try:
        create(config, "t", 1)
        with kafkax.AdminClient(config) as admin:
            found, made = asyncio.run(work(admin))
            # The broker may die between making it and saying so; who asks again then finds it.
            assert made is None or made.code is ErrorCode.TOPIC_ALREADY_EXISTS
            assert "made-meanwhile" in admin.list_topics(timeout=30).topics
        values = [message.value() for message in read_all(config, "t", 3000)]
    finally:
        broker.process.kill()
        broker.process.wait(20)
    assert found == values == [b"%05d" % number for number in range(3000)]


def made_anew(config: dict[str, Any], topic: str) -> bool:
    """Create a topic whose name may still be taken: with ZooKeeper Apache Kafka deletes in the background."""
    try:
        create(config, topic, 1)
    except KafkaError as error:
        if error.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
            raise
        return False
    return True


@pytest.mark.apache
def test_a_topic_deleted_and_made_anew_is_written_and_read_on(client_broker: str, topic: str) -> None:
    config = {"bootstrap.servers": client_broker, "metadata.max.age.ms": 1000}
    create(config, topic, 1)
    errors: list[Any] = []
    settings = {**config, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    sending = {**config, "allow.auto.create.topics": False}
    with kafkax.Producer(sending) as producer, kafkax.Consumer(settings) as consumer, kafkax.AdminClient(config) as admin:
        consumer.assign([kafkax.TopicPartition(topic, 0, 0)])
        producer.produce(topic, b"before")
        assert producer.flush(30) == 0
        assert value_of(consumer) == b"before"
        admin.delete_topics([topic])[topic].result(30)
        end = time.monotonic() + 60
        while not made_anew(config, topic):
            assert time.monotonic() < end
            time.sleep(0.1)
        for number in range(3):
            producer.produce(topic, b"after %d" % number, partition=0, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(60) == 0
        assert errors == [None] * 3
        assert [value_of(consumer) for _ in range(3)] == [b"after 0", b"after 1", b"after 2"]


def value_of(consumer: kafkax.Consumer) -> bytes | None:
    """The value of the next record; events are passed over."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            return message.value()
    raise AssertionError("no record came within a minute")


@pytest.mark.skipif("KAFKAX_CLIENT_BROKERS" not in os.environ, reason="takes a minute: only in ci/nightly")
@pytest.mark.timeout(200)
@pytest.mark.parametrize("blocked", ["blocks", "holds the GIL in C"])
def test_a_member_whose_code_is_stuck_for_a_minute_stays_a_member(client_broker: str, topic: str, blocked: str) -> None:
    config = {"bootstrap.servers": client_broker}
    create(config, topic, 3)
    settings = {**config, "group.id": f"g-{topic}", "session.timeout.ms": 10_000, "heartbeat.interval.ms": 1000}
    lost: list[Any] = []
    with kafkax.Consumer(settings) as consumer, kafkax.AdminClient(config) as admin:
        consumer.subscribe([topic], on_lost=lambda _, partitions: lost.append(partitions))
        end = time.monotonic() + 60
        while len(consumer.assignment()) < 3 and time.monotonic() < end:
            consumer.poll(0.1)
        member = consumer.memberid()
        # The connection for this case is made after a heartbeat, and used from the next one on.
        for _ in range(40):
            consumer.poll(0.1)
        if blocked == "blocks":
            threading.Event().wait(60)
        else:
            ctypes.PyDLL(None).sleep(60)
        for _ in range(30):
            consumer.poll(0.1)
        described = admin.describe_consumer_groups([f"g-{topic}"])[f"g-{topic}"].result(30)
        assert [(each.member_id, len(each.assignment)) for each in described.members] == [(member, 3)]
    assert lost == []
