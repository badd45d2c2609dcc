"""kafkax's own clients against a broker, and what they exchange with confluent-kafka.

``KAFKAX_CLIENT_BROKERS=kafkax,kafka-4.3.1,kafka-3.9.2`` runs all of them against Apache Kafka, too.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

import kafkax
from kafkax.aio import Consumer as AsyncConsumer
from kafkax.aio import Producer as AsyncProducer
from kafkax.client.admin import (
    ConfigAlteration,
    ConfigOperation,
    ConfigResource,
    ConsumerGroupTopicPartitions,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
COUNT = 20_000
nightly = pytest.mark.skipif("KAFKAX_CLIENT_BROKERS" not in os.environ, reason="heartbeats of 5 s: only in ci/nightly")


@pytest.fixture
def config(client_broker: str) -> dict[str, Any]:
    return {"bootstrap.servers": client_broker}


@pytest.fixture
def created(config: dict[str, Any], topic: str) -> str:
    """A topic of three partitions."""
    with kafkax.AdminClient(config) as admin:
        admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
    return topic


def group(topic: str, **more: Any) -> dict[str, Any]:
    return {"group.id": f"g-{topic}", "auto.offset.reset": "earliest", **more}


def read(consumer: Any, count: int, seconds: float = 60) -> list[Any]:
    found: list[Any] = []
    end = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        found += consumer.consume(count - len(found), 1.0)
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_produced_is_consumed(config: dict[str, Any], created: str, codec: str) -> None:
    reports: list[Any] = []
    with kafkax.Producer({**config, "compression.type": codec}) as producer:
        for number in range(COUNT):
            headers = [("n", b"%d" % number), ("null", None)] if number % 3 == 0 else None
            value = None if number % 100 == 7 else b"value %d" % number
            producer.produce(created, value, b"%d" % (number % 50), headers=headers, on_delivery=lambda e, m: reports.append(e))
    assert reports == [None] * COUNT
    with kafkax.Consumer({**config, **group(created)}) as consumer:
        consumer.subscribe([created])
        found = read(consumer, COUNT)
    assert len(found) == COUNT
    places: dict[bytes, list[int]] = {}
    for message in found:
        value = message.value()
        if value is not None:
            places.setdefault(message.key(), []).append(int(value.split()[1]))
    assert all(numbers == sorted(numbers) for numbers in places.values())
    expected = {number for number in range(COUNT) if number % 100 != 7}
    assert {number for numbers in places.values() for number in numbers} == expected
    with_headers = [message for message in found if message.headers()]
    assert len(with_headers) == len(range(0, COUNT, 3))
    assert with_headers[0].headers()[1] == ("null", None)


@pytest.mark.parametrize("codec", CODECS)
def test_exchange_with_librdkafka(config: dict[str, Any], created: str, codec: str) -> None:
    confluent = pytest.importorskip("confluent_kafka")
    ours = kafkax.Producer({**config, "compression.type": codec})
    theirs = confluent.Producer({**config, "compression.type": codec, "partitioner": "murmur2_random"})
    for number in range(2000):
        ours.produce(created, b"ours %d" % number, b"k%d" % (number % 20), headers=[("h", b"x")])
        theirs.produce(created, b"theirs %d" % number, b"k%d" % (number % 20), headers=[("h", b"x")])
    ours.close()
    assert theirs.flush(60) == 0
    with kafkax.Consumer({**config, **group(created)}) as consumer:
        consumer.subscribe([created])
        read_by_us = {(m.partition(), m.offset(), m.key(), m.value(), m.headers()[0]) for m in read(consumer, 4000)}
    other = confluent.Consumer({**config, **group(f"{created}-2")})
    other.subscribe([created])
    read_by_them = {(m.partition(), m.offset(), m.key(), m.value(), m.headers()[0]) for m in read(other, 4000)}
    other.close()
    assert len(read_by_us) == 4000
    assert read_by_us == read_by_them
    partitions: dict[bytes, set[int]] = {}
    for partition, _, key, _, _ in read_by_us:
        partitions.setdefault(key, set()).add(partition)
    assert all(len(chosen) == 1 for chosen in partitions.values())


@pytest.fixture
def next_protocol(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a group of KIP-848, where the broker has them."""
    if request.node.callspec.params["client_broker"] == "kafka-3.9.2":
        pytest.skip("Apache Kafka 3.9 has no groups of the new protocol with ZooKeeper")
    return {"group.protocol": "consumer"}


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "sticky", "cooperative-sticky"])
def test_a_group_divides_its_partitions_and_takes_over(config: dict[str, Any], created: str, strategy: str) -> None:
    divide_and_take_over(config, created, {"partition.assignment.strategy": strategy, "heartbeat.interval.ms": 200})


@nightly
def test_a_group_of_the_new_protocol_divides_and_takes_over(
    config: dict[str, Any], created: str, next_protocol: dict[str, str]
) -> None:
    divide_and_take_over(config, created, next_protocol)


def test_a_pattern_in_the_new_protocol_follows_topics(
    config: dict[str, Any], created: str, next_protocol: dict[str, str]
) -> None:
    settings = {**config, **group(created), **next_protocol, "metadata.max.age.ms": 1000}
    with kafkax.Consumer(settings) as consumer, kafkax.AdminClient(config) as admin:
        consumer.subscribe([f"^{created}"])
        wait_until(lambda: len(consumer.assignment()) == 3, consumer)
        admin.create_topics([NewTopic(f"{created}-2", 2, 1)])[f"{created}-2"].result(30)
        wait_until(lambda: len(consumer.assignment()) == 5, consumer, seconds=60)


def divide_and_take_over(config: dict[str, Any], created: str, more: dict[str, Any]) -> None:
    settings = {**config, **group(created), **more}
    first, second = kafkax.Consumer(settings), kafkax.Consumer(settings)
    events: list[tuple[str, int]] = []
    first.subscribe(
        [created],
        on_assign=lambda _, partitions: events.append(("assign", len(partitions))),
        on_revoke=lambda _, partitions: events.append(("revoke", len(partitions))),
    )
    wait_until(lambda: len(first.assignment()) == 3, first)
    second.subscribe([created])
    wait_until(lambda: len(first.assignment()) + len(second.assignment()) == 3 and len(second.assignment()) > 0, first, second)
    assert not set(first.assignment()) & set(second.assignment())
    second.close()
    wait_until(lambda: len(first.assignment()) == 3, first)
    first.close()
    assert events[0] == ("assign", 3)
    assert any(kind == "revoke" for kind, _ in events)


def wait_until(done: Any, *consumers: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to that in time"
        for consumer in consumers:
            consumer.poll(0.05)
        if not consumers:
            time.sleep(0.05)


@pytest.mark.apache
def test_a_topic_made_after_the_group_is_divided_as_soon_as_it_is_there(config: dict[str, Any], topic: str) -> None:
    with kafkax.Consumer({**config, **group(topic)}) as consumer, kafkax.AdminClient(config) as admin:
        consumer.subscribe([topic])
        wait_until(consumer.memberid, consumer)
        for _ in range(10):
            consumer.poll(0.1)
        admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
        wait_until(lambda: len(consumer.assignment()) == 3, consumer, seconds=60)


@pytest.mark.apache
def test_commits_of_the_new_protocol_are_where_the_next_member_goes_on(
    config: dict[str, Any], created: str, next_protocol: dict[str, str]
) -> None:
    commit_and_go_on(config, created, next_protocol)


def test_commits_are_where_the_next_member_goes_on(config: dict[str, Any], created: str) -> None:
    commit_and_go_on(config, created, {})


@pytest.mark.parametrize("asynchronous", [False, True])
def test_poll_tells_of_commits(config: dict[str, Any], created: str, asynchronous: bool) -> None:
    with kafkax.Producer(config) as producer:
        for number in range(10):
            producer.produce(created, b"%d" % number, partition=0)
    told: list[tuple[Any, list[tuple[str, int, int]]]] = []

    def on_commit(error: Any, partitions: list[kafkax.TopicPartition]) -> None:
        told.append((error, [(each.topic, each.partition, each.offset) for each in partitions]))

    settings = {**config, **group(created), "enable.auto.commit": False, "on_commit": on_commit}
    with kafkax.Consumer(settings) as consumer:
        consumer.subscribe([created])
        consumer.commit(read(consumer, 10)[4], asynchronous=asynchronous)
        wait_until(lambda: told, consumer)
    assert told == [(None, [(created, 0, 5)])]


def commit_and_go_on(config: dict[str, Any], created: str, more: dict[str, Any]) -> None:
    with kafkax.Producer(config) as producer:
        for number in range(100):
            producer.produce(created, b"%d" % number, partition=0)
    with kafkax.Consumer({**config, **group(created), **more, "enable.auto.commit": False}) as consumer:
        consumer.subscribe([created])
        found = read(consumer, 30)
        (committed,) = consumer.commit(found[-1], asynchronous=False) or ()
        assert (committed.offset, committed.error) == (30, None)
    with kafkax.Consumer({**config, **group(created), **more}) as consumer:
        consumer.subscribe([created])
        assert [m.offset() for m in read(consumer, 70)] == list(range(30, 100))
    with kafkax.Consumer({**config, **group(created), **more}) as consumer:
        assert consumer.committed([kafkax.TopicPartition(created, 0)])[0].offset == 100
        found_at = consumer.offsets_for_times([kafkax.TopicPartition(created, 0, 0)])
        assert found_at[0].offset == 0
        assert consumer.get_watermark_offsets(kafkax.TopicPartition(created, 0)) == (0, 100)


def test_heartbeats_go_on_while_the_caller_blocks(config: dict[str, Any], created: str) -> None:
    settings = {**config, **group(created), "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    with kafkax.Consumer(settings) as consumer, kafkax.AdminClient(config) as admin:
        consumer.subscribe([created])
        wait_until(lambda: len(consumer.assignment()) == 3, consumer)
        blocked = threading.Event()
        blocked.wait(8)
        described = admin.describe_consumer_groups([f"g-{created}"])[f"g-{created}"].result(30)
        assert [len(member.assignment) for member in described.members] == [3]


def test_administration(config: dict[str, Any], created: str) -> None:
    resource = ConfigResource(ResourceType.TOPIC, created)
    with kafkax.AdminClient(config) as admin:
        change = ConfigAlteration("retention.ms", ConfigOperation.SET, "123456")
        admin.incremental_alter_configs({resource: [change]})[resource].result(30)
        # Apache Kafka's broker hears of it from the controller, after the answer.
        wait_until(lambda: admin.describe_configs([resource])[resource].result(30)["retention.ms"].value == "123456")
        admin.create_partitions([NewPartitions(created, 5)])[created].result(30)
        wait_until(lambda: len(admin.list_topics(created).topics[created].partitions) == 5)
        with pytest.raises(kafkax.KafkaError, match="exists"):
            admin.create_topics([NewTopic(created)])[created].result(30)
        admin.delete_topics([created])[created].result(30)
        wait_until(lambda: created not in admin.list_topics().topics)


def test_administration_in_the_way_of_confluent_kafka(config: dict[str, Any], created: str) -> None:
    where = kafkax.TopicPartition(created, 0)
    with kafkax.Producer(config) as producer:
        for number in range(5):
            producer.produce(created, b"%d" % number, partition=0)
    with kafkax.AdminClient(config) as admin:
        assert admin.cluster_id() == admin.describe_cluster().cluster_id
        described = admin.describe_topics([created, "nowhere"])
        topic = described[created].result(30)
        assert [each.id for each in topic.partitions] == [0, 1, 2]
        assert all(each.leader in each.isr for each in topic.partitions)
        with pytest.raises(kafkax.KafkaError, match="nowhere"):
            described["nowhere"].result(30)
        assert admin.list_offsets({where: OffsetSpec.LATEST})[where].result(30).offset == 5
        assert admin.delete_records([kafkax.TopicPartition(created, 0, 2)])[where].result(30) == 2
        one = ConfigResource("topic", created, {"retention.ms": "1234567", "segment.bytes": "7654321"})
        admin.alter_configs([one])[one].result(30)
        wait_until(lambda: admin.describe_configs([one])[one].result(30)["segment.bytes"].value == "7654321")
        admin.alter_configs([ConfigResource("topic", created, {"retention.ms": "7654321"})])[one].result(30)
        wait_until(lambda: admin.describe_configs([one])[one].result(30)["segment.bytes"].is_default)
        one.incremental_configs = [ConfigAlteration("retention.ms", ConfigOperation.DELETE)]
        admin.incremental_alter_configs([one])[one].result(30)
        wait_until(lambda: admin.describe_configs([one])[one].result(30)["retention.ms"].is_default)
        group_id = f"g-{created}"
        place = ConsumerGroupTopicPartitions(group_id, [kafkax.TopicPartition(created, 0, 3)])
        altered = admin.alter_consumer_group_offsets([place])[group_id].result(30)
        assert [each.error for each in altered.topic_partitions] == [None]
        found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group_id)])[group_id].result(30)
        assert [(each.key, each.offset) for each in found.topic_partitions] == [((created, 0), 3)]


async def test_asyncio(config: dict[str, Any], created: str) -> None:
    async with AsyncProducer(config) as producer:
        futures = [await producer.send(created, b"%d" % number, b"k") for number in range(5000)]
        await producer.flush()
        offsets = [(await future).offset() for future in futures]
    assert offsets == list(range(5000))
    async with AsyncConsumer({**config, **group(created)}) as consumer:
        consumer.subscribe([created])
        found: list[bytes | None] = []
        async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else consumer:
            async for message in consumer:
                found.append(message.value())
                if len(found) == 5000:
                    break
    assert found == [b"%d" % number for number in range(5000)]
