"""kafka-python: what it produces, in every compression, is what it consumes."""

from __future__ import annotations

import pytest

from tests.compat.dataset import TOTAL_BYTES, Digest, samples

kafka = pytest.importorskip("kafka", reason="kafka-python is not installed")

PARTITIONS = 3


def create(bootstrap: str, topic: str) -> None:
    from kafka.admin import KafkaAdminClient, NewTopic

    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        client.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        client.close()


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.timeout(900)
def test_everything_produced_is_consumed_in_order(bootstrap: str, topic: str, compression: str | None) -> None:
    if compression not in (None, "gzip"):
        library = {"snappy": "snappy", "lz4": "lz4", "zstd": "zstandard"}[compression]
        pytest.importorskip(library, reason=f"kafka-python needs {library} for {compression}")
    create(bootstrap, topic)
    sent = Digest(PARTITIONS)
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=compression,
        acks="all",
        linger_ms=5,
        batch_size=200_000,
        delivery_timeout_ms=600_000,  # a busy machine may take minutes to compress what waits in this client
    )
    futures = []
    # large values: this client's cost is per record
    for sample in samples(TOTAL_BYTES, PARTITIONS, 8000, null_headers=False):
        sent.add(sample.partition, sample.timestamp, sample.key, sample.value, sample.headers)
        futures.append(
            producer.send(
                topic,
                value=sample.value,
                key=sample.key,
                headers=list(sample.headers),
                partition=sample.partition,
                timestamp_ms=sample.timestamp,
            )
        )
    producer.flush(600)
    assert [future.exception for future in futures if not future.succeeded()] == []
    producer.close()
    assert consume(bootstrap, topic, sent.total).result == sent.result


def consume(bootstrap: str, topic: str, expected: int) -> Digest:
    """Read until everything is there, or nothing comes any more."""
    got = Digest(PARTITIONS)
    consumer = kafka.KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"{topic}-readers",
        auto_offset_reset="earliest",
        consumer_timeout_ms=60_000,  # longer than the client waits for one answer, which would be slow but no loss
        max_partition_fetch_bytes=4 << 20,
    )
    try:
        for record in consumer:
            got.add(record.partition, record.timestamp, record.key, record.value, record.headers)
            if got.total == expected:
                break
    finally:
        consumer.close()
    return got
