"""aiokafka: what it produces, in every compression it has here, is what it consumes."""

from __future__ import annotations

import asyncio

import pytest

from tests.compat.dataset import TOTAL_BYTES, Digest, samples

aiokafka = pytest.importorskip("aiokafka", reason="aiokafka is not installed")

PARTITIONS = 3


async def create(bootstrap: str, topic: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        await client.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await client.close()


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.timeout(300)
async def test_everything_produced_is_consumed_in_order(bootstrap: str, topic: str, compression: str | None) -> None:
    await create(bootstrap, topic)
    sent = Digest(PARTITIONS)
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type=compression, enable_idempotence=True, max_batch_size=500_000
    )
    await producer.start()
    try:
        futures = []
        for sample in samples(TOTAL_BYTES, PARTITIONS, 4000):
            sent.add(sample.partition, sample.timestamp, sample.key, sample.value, sample.headers)
            futures.append(
                await producer.send(
                    topic,
                    sample.value,
                    key=sample.key,
                    partition=sample.partition,
                    timestamp_ms=sample.timestamp,
                    headers=list(sample.headers),
                )
            )
        await producer.flush()
        await asyncio.gather(*futures)
    finally:
        await producer.stop()
    got = await consume(bootstrap, topic, sent.total)
    assert got.result == sent.result


async def consume(bootstrap: str, topic: str, expected: int) -> Digest:
    got = Digest(PARTITIONS)
    consumer = aiokafka.AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{topic}-readers", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(90) if hasattr(asyncio, "timeout") else _no_limit():
            while got.total < expected:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        got.add(record.partition, record.timestamp, record.key, record.value, record.headers)
    finally:
        await consumer.stop()
    return got


class _no_limit:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...
