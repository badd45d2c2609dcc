"""A broker's id znode: one owner, also when answers are lost and former lives linger."""

from __future__ import annotations

import asyncio

import pytest

from kafkax.cluster.producer_ids import BLOCK_SIZE, ProducerIds, allocate_block
from kafkax.cluster.registration import generate_broker_id, prepare_cluster, register_broker, unregister_broker
from kafkax.cluster.store import ConnectionLostError
from kafkax.cluster.znodes import BrokerRegistration, Endpoint
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.zookeeper import FakeZooKeeper

HERE = BrokerRegistration(1, (Endpoint("PLAINTEXT", "127.0.0.1", 9092, "PLAINTEXT"),), "r", 1)
ELSEWHERE = BrokerRegistration(1, (Endpoint("PLAINTEXT", "127.0.0.2", 9092, "PLAINTEXT"),), "r", 1)


@pytest.fixture
async def zookeeper():
    server = FakeZooKeeper()
    await prepare_cluster(server.connect())
    return server


async def test_the_cluster_id_is_made_once(zookeeper):
    first = await prepare_cluster(zookeeper.connect())
    assert len(first) == 22
    assert await prepare_cluster(zookeeper.connect()) == first


async def test_the_broker_epoch_is_the_creating_transaction(zookeeper):
    store = zookeeper.connect()
    epoch = await register_broker(store, HERE)
    data, stat = await store.get("/brokers/ids/1")
    assert (stat.czxid, stat.ephemeral_owner, stat.version) == (epoch, store.session_id, 1)
    assert BrokerRegistration.decode(1, data) == HERE
    assert await register_broker(store, HERE) == epoch


async def test_a_former_life_at_the_same_address_is_replaced(zookeeper):
    former = await register_broker(zookeeper.connect(), HERE)
    store = zookeeper.connect()
    assert await register_broker(store, HERE) > former
    assert (await store.exists("/brokers/ids/1")).ephemeral_owner == store.session_id


async def test_another_broker_with_the_id_is_not(zookeeper):
    await register_broker(zookeeper.connect(), ELSEWHERE)
    with pytest.raises(KafkaError) as refused:
        await register_broker(zookeeper.connect(), HERE)
    assert refused.value.code is ErrorCode.DUPLICATE_BROKER_REGISTRATION


async def test_a_creation_whose_answer_was_lost_is_found(zookeeper, monkeypatch):
    store = zookeeper.connect()
    multi_all, lost = store.multi_all, []

    async def lose_first_answer(transactions):
        result = await multi_all(transactions)
        if not lost:
            lost.append(result)
            raise ConnectionLostError
        return result

    monkeypatch.setattr(store, "multi_all", lose_first_answer)
    epoch = await register_broker(store, HERE)
    assert (await store.exists("/brokers/ids/1")).czxid == epoch
    assert len(lost) == 1


async def test_unregistering_leaves_anothers_node_alone(zookeeper):
    store, other = zookeeper.connect(), zookeeper.connect()
    await register_broker(store, HERE)
    await unregister_broker(other, 1)
    assert await store.exists("/brokers/ids/1") is not None
    await unregister_broker(store, 1)
    await unregister_broker(store, 1)
    assert await store.exists("/brokers/ids/1") is None


async def test_generated_ids_are_above_the_reserved_ones_and_new(zookeeper):
    store = zookeeper.connect()
    assert [await generate_broker_id(store, 1000) for _ in range(3)] == [1001, 1002, 1003]


async def test_producer_ids_are_never_given_twice(zookeeper):
    brokers = [ProducerIds(zookeeper.connect(), broker_id) for broker_id in (1, 2)]
    given = await asyncio.gather(*(brokers[i % 2].next() for i in range(2500)))
    assert len(set(given)) == 2500
    block = await allocate_block(zookeeper.connect(), 3)
    assert block.first > max(given) - BLOCK_SIZE
    assert block.last - block.first == BLOCK_SIZE - 1
    assert not set(range(block.first, block.last + 1)) & set(given)
