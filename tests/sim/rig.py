"""A few brokers on a fake ZooKeeper, without latencies, for tests that look at one event at a time."""

from __future__ import annotations

import asyncio

from kafkax.cluster import znodes
from kafkax.cluster.topic_admin import CreatedTopic, NewTopic
from kafkax.cluster.znodes import PartitionState
from kafkax.model import TopicPartition
from tests.sim.broker import Cluster, SimBroker
from tests.sim.zookeeper import FakeZooKeeper

T0 = TopicPartition("t", 0)


class Rig:
    """A few brokers on a fake ZooKeeper."""

    def __init__(self):
        self.zookeeper = FakeZooKeeper()
        self.cluster = Cluster()

    async def start(self, *ids, racks=None, settings=None):
        for broker_id in ids:
            await self.start_one(broker_id, rack=(racks or {}).get(broker_id), settings=settings)
        await self.settled()

    async def start_one(self, broker_id, rack=None, settings=None):
        broker = SimBroker(broker_id, self.cluster, self.zookeeper.connect(), rack=rack, settings=settings)
        await broker.start()
        return broker

    async def kill(self, broker_id):
        """The process dies, and its session is over."""
        await self.crash(broker_id)
        await self.expire(broker_id)

    async def crash(self, broker_id):
        """The process dies; its session goes on for now."""
        broker = self.cluster.brokers[broker_id]
        broker.store.kill()
        await broker.crash()

    async def expire(self, *broker_ids):
        """Their sessions are over: ZooKeeper has not heard of them for long enough."""
        for broker_id in broker_ids:
            self.zookeeper.expire(self.cluster.brokers[broker_id].store.session_id)
        await self.settled()

    async def settled(self):
        """Let everything that is under way come to its end; there are no latencies."""
        for _ in range(300):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        for _ in range(100):
            await asyncio.sleep(0)

    async def create(self, name="t", **kwargs):
        outcome = (await self.active.admin.create_topics([NewTopic(name, **kwargs)], timeout_ms=5000))[0]
        assert isinstance(outcome, CreatedTopic), outcome
        await self.settled()
        return outcome

    @property
    def active(self):
        return self.cluster.brokers[self.cluster.controllers()[0]]

    def state(self, partition=T0):
        path = znodes.state_path(*partition)
        data, stat = self.zookeeper.tree.get(path)
        return PartitionState.decode(path, data), stat.version

    def image(self, broker_id):
        return self.cluster.brokers[broker_id].cache.image

    async def stop(self):
        for broker in self.cluster.brokers.values():
            if broker.up:
                await broker.stop()
