"""The controller by what it does to the coordination store and tells brokers."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from kafkax.cluster import znodes
from kafkax.cluster.controller.controller import ElectionType
from kafkax.cluster.controller.tenure import Settings
from kafkax.cluster.store import BadVersionError
from kafkax.cluster.znodes import PartitionState, TopicAssignment
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from tests.sim.rig import Rig

T0 = TopicPartition("t", 0)


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    await rig.stop()


async def test_one_of_the_candidates_is_elected_and_all_hear_of_it(rig):
    await rig.start(1, 2, 3)
    assert rig.cluster.controllers() == [1]
    assert rig.cluster.brokers[1].controller.epoch == 1
    assert all(rig.image(broker_id).controller_id == 1 for broker_id in (1, 2, 3))
    assert all(sorted(rig.image(broker_id).brokers) == [1, 2, 3] for broker_id in (1, 2, 3))
    assert json.loads(rig.zookeeper.tree.get("/controller")[0])["brokerid"] == 1
    assert rig.zookeeper.tree.get("/controller_epoch")[0] == b"1"


async def test_a_new_topic_gets_leaders_that_everybody_knows(rig):
    await rig.start(1, 2, 3)
    created = await rig.create(partitions=6, replication_factor=2)
    leaders = set()
    for index, replicas in created.replicas.items():
        state, version = rig.state(TopicPartition("t", index))
        assert (state.leader, state.leader_epoch, state.isr, version) == (replicas[0], 0, replicas, 0)
        leaders.add(state.leader)
        for broker_id in (1, 2, 3):
            image = rig.image(broker_id).partition("t", index)
            assert (image.leader, image.replicas, image.isr) == (replicas[0], replicas, replicas)
            told = rig.cluster.brokers[broker_id].replicas.get(TopicPartition("t", index))
            assert (told is not None) == (broker_id in replicas)
            assert told is None or told.is_new
    assert leaders == {1, 2, 3}


async def test_a_topic_without_a_living_replica_waits_for_one(rig):
    await rig.start(1)
    topic = TopicAssignment(uuid.uuid4(), {0: znodes.ReplicaAssignment((2,))})
    await rig.active.store.create("/brokers/topics/t", topic.encode())
    await rig.settled()
    assert rig.zookeeper.tree.get(znodes.state_path(*T0)) is None
    await rig.start(2)
    assert rig.state()[0].leader == 2


async def test_a_topic_of_an_old_kafka_is_given_an_id(rig):
    await rig.start(1)
    await rig.active.store.create("/brokers/topics/t", b'{"version":1,"partitions":{"0":[1]}}')
    await rig.settled()
    stored = TopicAssignment.decode("t", rig.zookeeper.tree.get("/brokers/topics/t")[0])
    assert stored.topic_id is not None
    assert rig.image(1).topics["t"].topic_id == stored.topic_id


async def test_when_a_leader_dies_the_next_in_sync_replica_leads(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [3, 2, 1]})
    await rig.kill(3)
    state, _ = rig.state()
    assert (state.leader, state.isr, state.leader_epoch) == (2, (2, 1), 1)
    for broker_id in (1, 2):
        assert rig.cluster.brokers[broker_id].replicas[T0].leader == 2
        image = rig.image(broker_id)
        assert image.partition("t", 0).offline == (3,)
        assert sorted(image.brokers) == [1, 2]


async def test_a_dead_follower_leaves_the_isr(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [1, 3]})
    await rig.kill(3)
    state, _ = rig.state()
    assert (state.leader, state.isr) == (1, (1,))


async def test_the_last_in_sync_replica_stays_in_the_isr_and_leads_again(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2]})
    await rig.kill(2)
    state, _ = rig.state()
    assert (state.leader, state.isr) == (-1, (2,))
    assert rig.image(1).partition("t", 0).leader == -1
    await rig.start(2)
    state, _ = rig.state()
    assert (state.leader, state.isr, state.leader_epoch) == (2, (2,), 2)
    assert rig.cluster.brokers[2].leads(T0)


async def test_a_replica_outside_the_isr_is_not_elected(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3]})
    await rig.cluster.brokers[2].change_isr(T0, [2])
    await rig.kill(2)
    assert rig.state()[0].leader == -1
    assert rig.state()[0].isr == (2,)


async def test_unclean_election_happens_only_where_it_is_allowed(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3]}, configs={"unclean.leader.election.enable": "true"})
    await rig.cluster.brokers[2].change_isr(T0, [2])
    await rig.kill(2)
    state, _ = rig.state()
    assert (state.leader, state.isr, state.recovering) == (3, (3,), True)


async def test_an_operator_may_force_an_unclean_election(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3]})
    await rig.cluster.brokers[2].change_isr(T0, [2])
    await rig.kill(2)
    outcome = await rig.active.controller.elect_leaders(ElectionType.UNCLEAN, [T0])
    assert outcome == {T0: None}
    assert rig.state()[0].leader == 3


async def test_a_broker_that_restarts_unnoticed_has_failed_all_the_same(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2, 1]})
    before, _ = rig.state()
    former = rig.cluster.brokers[2]
    await former.crash()
    # The new process deletes the id znode of its former life before the controller looks.
    await rig.start(2)
    after, _ = rig.state()
    assert after.leader_epoch > before.leader_epoch
    assert after.leader == 1
    assert rig.cluster.brokers[2].epoch > former.epoch


async def test_requests_meant_for_a_former_life_carry_its_epoch(rig):
    await rig.start(1, 2)
    former_epoch = rig.cluster.brokers[2].epoch
    await rig.kill(2)
    await rig.start(2)
    assert rig.cluster.brokers[2].epoch != former_epoch
    await rig.create(assignments={0: [2]})
    assert rig.cluster.brokers[2].leads(T0)


async def test_another_candidate_takes_over_and_fences_the_former(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [1, 2, 3]})
    await rig.kill(1)
    assert rig.cluster.controllers() == [2]
    assert rig.active.controller.epoch == 2
    assert rig.state()[0].leader == 2
    assert rig.state()[0].controller_epoch == 2
    assert rig.image(3).controller_id == 2


async def test_a_replaced_controller_cannot_write(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [1, 2]})
    ledger = rig.active.controller._office.tenure.ledger
    former = rig.cluster.brokers[1]
    former.store.disconnect()
    await rig.expire(1)
    assert not former.controller.active
    assert rig.cluster.controllers() == [2]
    before = rig.state()
    former.store.reconnect()
    with pytest.raises(Exception, match="controller epoch changed"):
        await ledger.update_states({T0: before[0]._replace(leader=1, leader_epoch=99)})
    assert rig.state() == before


async def test_a_suspended_controller_stops_and_goes_on_with_its_session(rig):
    await rig.start(1, 2)
    store = rig.cluster.brokers[1].store
    store.disconnect()
    assert not rig.cluster.brokers[1].controller.active
    store.reconnect()
    await rig.settled()
    assert rig.cluster.controllers() == [1]
    assert rig.active.controller.epoch == 2


async def test_a_controller_that_missed_a_failure_acts_on_it_when_elected(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [3, 1, 2]})
    for broker_id in (1, 3):
        await rig.crash(broker_id)
    await rig.expire(1, 3)
    assert rig.cluster.controllers() == [2]
    assert rig.state()[0].leader == 2
    assert rig.state()[0].isr == (2,)


async def test_leaders_that_restarted_without_a_controller_get_a_new_epoch(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [1, 2]})
    before, _ = rig.state()
    for broker_id in (1, 2):
        await rig.crash(broker_id)
    await rig.expire(1, 2)
    await rig.start(1, 2)
    assert rig.state()[0].leader_epoch > before.leader_epoch


async def test_deletion_reaches_every_replica_before_the_znodes_go(rig):
    await rig.start(1, 2, 3)
    await rig.create(partitions=2, replication_factor=3, configs={"retention.ms": "1"})
    outcome = await rig.active.admin.delete_topics(["t"], timeout_ms=5000)
    await rig.settled()
    assert outcome[0][0] == "t"
    for broker_id in (1, 2, 3):
        assert sorted(rig.cluster.brokers[broker_id].deleted) == [T0, TopicPartition("t", 1)]
        assert "t" not in rig.image(broker_id).topics
    tree = rig.zookeeper.tree
    assert [tree.get(path) for path in ("/brokers/topics/t", "/config/topics/t", "/admin/delete_topics/t")] == [None] * 3


async def test_a_topic_can_be_created_again_with_another_id(rig):
    await rig.start(1)
    first = await rig.create()
    await rig.active.admin.delete_topics([first.topic_id], timeout_ms=5000)
    second = await rig.create()
    assert second.topic_id != first.topic_id
    assert rig.image(1).topic_by_id(first.topic_id) is None
    assert rig.image(1).topic_by_id(second.topic_id).name == "t"


async def test_deletion_waits_for_a_broker_that_is_down(rig):
    await rig.start(1, 2)
    await rig.create(partitions=1, replication_factor=2)
    await rig.kill(2)
    await rig.active.store.create("/admin/delete_topics/t")
    await rig.settled()
    assert rig.zookeeper.tree.get("/brokers/topics/t") is not None
    await rig.start(2)
    assert rig.cluster.brokers[2].deleted == [T0]
    assert rig.zookeeper.tree.get("/brokers/topics/t") is None


async def test_a_new_controller_finishes_a_deletion(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3]})
    await rig.kill(3)
    await rig.active.store.create("/admin/delete_topics/t")
    await rig.settled()
    await rig.kill(1)
    await rig.start(3)
    assert rig.zookeeper.tree.get("/brokers/topics/t") is None
    assert rig.zookeeper.tree.get("/admin/delete_topics/t") is None


async def test_a_broker_that_was_away_hears_what_was_deleted_meanwhile(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [1]})
    away = rig.cluster.brokers[2]
    away.store.disconnect()
    await rig.expire(2)
    await rig.active.admin.delete_topics(["t"], timeout_ms=5000)
    away.store.reconnect()
    await rig.settled()
    assert rig.image(2).topics == {}


async def test_marking_an_unknown_topic_does_nothing(rig):
    await rig.start(1)
    await rig.active.store.create("/admin/delete_topics/ghost")
    await rig.settled()
    assert rig.zookeeper.tree.get("/admin/delete_topics/ghost") is None


async def test_partitions_can_be_added(rig):
    await rig.start(1, 2)
    await rig.create(partitions=1)
    await rig.active.admin.create_partitions("t", 3, timeout_ms=5000)
    assert sorted(rig.image(2).topics["t"].partitions) == [0, 1, 2]
    assert rig.state(TopicPartition("t", 2))[0].leader in (1, 2)


async def test_isr_changes_are_written_and_spread(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3]})
    response = await rig.cluster.brokers[2].change_isr(T0, [2])
    answer = response.topics[0].partitions[0]
    assert (answer.error_code, answer.isr, answer.partition_epoch, answer.leader_epoch) == (0, [2], 1, 0)
    await rig.settled()
    assert rig.state() == (PartitionState(2, 0, (2,), 1), 1)
    assert rig.image(1).partition("t", 0).isr == (2,)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"leader_epoch": -1}, ErrorCode.FENCED_LEADER_EPOCH),
        ({"leader_epoch": 1}, ErrorCode.NOT_CONTROLLER),
        ({"partition_epoch": 1}, ErrorCode.NOT_CONTROLLER),
        ({"partition_epoch": -1}, ErrorCode.INVALID_UPDATE_VERSION),
    ],
)
async def test_isr_changes_with_another_epoch_are_refused(rig, change, code):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2, 1]})
    leader = rig.cluster.brokers[2]
    for field, step in change.items():
        setattr(leader.replicas[T0], field, getattr(leader.replicas[T0], field) + step)
    response = await leader.change_isr(T0, [2])
    assert response.topics[0].partitions[0].error_code == code
    assert rig.state()[1] == 0


async def test_isr_changes_of_a_former_life_are_refused(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2, 1]})
    leader = rig.cluster.brokers[2]
    leader.epoch -= 1
    assert (await leader.change_isr(T0, [2])).error_code == ErrorCode.STALE_BROKER_EPOCH


async def test_a_replica_may_join_the_isr_only_in_its_present_life(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3]})
    leader = rig.cluster.brokers[2]
    await leader.change_isr(T0, [2])
    rig.cluster.brokers[3].epoch -= 1
    answer = (await leader.change_isr(T0, [2, 3])).topics[0].partitions[0]
    assert answer.error_code == ErrorCode.INELIGIBLE_REPLICA
    rig.cluster.brokers[3].epoch += 1
    assert (await leader.change_isr(T0, [2, 3])).topics[0].partitions[0].isr == [2, 3]


async def test_only_the_leader_changes_the_isr(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2, 1]})
    answer = (await rig.cluster.brokers[1].change_isr(T0, [1])).topics[0].partitions[0]
    assert answer.error_code == ErrorCode.INVALID_REQUEST


async def test_a_broker_that_stops_orderly_hands_over_first(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3], 1: [3, 2]})
    await rig.create("single", assignments={0: [2]})
    left = await rig.active.controller.shut_down_broker(2, rig.cluster.brokers[2].epoch)
    await rig.settled()
    assert left == []
    assert (rig.state()[0].leader, rig.state()[0].isr) == (3, (3,))
    assert rig.state(TopicPartition("t", 1))[0].isr == (3,)
    assert rig.cluster.brokers[3].leads(T0)
    assert T0 not in rig.cluster.brokers[2].replicas
    with pytest.raises(KafkaError) as stale:
        await rig.active.controller.shut_down_broker(2, 1)
    assert stale.value.code is ErrorCode.STALE_BROKER_EPOCH


async def test_preferred_leaders_come_back_on_request(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [3, 2]})
    await rig.kill(3)
    await rig.start(3)
    outcome = await rig.active.controller.elect_leaders(ElectionType.PREFERRED, [T0])
    assert outcome[T0].code is ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
    await rig.cluster.brokers[2].change_isr(T0, [2, 3])
    assert await rig.active.controller.elect_leaders(ElectionType.PREFERRED, None) == {T0: None}
    assert rig.state()[0].leader == 3
    again = await rig.active.controller.elect_leaders(ElectionType.PREFERRED, [T0, TopicPartition("x", 0)])
    assert again[T0].code is ErrorCode.ELECTION_NOT_NEEDED
    assert again[TopicPartition("x", 0)].code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_leaders_are_rebalanced_by_themselves(rig):
    await rig.start(1, 2, 3, settings=Settings(rebalance_interval_s=0.05))
    await rig.create(assignments={0: [3, 2]})
    await rig.kill(3)
    await rig.start(3)
    await rig.cluster.brokers[2].change_isr(T0, [2, 3])
    while rig.state()[0].leader != 3:
        await asyncio.sleep(0.01)


async def test_preferred_leaders_can_be_asked_for_through_the_store(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2, 1]})
    await rig.kill(2)
    await rig.start(2)
    await rig.cluster.brokers[1].change_isr(T0, [1, 2])
    content = b'{"version":1,"partitions":[{"topic":"t","partition":0}]}'
    await rig.active.store.create("/admin/preferred_replica_election", content)
    await rig.settled()
    assert rig.state()[0].leader == 2
    assert rig.zookeeper.tree.get("/admin/preferred_replica_election") is None


async def test_reassignment_adds_then_removes(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [1, 2]})
    controller = rig.active.controller
    assert await controller.alter_reassignments({T0: [3, 2]}) == {T0: None}
    await rig.settled()
    stored = TopicAssignment.decode("t", rig.zookeeper.tree.get("/brokers/topics/t")[0]).partitions[0]
    assert stored == znodes.ReplicaAssignment((3, 2, 1), adding=(3,), removing=(1,))
    assert rig.cluster.brokers[3].replicas[T0].is_new
    assert rig.cluster.brokers[1].leads(T0)
    assert await controller.list_reassignments() == [(T0, stored)]

    await rig.cluster.brokers[1].change_isr(T0, [1, 2, 3])
    await rig.settled()
    stored = TopicAssignment.decode("t", rig.zookeeper.tree.get("/brokers/topics/t")[0]).partitions[0]
    assert stored == znodes.ReplicaAssignment((3, 2))
    state, _ = rig.state()
    assert (state.leader, set(state.isr)) == (3, {2, 3})
    assert rig.cluster.brokers[1].deleted == [T0]
    assert rig.image(1).partition("t", 0).replicas == (3, 2)


async def test_reassignment_can_be_cancelled(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [1, 2]})
    controller = rig.active.controller
    outcome = await controller.alter_reassignments({T0: None})
    assert outcome[T0].code is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS
    await controller.alter_reassignments({T0: [2, 3]})
    await controller.alter_reassignments({T0: None})
    await rig.settled()
    stored = TopicAssignment.decode("t", rig.zookeeper.tree.get("/brokers/topics/t")[0]).partitions[0]
    assert set(stored.replicas) == {1, 2}
    assert not stored.reassigning
    assert rig.cluster.brokers[3].deleted == [T0]


async def test_the_only_replica_in_sync_cannot_be_dropped(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [3]})
    await rig.active.controller.alter_reassignments({T0: [2, 1]})
    await rig.settled()
    await rig.cluster.brokers[3].change_isr(T0, [3, 2])
    await rig.kill(3)
    assert (rig.state()[0].leader, rig.state()[0].isr) == (2, (2,))
    for target in ([1, 3], None):
        outcome = await rig.active.controller.alter_reassignments({T0: target})
        assert outcome[T0].code is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert rig.cluster.brokers[2].leads(T0)


async def test_a_new_controller_goes_on_with_a_reassignment(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2]})
    await rig.active.controller.alter_reassignments({T0: [3]})
    await rig.kill(1)
    await rig.cluster.brokers[2].change_isr(T0, [2, 3])
    await rig.settled()
    assert rig.state()[0].isr == (3,)
    assert rig.cluster.brokers[3].leads(T0)


@pytest.mark.parametrize(("target", "code"), [([], 39), ([1, 1], 39), ([9], 39), ([-1], 39)])
async def test_impossible_reassignments_are_refused(rig, target, code):
    await rig.start(1)
    await rig.create()
    outcome = await rig.active.controller.alter_reassignments({T0: target, TopicPartition("x", 0): [1]})
    assert outcome[T0].code == code
    assert outcome[TopicPartition("x", 0)].code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_a_replica_on_a_failed_log_directory_is_replaced_as_leader(rig):
    await rig.start(1, 2, 3)
    await rig.create(assignments={0: [2, 3], 1: [2, 3]})
    broker = rig.cluster.brokers[2]
    broker.broken.add(T0)
    await broker.store.create(znodes.LOG_DIR_EVENT_PREFIX, znodes.encode_log_dir_event(2), sequence=True)
    await rig.settled()
    assert (rig.state()[0].leader, rig.state()[0].isr) == (3, (3,))
    assert rig.state(TopicPartition("t", 1))[0].leader == 2
    assert rig.image(1).partition("t", 0).offline == (2,)
    assert rig.zookeeper.tree.children(znodes.LOG_DIR_EVENTS) == []


async def test_requests_are_refused_by_a_broker_that_is_not_controller(rig):
    await rig.start(1, 2)
    with pytest.raises(KafkaError) as refused:
        await rig.cluster.brokers[2].controller.list_reassignments()
    assert refused.value.code is ErrorCode.NOT_CONTROLLER


async def test_a_state_left_by_a_creation_cut_short_is_taken_over(rig):
    await rig.start(1)
    store = rig.active.store
    await rig.kill(1)
    helper = rig.zookeeper.connect()
    topic = TopicAssignment(uuid.uuid4(), {i: znodes.ReplicaAssignment((1,)) for i in range(3)})
    await helper.create("/brokers/topics/t", topic.encode())
    await helper.ensure_paths(["/brokers/topics/t/partitions/1"])
    await helper.create(znodes.state_path("t", 1), PartitionState(1, 7, (1,), 1).encode())
    assert store is not helper
    await rig.start(1)
    assert [rig.state(TopicPartition("t", i))[0].leader for i in range(3)] == [1, 1, 1]
    assert rig.state(TopicPartition("t", 1))[0].leader_epoch == 7


async def test_a_conflicting_state_write_is_read_again_and_repeated(rig):
    await rig.start(1, 2)
    await rig.create(assignments={0: [2, 1]})
    path = znodes.state_path(*T0)
    # A broker of an older Kafka wrote the ISR itself.
    await rig.active.store.set(path, PartitionState(2, 0, (2, 1), 1).encode(), 0)
    with pytest.raises(BadVersionError):
        await rig.active.store.set(path, b"", 0)
    await rig.kill(2)
    assert rig.state() == (PartitionState(1, 1, (1,), 1), 2)
