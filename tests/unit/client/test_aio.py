from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kafkax.aio import AdminClient, Consumer, Producer, TopicPartition
from kafkax.config import ConfigError
from kafkax.errors import KafkaError
from tests.unit.client.fake import METADATA, PRODUCE, FakeBroker


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


async def test_a_delivery_may_be_awaited_late_twice_and_in_any_order(broker: FakeBroker) -> None:
    async with Producer(config(broker, **{"linger.ms": 10_000})) as producer:
        deliveries = [await producer.send("t", b"%d" % number, partition=0) for number in range(5)]
        found = [(await delivery).offset() for delivery in reversed(deliveries)]
        assert found == [4, 3, 2, 1, 0]
        both = await asyncio.gather(deliveries[2], deliveries[2])
        assert [message.value() for message in both] == [b"2", b"2"]
        assert deliveries[1].done()
        assert deliveries[1].result().offset() == 1
        told: list[Any] = []
        deliveries[0].add_done_callback(told.append)
        await asyncio.sleep(0)
        assert told == [deliveries[0]]


async def test_what_is_awaited_before_its_topic_is_known_arrives(broker: FakeBroker) -> None:
    asked = threading.Event()
    broker.handlers[METADATA] = lambda request, default: asked.wait(60) and default()
    async with Producer(config(broker)) as producer:
        tasks = [asyncio.create_task(wait_for(producer, number)) for number in range(20)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)
        asked.set()
        assert sorted(await asyncio.gather(*tasks)) == [b"%02d" % number for number in range(20)]
    assert sorted(value or b"" for number in (0, 1) for value in broker.values(number)) == [b"%02d" % n for n in range(20)]


async def wait_for(producer: Producer, number: int) -> bytes | None:
    return (await producer.send_and_wait("t", b"%02d" % number, b"key %d" % number)).value()


async def test_waiting_can_be_cancelled_and_others_go_on(broker: FakeBroker) -> None:
    held = threading.Event()
    broker.handlers[PRODUCE] = lambda request, default: default() if held.wait(60) else None
    async with Producer(config(broker)) as producer:
        tasks = [asyncio.create_task(wait_for(producer, number)) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(tasks[2]), 0.01)
        tasks[0].cancel()
        held.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [AnyCancelled(), b"01", b"02"]


class AnyCancelled:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, asyncio.CancelledError)

    __hash__ = None  # type: ignore[assignment]


async def test_coroutines_of_other_loops_use_a_producer_as_well(broker: FakeBroker) -> None:
    settings = config(broker, **{"queue.buffering.max.messages": 7, "linger.ms": 1})
    producer = Producer(settings)
    threads: list[dict[int, int]] = []

    async def one(name: int, found: dict[int, int]) -> None:
        for number in range(50):
            sent = await producer.send("t", b"%d %d" % (name, number), partition=0)
            assert threading.current_thread().name.startswith("loop-")
            if number % 2:
                found[name * 1000 + number] = (await sent).offset()
                assert threading.current_thread().name == here[name // 10]

    async def many(first: int) -> None:
        here[first // 10] = threading.current_thread().name
        found: dict[int, int] = {}
        await asyncio.gather(*(one(first + n, found) for n in range(5)))
        await producer.flush()
        threads.append(found)

    here: dict[int, str] = {}
    workers = [threading.Thread(target=lambda n=n: asyncio.run(many(10 * n)), name=f"loop-{n}") for n in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        await asyncio.sleep(0.01)
    await producer.close()
    assert len(threads) == 3
    offsets = [offset for found in threads for offset in found.values()]
    assert len(offsets) == len(set(offsets)) == 3 * 5 * 25
    values = broker.values(0)
    assert len(values) == 3 * 5 * 50
    for found in threads:
        assert all(values[offset] == b"%d %d" % divmod(which, 1000) for which, offset in found.items())


def test_the_loop_that_made_a_producer_may_end_first(broker: FakeBroker) -> None:
    async def make() -> Producer:
        return Producer(config(broker))

    producer = asyncio.run(make())

    async def use() -> int | None:
        delivered = await asyncio.wait_for(producer.send_and_wait("t", b"x", partition=0), 60)
        await producer.close()
        return delivered.offset()

    assert asyncio.run(use()) == 0


async def test_the_loop_sends_and_takes_answers_itself(broker: FakeBroker) -> None:
    async with Producer(config(broker)) as producer:
        await producer.send_and_wait("t", b"0", partition=0)
        await producer.send_and_wait("t", b"1", partition=0)
        busy = threading.Event()
        producer._core._io.call(busy.wait)
        try:
            sends = (producer.send_and_wait("t", b"%d" % number, partition=0) for number in range(2, 1000))
            await asyncio.wait_for(asyncio.gather(*sends), 30)
        finally:
            busy.set()
    assert broker.values(0) == [b"%d" % number for number in range(1000)]


async def test_connections_that_end_are_watched_no_more(broker: FakeBroker) -> None:
    turns = 0
    async with Producer(config(broker)) as producer:
        for number in range(20):
            await producer.send_and_wait("t", b"%d" % number, partition=0)
            if number % 5 == 4:
                broker.cut()
        receive = producer._receive

        def counted() -> None:
            nonlocal turns
            turns += 1
            receive()

        producer._loop.add_reader(producer._arrivals, counted)
        for number in range(20, 25):
            await producer.send_and_wait("t", b"%d" % number, partition=0)
        await asyncio.sleep(0.1)
        assert len(producer._watched) == 1
    assert turns < 100, "nothing is ready without end"
    assert broker.values(0) == [b"%d" % number for number in range(25)]


async def test_a_closed_producer_leaves_nothing_in_the_loop(broker: FakeBroker) -> None:
    producer = Producer(config(broker))
    await producer.send_and_wait("t", b"0")
    await producer.close()
    await asyncio.sleep(0)
    assert producer._arrivals.closed


async def test_a_full_queue_makes_send_wait(broker: FakeBroker) -> None:
    async with Producer(config(broker, **{"queue.buffering.max.messages": 10})) as producer:
        deliveries = [await producer.send("t", b"x", partition=0) for _ in range(100)]
        assert [(await delivery).offset() for delivery in deliveries] == list(range(100))


async def test_a_delivery_that_is_not_known_yet_says_so(broker: FakeBroker) -> None:
    async with Producer(config(broker, **{"linger.ms": 10_000})) as producer:
        delivery = await producer.send("t", b"x")
        assert not delivery.done()
        with pytest.raises(asyncio.InvalidStateError):
            delivery.result()


async def test_compressed_records_are_known_when_they_are_delivered(broker: FakeBroker) -> None:
    async with Producer(config(broker, **{"compression.type": "zstd"})) as producer:
        assert (await producer.send_and_wait("t", b"value", b"key")).value() == b"value"


async def test_what_send_gives_is_awaited_once_for_the_queue_and_then_for_the_delivery(broker: FakeBroker) -> None:
    async with Producer({"bootstrap.servers": broker.address}) as producer:
        gathered = await asyncio.gather(*(producer.send("t", b"%d" % number, partition=0) for number in range(3)))
        later = producer.send("t", b"3", partition=0)
        assert await later is later
        assert [(await each).offset() for each in (*gathered, later)] == [0, 1, 2, 3]
    assert broker.values(0) == [b"0", b"1", b"2", b"3"]


async def test_poll_ends_when_the_time_is_over(broker: FakeBroker) -> None:
    async with Consumer(config(broker)) as consumer:
        await consumer.assign([TopicPartition("t", 0, 0)])
        assert await consumer.poll(0.05) is None
        assert await consumer.consume(5, 0.05) == []


async def test_administration(broker: FakeBroker) -> None:
    async with AdminClient(config(broker)) as admin:
        assert list((await admin.list_topics()).topics) == ["t"]
        assert (await admin.list_offsets({("t", 0): -1}))[("t", 0)].offset == 0


async def test_what_consumers_for_threads_can_do_can_be_done_here(broker: FakeBroker) -> None:
    async with Producer({"bootstrap.servers": broker.address}) as producer:
        for number in range(10):
            await producer.send_and_wait("t", b"%d" % number, partition=0)
        assert producer.metrics.records == 10
    async with Consumer({"bootstrap.servers": broker.address, "fetch.wait.max.ms": 10}) as consumer:
        await consumer.incremental_assign([TopicPartition("t", 0, 4)])
        found = await consumer.consume(3, 30)
        assert [m.offset() for m in found] == [4, 5, 6]
        assert (consumer.lag(), consumer.metrics.total_lag) == ({("t", 0): 3}, 3)
        assert await consumer.get_watermark_offsets(TopicPartition("t", 0)) == (0, 10)
        assert (consumer.subscription(), consumer.memberid()) == ([], None)
        with pytest.raises(ConfigError, match="store_offsets needs enable.auto.offset.store=false"):
            consumer.store_offsets(found[-1])
        await consumer.incremental_unassign([TopicPartition("t", 0)])
        assert consumer.assignment() == []
        await consumer.assign([TopicPartition("t", 0, 9)])
        await consumer.unassign()
        await consumer.unsubscribe()
        assert consumer.assignment() == []


async def test_reports_by_function_are_refused_here(broker: FakeBroker) -> None:
    with pytest.raises(ConfigError, match=r"on_delivery is for kafkax\.Producer"):
        Producer({"bootstrap.servers": broker.address, "on_delivery": print})
