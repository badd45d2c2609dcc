"""librdkafka through confluent-kafka: what it produces, in every compression, is what it consumes."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from bench.ports import free_port
from kafkax.client.admin import AdminClient, ConfigAlteration, ConfigOperation, ConfigResource, ResourceType
from tests.compat.brokers import running_broker
from tests.compat.dataset import FIRST_TIMESTAMP, TOTAL_BYTES, Digest, samples

confluent_kafka = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
admin = pytest.importorskip("confluent_kafka.admin", reason="confluent-kafka is not installed")

PARTITIONS = 3


def create(bootstrap: str, topic: str, **config: str) -> None:
    client = admin.AdminClient({"bootstrap.servers": bootstrap})
    new = admin.NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1, config=config)
    client.create_topics([new])[topic].result(30)


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.timeout(300)
def test_everything_produced_is_consumed_in_order(bootstrap: str, topic: str, compression: str) -> None:
    create(bootstrap, topic)
    sent, failed = Digest(PARTITIONS), []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": compression,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )

    def report(error: object, message: object) -> None:
        if error is not None:
            failed.append(error)

    for sample in samples(TOTAL_BYTES, PARTITIONS, 1500):
        sent.add(sample.partition, sample.timestamp, sample.key, sample.value, sample.headers)
        while True:
            try:
                producer.produce(
                    topic,
                    sample.value,
                    sample.key,
                    sample.partition,
                    on_delivery=report,
                    timestamp=sample.timestamp,
                    headers=list(sample.headers),
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(150) == 0
    assert failed == []
    assert consume(bootstrap, topic, sent.total).result == sent.result


def consume(bootstrap: str, topic: str, expected: int) -> Digest:
    got = Digest(PARTITIONS)
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"{topic}-readers", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    deadline = time.monotonic() + 90
    try:
        while got.total < expected and time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.5):
                assert message.error() is None
                got.add(message.partition(), message.timestamp()[1], message.key(), message.value(), message.headers() or ())
    finally:
        consumer.close()
    return got


def test_group_goes_on_where_it_committed(bootstrap: str, topic: str) -> None:
    create(bootstrap, topic)
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for number in range(300):
        producer.produce(topic, b"%d" % number, partition=number % PARTITIONS)
    assert producer.flush(30) == 0
    seen: list[bytes] = []
    for quota in (100, 200):
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{topic}-committers",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([topic])
        deadline, taken = time.monotonic() + 60, 0
        while taken < quota and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None
                seen.append(message.value())
                taken += 1
                consumer.commit(message, asynchronous=False)
        consumer.close()
    assert sorted(seen, key=int) == [b"%d" % number for number in range(300)]


def test_offsets_by_timestamp_and_watermarks(bootstrap: str, topic: str) -> None:
    create(bootstrap, topic)
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for number in range(100):
        producer.produce(topic, b"x", partition=0, timestamp=FIRST_TIMESTAMP + 10 * number)
    assert producer.flush(30) == 0
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": topic})
    try:
        at = confluent_kafka.TopicPartition
        assert consumer.get_watermark_offsets(at(topic, 0), timeout=60) == (0, 100)
        found = consumer.offsets_for_times([at(topic, 0, FIRST_TIMESTAMP + 405), at(topic, 1, FIRST_TIMESTAMP)], timeout=60)
        assert [partition.offset for partition in found] == [41, -1]
    finally:
        consumer.close()


def test_admin_sees_what_it_made(bootstrap: str, topic: str) -> None:
    create(bootstrap, topic, **{"retention.ms": "123456789"})
    client = admin.AdminClient({"bootstrap.servers": bootstrap})
    described = client.list_topics(topic, timeout=60).topics[topic]
    assert sorted(described.partitions) == list(range(PARTITIONS))
    resource = admin.ConfigResource("topic", topic)
    configs = client.describe_configs([resource])[resource].result(60)
    assert configs["retention.ms"].value == "123456789"
    assert configs["cleanup.policy"].value == "delete"
    client.create_partitions([admin.NewPartitions(topic, PARTITIONS + 2)])[topic].result(60)
    client.delete_topics([topic])[topic].result(60)
    deadline = time.monotonic() + 60
    while topic in client.list_topics(timeout=60).topics and time.monotonic() < deadline:
        time.sleep(0.1)
    assert topic not in client.list_topics(timeout=60).topics


def test_topic_is_created_by_the_first_produce(bootstrap: str, topic: str) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    reports: list[object] = []
    producer.produce(topic, b"first", on_delivery=lambda error, message: reports.append(error))
    assert producer.flush(30) == 0
    assert reports == [None]


def test_what_a_client_measures_of_itself_can_be_scraped(tmp_path: Path) -> None:
    port = free_port()
    with running_broker(tmp_path / "data", overrides={"metrics.address": f"127.0.0.1:{port}"}) as broker:
        wanted = [ConfigAlteration(name, ConfigOperation.SET, text) for name, text in (("metrics", "*"), ("interval.ms", "200"))]
        with AdminClient({"bootstrap.servers": broker.address}) as client:
            resource = ConfigResource(ResourceType.CLIENT_METRICS, "all")
            client.incremental_alter_configs({resource: wanted})[resource].result(30)
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "client.id": "measured"})
        deadline = time.monotonic() + 60
        while "kafkax_client_" not in (text := scrape(port)) or 'client_id="measured"' not in text:
            assert time.monotonic() < deadline, text
            producer.poll(0.2)
        assert "kafkax_network_bytes_in_total" in text


def scrape(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read(), "utf-8")
