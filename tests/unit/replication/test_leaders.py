"""Leaders join progress of followers, flushes and the controller's answers to high watermarks and ISR requests."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest

pytest.importorskip("kafkax._core.partition")

from kafkax._core.notify import NotifyQueue
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.alter_partition import (
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
)
from kafkax.replication.isr_requests import IsrRequestQueue
from kafkax.replication.leaders import Leaders, Rules
from kafkax.replication.replica import Replica

T0 = TopicPartition("t", 0)


class FakePartition:
    topic, index, topic_id, is_leader, high_watermark = "t", 0, uuid4(), True, 0

    def __init__(self):
        self.log = SimpleNamespace(log_end_offset=10, flushed_offset=10)
        self.flushed = None
        self.waits = []

    def on_flushed(self, queue, callback):
        self.flushed = callback

    def wait(self, kind, offset, queue, callback):
        self.waits.append((kind, offset, callback))
        return SimpleNamespace(cancel=lambda: True)


class FakeClock:
    now = 100.0

    def monotonic(self):
        return self.now

    def wall_ms(self):
        return int(self.now * 1000)


class Asked:
    def __init__(self):
        self.changes = []

    def ask(self, partition, topic_id, change):
        self.changes.append(change)


@pytest.fixture
async def rig():
    rules = {"rules": Rules(1, True)}
    clock = FakeClock()
    leaders = Leaders(1, lambda: 50, lambda _: rules["rules"], 1000, NotifyQueue(), clock)
    asked = Asked()
    leaders.start(asked)
    yield SimpleNamespace(leaders=leaders, partition=FakePartition(), asked=asked, rules=rules, clock=clock)
    await leaders.close()


def replica(rig, isr=(1, 2, 3), replicas=(1, 2, 3), epoch=4, partition_epoch=0):
    return Replica(rig.partition, 1, epoch, isr, replicas, partition_epoch)


async def test_the_mark_follows_the_slowest_replica_in_sync(rig):
    rig.leaders.lead([replica(rig)])
    rig.leaders.fetched(T0, 2, 7, 10)
    assert rig.partition.high_watermark == 0
    rig.leaders.fetched(T0, 3, 7, 6)
    assert rig.partition.high_watermark == 6


async def test_the_leader_counts_what_it_flushed_or_what_it_has(rig):
    rig.partition.log.flushed_offset = 4
    rig.leaders.lead([replica(rig)])
    for follower in (2, 3):
        rig.leaders.fetched(T0, follower, 7, 10)
    assert rig.partition.high_watermark == 4
    rig.partition.log.flushed_offset = 8
    rig.partition.flushed(8)
    assert rig.partition.high_watermark == 8
    rig.rules["rules"] = Rules(1, False)
    rig.leaders.lead([replica(rig, partition_epoch=1)])
    assert rig.partition.high_watermark == 10


async def test_a_leader_alone_in_sync_hears_of_appends_when_no_flush_tells(rig):
    rig.rules["rules"] = Rules(1, False)
    rig.leaders.lead([replica(rig, isr=(1,))])
    assert rig.partition.high_watermark == 10
    kind, offset, grew = rig.partition.waits[-1]
    assert (kind, offset) == ("log_end", 11)
    rig.partition.log.log_end_offset = 12
    grew(12)
    assert rig.partition.high_watermark == 12


async def test_a_follower_that_caught_up_is_asked_for_with_its_epoch_once(rig):
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    for _ in range(3):
        rig.leaders.fetched(T0, 2, 7, 10)
    assert [change.members for change in rig.asked.changes] == [{1: 50, 2: 7, 3: -1}]


async def test_a_refused_change_is_asked_for_again_after_a_pause(rig):
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    rig.leaders.fetched(T0, 2, 7, 10)
    rig.leaders.refused(T0, rig.asked.changes[0], retriable=True)
    rig.leaders.fetched(T0, 2, 7, 10)
    assert len(rig.asked.changes) == 1
    rig.clock.now += 1
    rig.leaders.fetched(T0, 2, 7, 10)
    assert len(rig.asked.changes) == 2


async def test_who_is_no_replica_or_of_a_former_life_is_refused(rig):
    rig.leaders.lead([replica(rig)])
    rig.leaders.fetched(T0, 2, 7, 10)
    for follower, epoch in ((9, 7), (2, 6)):
        with pytest.raises(KafkaError) as refused:
            rig.leaders.fetched(T0, follower, epoch, 10)
        assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_what_is_forgotten_is_led_no_longer(rig):
    rig.leaders.lead([replica(rig)])
    rig.leaders.forget([T0])
    assert rig.partition.flushed is None
    with pytest.raises(KafkaError):
        rig.leaders.fetched(T0, 2, 7, 10)


async def test_the_queue_asks_until_the_controller_decides(rig):
    requests, altered = [], asyncio.Event()
    made = {}

    async def ask(request):
        requests.append(request)
        if len(requests) == 1:
            raise KafkaError(ErrorCode.NOT_CONTROLLER)
        data = AlterPartitionResponsePartitionData(partition_index=0, leader_epoch=4, isr=[1, 2, 3], partition_epoch=9)
        topic = AlterPartitionResponseTopicData(topic_id=rig.partition.topic_id, partitions=[data])
        return AlterPartitionResponse(topics=[topic])

    def take(partition, isr, partition_epoch):
        made[partition] = isr, partition_epoch
        altered.set()

    queue = IsrRequestQueue(1, lambda: 50, rig.leaders, ask, take)
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    rig.leaders.fetched(T0, 2, 7, 10)
    queue.ask(T0, rig.partition.topic_id, rig.asked.changes[0])
    await asyncio.wait_for(altered.wait(), 30)
    assert made == {T0: ((1, 2, 3), 9)}
    assert requests[0] == requests[1]
    members = requests[1].topics[0].partitions[0].new_isr_with_epochs
    assert {member.broker_id: member.broker_epoch for member in members} == {1: 50, 2: 7, 3: -1}
    await queue.close()
