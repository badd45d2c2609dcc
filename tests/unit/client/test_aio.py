from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kafkax.aio import AdminClient, Consumer, Producer, TopicPartition
from kafkax.errors import KafkaError
from tests.unit.client.fake import PRODUCE, FakeBroker


def config(broker: FakeBroker, **more: Any) -> dict[str, Any]:
    return {"bootstrap.servers": broker.address, "retry.backoff.ms": 5, **more}


async def test_what_is_sent_one_by_one_is_batched_and_read_back(broker: FakeBroker) -> None:
    async with Producer(config(broker)) as producer:
        futures = [await producer.send("t", b"%d" % number, partition=1) for number in range(1000)]
        await producer.flush()
        assert [future.result().offset() for future in futures] == list(range(1000))
    assert len(broker.logs[1]) < 100
    async with Consumer(config(broker)) as consumer:
        await consumer.assign([TopicPartition("t", 1, 0)])
        found = []
        async for record in consumer:
            found.append(record.value())
            if len(found) == 1000:
                break
    assert found == [b"%d" % number for number in range(1000)]


async def test_many_tasks_wait_for_their_delivery(broker: FakeBroker) -> None:
    async with Producer(config(broker, **{"linger.ms": 1})) as producer:
        delivered = await asyncio.gather(*(producer.send_and_wait("t", b"x", partition=0) for _ in range(200)))
    assert sorted(message.offset() or 0 for message in delivered) == list(range(200))


async def test_a_failed_delivery_is_raised_where_it_is_awaited(broker: FakeBroker) -> None:
    broker.handlers[PRODUCE] = lambda request, default: None
    limits = {"delivery.timeout.ms": 200, "request.timeout.ms": 100, "linger.ms": 0}
    async with Producer(config(broker, **limits)) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("t", b"x")


async def test_poll_ends_when_the_time_is_over(broker: FakeBroker) -> None:
    async with Consumer(config(broker)) as consumer:
        await consumer.assign([TopicPartition("t", 0, 0)])
        assert await consumer.poll(0.05) is None
        assert await consumer.consume(5, 0.05) == []


async def test_administration(broker: FakeBroker) -> None:
    async with AdminClient(config(broker)) as admin:
        assert list((await admin.list_topics()).topics) == ["t"]
        assert (await admin.list_offsets({("t", 0): -1}))[("t", 0)].offset == 0
