"""Leaders join progress of followers, flushes and the controller's answers to high watermarks and ISR requests."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest

pytest.importorskip("kafkax._core.partition")

from kafkax._core.log import Log, LogSettings
from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Partition
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.alter_partition import (
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
)
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.replication.isr_requests import IsrRequestQueue
from kafkax.replication.leaders import Leaders
from kafkax.replication.replica import Replica

T0 = TopicPartition("t", 0)


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
async def rig(tmp_path):
    folder = tmp_path / "t-0"
    folder.mkdir()
    partition = Partition("t", 0, uuid4(), Log.open(str(folder), LogSettings(flushed=False)))
    partition.become_leader(4, in_sync=3, mark="external")
    for _ in range(10):
        partition.append(build_batch([Record(value=b"x")]), acks=1)
    clock = FakeClock()
    queue = NotifyQueue()
    leaders = Leaders(1, lambda: 50, 1000, queue, clock)
    asked = Asked()
    leaders.start(asked)

    def fetched(follower, offset, broker_epoch=7):
        partition.follower_fetched(follower, broker_epoch, offset)
        queue.dispatch()

    yield SimpleNamespace(leaders=leaders, partition=partition, asked=asked, clock=clock, fetched=fetched)
    await leaders.close()


def replica(rig, isr=(1, 2, 3), replicas=(1, 2, 3), epoch=4, partition_epoch=0):
    return Replica(rig.partition, 1, epoch, isr, replicas, partition_epoch)


async def test_the_mark_follows_the_slowest_replica_in_sync(rig):
    rig.leaders.lead([replica(rig, partition_epoch=1)])
    rig.fetched(2, 10)
    assert rig.partition.high_watermark == 0
    rig.fetched(3, 6)
    assert rig.partition.high_watermark == 6


async def test_progress_is_kept_through_a_newer_state_of_the_same_leadership(rig):
    rig.leaders.lead([replica(rig)])
    rig.fetched(2, 10)
    rig.leaders.lead([replica(rig, isr=(1, 2), partition_epoch=1)])
    assert rig.partition.high_watermark == 10


async def test_who_is_asked_for_counts_before_the_controller_has_decided(rig):
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    rig.fetched(2, 10)
    assert len(rig.asked.changes) == 1
    rig.partition.append(build_batch([Record(value=b"x")]), acks=1)
    rig.fetched(3, 11)
    assert rig.partition.high_watermark == 10
    rig.fetched(2, 11)
    assert rig.partition.high_watermark == 11


async def test_a_follower_that_caught_up_is_asked_for_with_its_epoch_once(rig):
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    for _ in range(3):
        rig.fetched(2, 10)
    assert [change.members for change in rig.asked.changes] == [{1: 50, 2: 7, 3: -1}]


async def test_a_refused_change_is_asked_for_again_after_a_pause(rig):
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    rig.fetched(2, 10)
    rig.leaders.refused(T0, rig.asked.changes[0], retriable=True)
    rig.fetched(2, 10)
    assert len(rig.asked.changes) == 1
    rig.clock.now += 1
    rig.fetched(2, 10)
    assert len(rig.asked.changes) == 2


async def test_who_is_no_replica_or_of_a_former_life_is_refused(rig):
    rig.leaders.lead([replica(rig)])
    rig.fetched(2, 10)
    for follower, epoch in ((9, 7), (2, 6)):
        with pytest.raises(KafkaError) as refused:
            rig.fetched(follower, 10, epoch)
        assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_what_is_forgotten_is_led_no_longer(rig):
    rig.leaders.lead([replica(rig)])
    rig.leaders.forget([T0])
    assert rig.partition.replicas() == []
    with pytest.raises(KafkaError):
        rig.fetched(2, 10)


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
    rig.fetched(2, 10)
    queue.ask(T0, rig.partition.topic_id, rig.asked.changes[0])
    await asyncio.wait_for(altered.wait(), 30)
    assert made == {T0: ((1, 2, 3), 9)}
    assert requests[0] == requests[1]
    members = requests[1].topics[0].partitions[0].new_isr_with_epochs
    assert {member.broker_id: member.broker_epoch for member in members} == {1: 50, 2: 7, 3: -1}
    await queue.close()


async def test_a_late_answer_to_a_former_leadership_leaves_the_wish_of_the_present_one(rig):
    asked, late, altered = [], asyncio.Event(), asyncio.Event()

    async def ask(request):
        partition = request.topics[0].partitions[0]
        asked.append(partition.leader_epoch)
        if len(asked) == 1:
            await late.wait()
            data = AlterPartitionResponsePartitionData(partition_index=0, error_code=ErrorCode.FENCED_LEADER_EPOCH)
        else:
            data = AlterPartitionResponsePartitionData(partition_index=0, leader_epoch=5, isr=[1, 2, 3], partition_epoch=9)
        topic = AlterPartitionResponseTopicData(topic_id=rig.partition.topic_id, partitions=[data])
        return AlterPartitionResponse(topics=[topic])

    queue = IsrRequestQueue(1, lambda: 50, rig.leaders, ask, lambda *_: altered.set())
    rig.leaders.lead([replica(rig, isr=(1, 3))])
    rig.fetched(2, 10)
    queue.ask(T0, rig.partition.topic_id, rig.asked.changes[0])
    while not asked:
        await asyncio.sleep(0.001)
    rig.partition.become_leader(5, in_sync=2, mark="external")
    rig.leaders.lead([replica(rig, isr=(1, 3), epoch=5)])
    rig.fetched(2, 10)
    queue.ask(T0, rig.partition.topic_id, rig.asked.changes[1])
    late.set()
    await asyncio.wait_for(altered.wait(), 30)
    assert asked == [4, 5]
    await queue.close()
