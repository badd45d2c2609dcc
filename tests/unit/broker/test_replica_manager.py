"""What the controller says is done once, in order, and only if it is meant for this life of this broker."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

pytest.importorskip("kafkax._core.partition")

from kafkax.broker import replica_manager
from kafkax.broker.replica_manager import LeadershipChange, ReplicaManager
from kafkax.cluster.image import MetadataCache
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.leader_and_isr import LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState
from kafkax.protocol.messages.stop_replica import StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)

T0 = TopicPartition("t", 0)
TOPIC_ID = uuid4()


class FakePartition:
    def __init__(self, topic, index, topic_id, log):
        self.topic, self.index, self.topic_id, self.log = topic, index, topic_id, log
        self.calls = []

    def become_leader(self, epoch, *, in_sync, min_in_sync, mark, leader):
        assert leader == 1
        self.calls.append(("lead", epoch, in_sync, min_in_sync, mark))

    def become_follower(self, epoch, *, leader=None):
        self.leader = leader
        self.calls.append(("follow", epoch))

    def set_in_sync(self, in_sync, min_in_sync):
        self.calls.append(("isr", in_sync, min_in_sync))


class FakeLogs:
    def __init__(self):
        self.hosted = {}
        self.deleted = []
        self.broken = set()
        self.lost = set()
        self.synced = True
        self.min_in_sync = 1

    @contextlib.contextmanager
    def creating(self):
        self.synced = False
        yield
        self.synced = True
        for partition in self.lost:
            self.hosted.pop(partition, None)

    def create(self, partition, topic_id, *, is_new):
        if partition in self.broken:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
        config = {"min.insync.replicas": self.min_in_sync}
        hosted = self.hosted.setdefault(partition, SimpleNamespace(log=object(), topic_id=topic_id, config=config))
        if hosted.topic_id != topic_id:
            raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID)
        return hosted

    def get(self, partition):
        return self.hosted.get(partition)

    def logs(self):
        return [SimpleNamespace(partition=partition) for partition in self.hosted]

    def delete(self, partition, *, stray=False):
        self.deleted.append((partition, stray))
        return self.hosted.pop(partition, None) is not None


class FakeRegistry(dict):
    logs: FakeLogs

    def add(self, partition):
        assert (partition.topic, partition.index) not in self
        assert self.logs.synced, "what is not on the disk is not to be found yet"
        self[partition.topic, partition.index] = partition

    def remove(self, topic, index):
        return self.pop((topic, index), None)

    def remove_all(self, partitions):
        for partition in partitions:
            self.remove(*partition)


class FakeConfigs:
    def __init__(self):
        self.read_for = []

    async def read(self, entities):
        self.read_for += entities


class FakeFollowers:
    def __init__(self):
        self.calls = []

    def follow(self, replicas):
        self.calls += [("follow", replica.partition.index, replica.leader) for replica in replicas]

    def lead(self, replicas):
        self.calls += [("lead", replica.partition.index, replica.isr) for replica in replicas]

    def forget(self, partitions):
        self.calls += [("forget", partition.partition) for partition in partitions]


@pytest.fixture
def broker(monkeypatch):
    monkeypatch.setattr(replica_manager, "Partition", FakePartition)
    parts = SimpleNamespace(
        logs=FakeLogs(),
        registry=FakeRegistry(),
        cache=MetadataCache("c"),
        configs=FakeConfigs(),
        followers=FakeFollowers(),
        changes=[],
    )
    parts.registry.logs = parts.logs
    parts.manager = ReplicaManager(1, parts.registry, parts.logs, parts.cache, parts.configs, parts.followers)
    parts.manager.broker_epoch = 10
    parts.manager.on_leadership(parts.changes.extend)
    return parts


def leader_and_isr(*states, controller_epoch=1, broker_epoch=10, topic_id=TOPIC_ID):
    topic = LeaderAndIsrTopicState(topic_name="t", topic_id=topic_id, partition_states=list(states))
    return LeaderAndIsrRequest(controller_epoch=controller_epoch, broker_epoch=broker_epoch, topic_states=[topic])


def state(index=0, leader=1, leader_epoch=0, isr=(1,), replicas=(1,), partition_epoch=0, is_new=True):
    return LeaderAndIsrPartitionState(
        partition_index=index,
        leader=leader,
        leader_epoch=leader_epoch,
        isr=list(isr),
        replicas=list(replicas),
        partition_epoch=partition_epoch,
        is_new=is_new,
    )


def stop(index=0, leader_epoch=0, delete=True, controller_epoch=1, broker_epoch=10):
    partition = StopReplicaPartitionState(partition_index=index, leader_epoch=leader_epoch, delete_partition=delete)
    topic = StopReplicaTopicState(topic_name="t", partition_states=[partition])
    return StopReplicaRequest(controller_epoch=controller_epoch, broker_epoch=broker_epoch, topic_states=[topic])


def codes(response):
    return [error.error_code for topic in response.topics for error in topic.partition_errors]


async def test_a_new_partition_is_created_led_and_found(broker):
    response = await broker.manager.handle(leader_and_isr(state()))
    assert response.error_code == 0
    assert codes(response) == [0]
    assert response.topics[0].topic_id == TOPIC_ID
    partition = broker.registry["t", 0]
    assert isinstance(partition.topic_id, UUID)
    assert partition.calls == [("lead", 0, 1, 1, "auto")]
    assert broker.configs.read_for == [("topics", "t")]
    assert broker.changes == [LeadershipChange(T0, 0, True)]
    assert broker.manager.replica(T0).leader == 1


async def test_a_new_partition_whose_directory_went_offline_meanwhile_does_not_appear(broker):
    broker.logs.lost.add(T0)
    assert codes(await broker.manager.handle(leader_and_isr(state()))) == [ErrorCode.KAFKA_STORAGE_ERROR]
    assert ("t", 0) not in broker.registry
    assert broker.manager.replica(T0) is None


async def test_a_replicated_partition_leaves_the_high_watermark_to_replication(broker):
    broker.logs.min_in_sync = 2
    await broker.manager.handle(leader_and_isr(state(isr=(1, 2), replicas=(1, 2))))
    assert broker.registry["t", 0].calls == [("lead", 0, 2, 2, "external")]
    assert broker.followers.calls == [("lead", 0, (1, 2))]


async def test_the_same_state_again_changes_nothing(broker):
    for _ in range(2):
        assert codes(await broker.manager.handle(leader_and_isr(state()))) == [0]
    assert broker.registry["t", 0].calls == [("lead", 0, 1, 1, "auto")]
    assert len(broker.changes) == 1


async def test_a_leader_becomes_follower_and_leader_again(broker):
    await broker.manager.handle(leader_and_isr(state(replicas=(1, 2))))
    await broker.manager.handle(leader_and_isr(state(leader=2, leader_epoch=1, replicas=(1, 2), is_new=False)))
    await broker.manager.handle(leader_and_isr(state(leader=1, leader_epoch=2, replicas=(1, 2), is_new=False)))
    assert [call[:2] for call in broker.registry["t", 0].calls] == [("lead", 0), ("follow", 1), ("lead", 2)]
    assert broker.registry["t", 0].leader == 2, "which clients that wait are told, before the image says so"
    assert broker.changes == [LeadershipChange(T0, 0, True), LeadershipChange(T0, 1, False), LeadershipChange(T0, 2, True)]
    assert broker.followers.calls == [("lead", 0, (1,)), ("forget", 0), ("follow", 0, 2), ("forget", 0), ("lead", 0, (1,))]


async def test_an_isr_change_does_not_begin_a_new_leadership(broker):
    await broker.manager.handle(leader_and_isr(state(isr=(1, 2), replicas=(1, 2))))
    await broker.manager.handle(leader_and_isr(state(isr=(1,), replicas=(1, 2), partition_epoch=1)))
    assert broker.registry["t", 0].calls[1:] == [("isr", 1, 1)]
    assert len(broker.changes) == 1
    assert ("forget", 0) not in broker.followers.calls


async def test_an_altered_isr_counts_at_once_and_never_goes_back(broker):
    await broker.manager.handle(leader_and_isr(state(isr=(1, 2), replicas=(1, 2))))
    broker.manager.altered(T0, (1,), 2)
    broker.manager.altered(T0, (1, 2), 1)
    assert broker.manager.replica(T0).isr == (1,)
    assert broker.registry["t", 0].calls[1:] == [("isr", 1, 1)]


async def test_an_older_leader_epoch_is_refused(broker):
    await broker.manager.handle(leader_and_isr(state(leader_epoch=5)))
    response = await broker.manager.handle(leader_and_isr(state(leader_epoch=4, leader=2)))
    assert codes(response) == [ErrorCode.STALE_CONTROLLER_EPOCH]
    assert broker.manager.replica(T0).leader_epoch == 5


@pytest.mark.parametrize("request_of", [leader_and_isr, stop])
async def test_a_replaced_controller_is_not_obeyed(broker, request_of):
    await broker.manager.handle(leader_and_isr(state(), controller_epoch=3))
    request = request_of(controller_epoch=2)
    assert (await broker.manager.handle(request)).error_code == ErrorCode.STALE_CONTROLLER_EPOCH
    assert broker.manager.replica(T0) is not None


@pytest.mark.parametrize("request_of", [leader_and_isr, stop])
async def test_what_was_meant_for_a_former_life_is_refused(broker, request_of):
    await broker.manager.handle(leader_and_isr(state()))
    assert (await broker.manager.handle(request_of(broker_epoch=9))).error_code == ErrorCode.STALE_BROKER_EPOCH
    assert broker.manager.replica(T0) is not None


async def test_a_partition_of_others_is_refused(broker):
    assert codes(await broker.manager.handle(leader_and_isr(state(replicas=(2, 3))))) == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert not broker.registry


async def test_a_log_of_a_deleted_topic_of_the_same_name_is_put_aside(broker):
    await broker.manager.handle(leader_and_isr(state(leader_epoch=7)))
    other = uuid4()
    assert codes(await broker.manager.handle(leader_and_isr(state(leader_epoch=0), topic_id=other))) == [0]
    assert broker.logs.deleted == [(T0, True)]
    assert broker.registry["t", 0].topic_id == other
    assert broker.changes[-1] == LeadershipChange(T0, 0, True)


async def test_a_replica_whose_disk_fails_says_so_from_then_on(broker):
    broker.logs.broken.add(T0)
    assert codes(await broker.manager.handle(leader_and_isr(state()))) == [ErrorCode.KAFKA_STORAGE_ERROR]
    broker.logs.broken.clear()
    assert codes(await broker.manager.handle(leader_and_isr(state(leader_epoch=1)))) == [ErrorCode.KAFKA_STORAGE_ERROR]
    assert broker.manager.offline() == {T0}


async def test_a_failed_directory_ends_leadership(broker):
    await broker.manager.handle(leader_and_isr(state(), state(index=1)))
    led = broker.manager.directory_failed([SimpleNamespace(partition=T0)])
    assert led == [T0]
    assert broker.changes[-1] == LeadershipChange(T0, -1, False)
    assert codes(await broker.manager.handle(leader_and_isr(state(), state(index=1)))) == [ErrorCode.KAFKA_STORAGE_ERROR, 0]


async def test_stop_without_delete_keeps_the_log(broker):
    await broker.manager.handle(leader_and_isr(state()))
    response = await broker.manager.handle(stop(delete=False))
    assert [error.error_code for error in response.partition_errors] == [0]
    assert broker.manager.replica(T0) is None
    assert broker.registry[tuple(T0)].calls[-1][0] == "follow", "clients are told that it is led elsewhere"
    assert broker.logs.deleted == []
    assert broker.changes[-1] == LeadershipChange(T0, -1, False)


async def test_stop_with_delete_removes_the_log_also_of_a_replica_never_begun(broker):
    await broker.manager.handle(leader_and_isr(state()))
    await broker.manager.handle(stop())
    await broker.manager.handle(stop(index=1))
    assert broker.logs.deleted == [(T0, False), (TopicPartition("t", 1), False)]


@pytest.mark.parametrize(("epoch", "code"), [(4, ErrorCode.FENCED_LEADER_EPOCH), (5, 0), (-1, 0), (-2, 0)])
async def test_stop_is_fenced_by_leader_epoch(broker, epoch, code):
    await broker.manager.handle(leader_and_isr(state(leader_epoch=5)))
    response = await broker.manager.handle(stop(leader_epoch=epoch))
    assert response.partition_errors[0].error_code == code


async def test_metadata_goes_into_the_image_unless_it_is_stale(broker):
    request = UpdateMetadataRequest(
        controller_id=3, controller_epoch=2, broker_epoch=10, live_brokers=[UpdateMetadataBroker(id=1)]
    )
    assert (await broker.manager.handle(request)).error_code == 0
    assert broker.cache.image.controller_id == 3
    stale = UpdateMetadataRequest(controller_id=4, controller_epoch=1, broker_epoch=10)
    assert (await broker.manager.handle(stale)).error_code == ErrorCode.STALE_CONTROLLER_EPOCH
    assert broker.cache.image.controller_id == 3


async def test_no_more_replicas_have_to_be_in_sync_than_there_are(broker):
    broker.logs.min_in_sync = 2
    await broker.manager.handle(leader_and_isr(state()))
    assert broker.registry["t", 0].calls == [("lead", 0, 1, 1, "auto")]
    await broker.manager.handle(leader_and_isr(state(replicas=(1, 2), partition_epoch=1, is_new=False)))
    assert broker.registry["t", 0].calls[-1] == ("isr", 1, 2)


async def test_a_changed_topic_config_reaches_the_leader(broker):
    await broker.manager.handle(leader_and_isr(state(replicas=(1, 2))))
    broker.logs.hosted[T0].config["min.insync.replicas"] = 2
    broker.cache.set_configs({("topics", "t"): {"min.insync.replicas": "2"}})
    assert broker.registry["t", 0].calls[-1] == ("isr", 1, 2)


async def test_replicas_that_a_full_update_does_not_know_are_put_aside(broker):
    await broker.manager.handle(leader_and_isr(state(), state(index=1)))
    known = UpdateMetadataTopicState(
        topic_name="t",
        topic_id=TOPIC_ID,
        partition_states=[UpdateMetadataPartitionState(partition_index=1, leader=1, isr=[1], replicas=[1])],
    )
    request = UpdateMetadataRequest(controller_epoch=1, broker_epoch=10, type=2, topic_states=[known])
    await broker.manager.handle(request)
    assert broker.logs.deleted == [(T0, True)]
    assert [replica.partition.index for replica in broker.manager.replicas()] == [1]
    assert broker.changes[-1] == LeadershipChange(T0, -1, False)


async def test_replicas_that_moved_away_unnoticed_are_put_aside(broker):
    await broker.manager.handle(leader_and_isr(state()))
    elsewhere = UpdateMetadataPartitionState(partition_index=0, leader=2, isr=[2], replicas=[2])
    topic = UpdateMetadataTopicState(topic_name="t", topic_id=TOPIC_ID, partition_states=[elsewhere])
    await broker.manager.handle(UpdateMetadataRequest(controller_epoch=1, broker_epoch=10, topic_states=[topic]))
    assert broker.logs.deleted == []
    await broker.manager.handle(UpdateMetadataRequest(controller_epoch=1, broker_epoch=10, type=2, topic_states=[topic]))
    assert broker.logs.deleted == [(T0, True)]
