"""Transactions of kafkax's producer, from ``init_transactions`` to ``send_offsets_to_transaction``."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

import kafkax
from kafkax import aio
from kafkax.client.admin import NewTopic
from kafkax.client.transactions import TransactionError
from kafkax.errors import ErrorCode, KafkaError


@pytest.fixture
def config(client_broker: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.node.callspec.params["client_broker"] == "kafkax":
        pytest.skip("this broker refuses transactional ids for now")
    return {"bootstrap.servers": client_broker}


@pytest.fixture
def created(config: dict[str, Any], topic: str) -> str:
    """A topic of two partitions, and one for results."""
    with kafkax.AdminClient(config) as admin:
        for future in admin.create_topics([NewTopic(topic, 2, 1), NewTopic(f"{topic}-out", 1, 1)]).values():
            future.result(30)
    return topic


def transactional(config: dict[str, Any], name: str = "", **more: Any) -> kafkax.Producer:
    producer = kafkax.Producer({**config, "transactional.id": name or uuid.uuid4().hex, "linger.ms": 1, **more})
    producer.init_transactions()
    return producer


def committed_values(config: dict[str, Any], topic: str, count: int, level: str = "read_committed") -> list[bytes | None]:
    settings = {**config, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", "isolation.level": level}
    found: list[bytes | None] = []
    with kafkax.Consumer(settings) as consumer:
        consumer.subscribe([topic])
        end = time.monotonic() + 60
        while len(found) < count and time.monotonic() < end:
            found += [message.value() for message in consumer.consume(1000, 0.5)]
        found += [message.value() for message in consumer.consume(1000, 0.5)]
    return sorted(found, key=lambda value: value or b"")


@pytest.mark.apache
def test_what_is_committed_is_seen_and_what_is_aborted_is_not(config: dict[str, Any], created: str) -> None:
    with transactional(config) as producer:
        for round_ in range(4):
            producer.begin_transaction()
            for number in range(50):
                producer.produce(created, b"%d-%02d" % (round_, number), partition=number % 2)
            if round_ % 2:
                producer.flush()
                producer.abort_transaction()
            else:
                producer.commit_transaction()
    expected = sorted(b"%d-%02d" % (round_, number) for round_ in (0, 2) for number in range(50))
    assert committed_values(config, created, 100) == expected
    assert len(committed_values(config, created, 200, "read_uncommitted")) == 200


def test_records_that_wait_are_given_up_by_an_abort(config: dict[str, Any], created: str) -> None:
    outcomes: list[Any] = []
    with transactional(config, **{"linger.ms": 10_000}) as producer:
        producer.begin_transaction()
        producer.produce(created, b"given up", on_delivery=lambda error, _: outcomes.append(error))
        producer.abort_transaction()
        producer.begin_transaction()
        producer.produce(created, b"kept", on_delivery=lambda error, _: outcomes.append(error))
        producer.commit_transaction()
    assert outcomes[0].code is ErrorCode.OPERATION_NOT_ATTEMPTED
    assert outcomes[1:] == [None]
    assert committed_values(config, created, 1) == [b"kept"]


@pytest.mark.apache
def test_offsets_are_committed_with_what_was_made_of_the_records(config: dict[str, Any], created: str) -> None:
    with kafkax.Producer(config) as producer:
        for number in range(100):
            producer.produce(created, b"%03d" % number, partition=number % 2)
    group = uuid.uuid4().hex
    settings = {**config, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    seen: set[bytes | None] = set()
    for round_ in range(3):
        with kafkax.Consumer(settings) as consumer, transactional(config, f"copy-{created}") as producer:
            consumer.subscribe([created])
            end = time.monotonic() + 60
            taken = 0
            while taken < 25 and time.monotonic() < end:
                messages = consumer.consume(25, 0.5)
                if not messages:
                    continue
                producer.begin_transaction()
                for message in messages:
                    producer.produce(f"{created}-out", message.value())
                producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata())
                if round_ == 1:
                    producer.abort_transaction()
                    break
                producer.commit_transaction()
                taken += len(messages)
                assert not seen & {message.value() for message in messages}
                seen.update(message.value() for message in messages)
    assert committed_values(config, f"{created}-out", len(seen)) == sorted(value for value in seen if value)
    with kafkax.Consumer(settings) as consumer:
        where = consumer.committed([kafkax.TopicPartition(created, number) for number in (0, 1)])
    assert sum(max(each.offset, 0) for each in where) == len(seen)


@pytest.mark.apache
def test_a_newer_producer_fences_the_older_one(config: dict[str, Any], created: str) -> None:
    name = uuid.uuid4().hex
    older = transactional(config, name)
    older.begin_transaction()
    older.produce(created, b"of the older")
    older.flush()
    newer = transactional(config, name)
    newer.begin_transaction()
    newer.produce(created, b"of the newer")
    newer.commit_transaction()
    with pytest.raises(TransactionError) as error:
        older.commit_transaction()
    assert error.value.fatal
    assert "took over" in str(error.value)
    with pytest.raises(TransactionError):
        older.begin_transaction()
    older.close()
    newer.close()
    assert committed_values(config, created, 1) == [b"of the newer"]


def test_a_failed_record_makes_only_an_abort_possible(config: dict[str, Any], created: str) -> None:
    with transactional(config) as producer:
        producer.begin_transaction()
        producer.produce(created, b"good", partition=0)
        producer.produce(created, b"no such partition", partition=7)
        with pytest.raises(TransactionError, match="abort it") as error:
            producer.commit_transaction()
        assert not error.value.fatal
        producer.abort_transaction()
        for number in range(3):
            producer.begin_transaction()
            producer.produce(created, b"again %d" % number, partition=0)
            producer.commit_transaction()
    assert committed_values(config, created, 3) == [b"again 0", b"again 1", b"again 2"]


def test_calls_in_a_wrong_order_say_which_comes_first(config: dict[str, Any], created: str) -> None:
    with transactional(config) as producer:
        for call in (lambda: producer.produce(created, b"x"), producer.commit_transaction, producer.abort_transaction):
            with pytest.raises(KafkaError, match="begin_transaction") as error:
                call()
            assert error.value.code is ErrorCode.INVALID_TXN_STATE
        producer.begin_transaction()
        with pytest.raises(KafkaError, match="open already"):
            producer.begin_transaction()
        producer.commit_transaction()


async def test_transactions_in_asyncio(config: dict[str, Any], created: str) -> None:
    async with aio.Producer({**config, "transactional.id": uuid.uuid4().hex}) as producer:
        await producer.init_transactions()
        for word in (b"committed", b"aborted", b"again"):
            await producer.begin_transaction()
            for number in range(20):
                await producer.send(created, b"%s-%02d" % (word, number), partition=number % 2)
            await (producer.abort_transaction() if word == b"aborted" else producer.commit_transaction())
        settings = {**config, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        async with aio.Consumer(settings) as consumer:
            consumer.subscribe([created])
            found: list[bytes | None] = []
            while len(found) < 40:
                found += [message.value() for message in await consumer.consume(100, 30)]
            expected = [b"%s-%02d" % (word, number) for word in (b"again", b"committed") for number in range(20)]
            assert sorted(found, key=str) == expected
            await producer.begin_transaction()
            positions = consumer.position(consumer.assignment())
            await producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
            await producer.commit_transaction()
            committed = await consumer.committed(consumer.assignment())
            assert [each.offset for each in committed] == [each.offset for each in positions]
