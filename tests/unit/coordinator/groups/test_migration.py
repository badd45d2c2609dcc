"""Groups that change their protocol while members go on (KIP-848)."""

from __future__ import annotations

from typing import Any

import pytest

from kafkax.coordinator.groups.settings import Caller, GroupSettings, MigrationPolicy
from kafkax.errors import ErrorCode
from kafkax.protocol.coordinator_records.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from kafkax.protocol.coordinator_records.consumer_protocol import TopicPartition as OwnedPartitions
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from tests.sim.groups_world import GroupsWorld, Held

POLICY = {"initial_rebalance_delay_ms": 0, "consumer_assignment_interval_ms": 0}


@pytest.fixture
def world() -> GroupsWorld:
    world = GroupsWorld(GroupSettings(**POLICY))
    world.have(t=4)
    return world


def says(owned: Held | None = None, *topics: str) -> tuple[tuple[str, bytes], ...]:
    held = [OwnedPartitions(topic=name, partitions=partitions) for name, partitions in (owned or {}).items()]
    metadata = ConsumerProtocolSubscription(topics=list(topics or ("t",)), owned_partitions=held).to_bytes(1)
    return (("range", metadata),)


def gets(assignment: bytes) -> Held:
    decoded = ConsumerProtocolAssignment.from_bytes(assignment)
    return {each.topic: each.partitions for each in decoded.assigned_partitions}


def assigns(**held: list[int]) -> bytes:
    partitions = [ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=each) for topic, each in held.items()]
    return ConsumerProtocolAssignment(assigned_partitions=partitions).to_bytes(1)


def classic_group(world: GroupsWorld, **more: Any) -> tuple[str, int]:
    """A classic group of one member that has everything; its id and the generation."""
    member, join = world.join_two_step(protocols=says(), **more)
    generation = world.done(join).generation_id
    assert gets(world.done(world.sync(member, generation, {member: assigns(t=[0, 1, 2, 3])})).assignment) == {"t": [0, 1, 2, 3]}
    return member, generation


def test_a_first_member_of_the_new_protocol_upgrades_the_group(world: GroupsWorld) -> None:
    classic, generation = classic_group(world)
    world.commit(7, classic, generation)
    joined = world.beat("N")
    assert (joined.error_code, joined.member_epoch, world.given(joined)) == (0, generation + 1, {})
    assert world.listed()["g"][0] == "consumer"
    described = {member.member_id: member.member_type for member in world.describe_consumer().members}
    assert described == {classic: 0, "N": 1}
    assert world.fetched() == 7


def test_classic_members_go_on_in_a_consumer_group(world: GroupsWorld) -> None:
    classic, generation = classic_group(world)
    new = world.beat("N")
    assert world.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.commit(1, classic, generation) == 0
    again = world.done(world.join(classic, protocols=says({"t": [0, 1, 2, 3]})))
    assert (again.error_code, again.generation_id, again.leader, again.members) == (0, generation, "", [])
    keeps = gets(world.done(world.sync(classic, again.generation_id)).assignment)
    assert len(keeps["t"]) == 2
    assert world.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    last = world.done(world.join(classic, protocols=says(keeps)))
    assert last.generation_id == generation + 1
    assert gets(world.done(world.sync(classic, last.generation_id)).assignment) == keeps
    assert world.heartbeat(classic, last.generation_id) == 0
    given = world.given(world.beat("N", new.member_epoch))
    assert given is not None
    assert sorted(given["t"] + keeps["t"]) == [0, 1, 2, 3]


def test_new_classic_members_may_join_it(world: GroupsWorld) -> None:
    world.beat("N")
    asked = world.done(world.join(protocols=says()))
    assert asked.error_code == ErrorCode.MEMBER_ID_REQUIRED
    joined = world.done(world.join(asked.member_id, protocols=says()))
    assert (joined.error_code, joined.protocol_name, joined.protocol_type) == (0, "range", "consumer")
    assert gets(world.done(world.sync(asked.member_id, joined.generation_id)).assignment) == {}
    assert world.heartbeat(asked.member_id, joined.generation_id) == 0
    world.beat("N", 2)
    world.beat("N", 2, owned={"t": [0, 1]})
    assert world.heartbeat(asked.member_id, joined.generation_id) == ErrorCode.REBALANCE_IN_PROGRESS, "what it waits for is free"


@pytest.mark.parametrize(
    "odd",
    [{"kind": "connect"}, {"protocols": ()}, {"protocols": (("range", b"\xff"),)}, {"protocols": (("range", b"\x00\x01\x7f"),)}],
)
def test_what_is_no_consumer_may_not(world: GroupsWorld, odd: dict[str, Any]) -> None:
    world.beat("N")
    assert (
        world.done(world.join(**{"protocols": says(), "version": 3, **odd})).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    )


def test_classic_requests_check_who_asks(world: GroupsWorld) -> None:
    classic, generation = classic_group(world)
    world.beat("N")
    assert world.heartbeat("N", generation + 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.heartbeat("none", generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.heartbeat(classic, generation + 1) == ErrorCode.ILLEGAL_GENERATION
    assert world.heartbeat(classic, generation, instance="i") == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.done(world.sync(classic, generation)).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.done(world.sync(classic, generation + 1)).error_code == ErrorCode.ILLEGAL_GENERATION
    assert world.done(world.sync(classic, generation, protocol="other")).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert [each.error_code for each in world.leave(classic, "N", "none").members] == [0, 0, 25]


def test_when_the_last_new_member_goes_the_group_is_classic_again(world: GroupsWorld) -> None:
    classic, generation = classic_group(world)
    new = world.beat("N")
    world.beat("N", -1)
    assert world.listed()["g"] == ("classic", "PreparingRebalance")
    assert world.heartbeat(classic, new.member_epoch) == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.heartbeat(classic, generation) == ErrorCode.ILLEGAL_GENERATION
    joined = world.done(world.join(classic, protocols=says()))
    assert (joined.error_code, joined.leader) == (0, classic)
    assert joined.generation_id > new.member_epoch
    world.restart()
    assert world.listed()["g"][0] == "classic"


@pytest.mark.parametrize("policy", [MigrationPolicy.DISABLED, MigrationPolicy.DOWNGRADE])
def test_an_upgrade_may_be_forbidden(policy: MigrationPolicy) -> None:
    world = GroupsWorld(GroupSettings(**POLICY, migration_policy=policy))
    world.have(t=4)
    classic, generation = classic_group(world)
    assert world.beat("N").error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert world.heartbeat(classic, generation) == 0


def test_a_downgrade_may_be_forbidden() -> None:
    world = GroupsWorld(GroupSettings(**POLICY, migration_policy=MigrationPolicy.UPGRADE))
    world.have(t=4)
    classic_group(world)
    world.beat("N")
    world.beat("N", -1)
    assert world.listed()["g"][0] == "consumer"


def test_members_that_cannot_be_read_keep_the_group_classic(world: GroupsWorld) -> None:
    (member,), generation = world.form(1)
    assert world.beat("N").error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert world.heartbeat(member, generation) == 0
    world.time.run(10_001)
    assert world.listed()["g"] == ("classic", "Empty"), "its session is still watched"


def test_an_upgrade_that_cannot_be_written_is_undone(world: GroupsWorld) -> None:
    classic, generation = classic_group(world)
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.beat("N").error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    world.topic.fail_append = lambda: None
    assert world.listed()["g"] == ("classic", "Stable")
    for _ in range(3):
        assert world.heartbeat(classic, generation) == 0
        world.time.run(9_000)
    world.time.run(10_001)
    assert world.listed()["g"] == ("classic", "Empty")


def test_a_downgrade_that_cannot_be_written_is_undone(world: GroupsWorld) -> None:
    classic, generation = classic_group(world)
    epoch = world.beat("N").member_epoch
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.beat("N", -1).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    world.topic.fail_append = lambda: None
    assert world.listed()["g"][0] == "consumer"
    assert world.beat("N", epoch).error_code == 0
    assert world.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    world.time.run(10_001)
    assert world.given(world.beat("N", epoch)) == {"t": [0, 1, 2, 3]}, "the classic member is silent and still watched"


def test_empty_groups_take_either_protocol(world: GroupsWorld) -> None:
    world.commit(1)
    world.beat("N")
    assert world.fetched() == 1
    world.beat("N", -1)
    assert world.listed()["g"] == ("consumer", "Empty")
    classic, generation = classic_group(world)
    assert world.listed()["g"] == ("classic", "Stable")
    world.restart()
    assert world.heartbeat(classic, generation) == 0
    assert world.fetched() == 1


def test_a_migrated_group_survives_a_restart(world: GroupsWorld) -> None:
    classic, generation = classic_group(world, instance=None)
    world.beat("N")
    before = world.describe_consumer()
    world.restart()
    assert world.describe_consumer() == before
    assert world.heartbeat(classic, generation) == ErrorCode.REBALANCE_IN_PROGRESS


def test_silent_classic_members_are_removed_from_a_consumer_group(world: GroupsWorld) -> None:
    classic_group(world)
    new = world.beat("N")
    world.time.run(10_001)
    answer = world.beat("N", new.member_epoch)
    assert world.given(answer) == {"t": [0, 1, 2, 3]}


def test_a_classic_member_that_is_told_to_join_and_does_not_is_removed(world: GroupsWorld) -> None:
    classic, generation = classic_group(world, rebalance_ms=15_000)
    epoch = world.beat("N").member_epoch
    for _ in range(4):
        world.time.run(5_000)
        code = world.heartbeat(classic, generation)
    assert code == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.given(world.beat("N", epoch)) == {"t": [0, 1, 2, 3]}


def test_static_classic_members_are_replaced(world: GroupsWorld) -> None:
    world.beat("N")
    first = world.done(world.join(instance="i", protocols=says()))
    assert first.error_code == 0
    second = world.done(world.join(instance="i", protocols=says()))
    assert (second.error_code, second.member_id != first.member_id) == (0, True)
    assert world.heartbeat(first.member_id, first.generation_id, instance="i") == ErrorCode.FENCED_INSTANCE_ID
    assert world.done(world.join(first.member_id, instance="i", protocols=says())).error_code == ErrorCode.FENCED_INSTANCE_ID
    assert world.leave(("", "i")).members[0].error_code == 0


def test_a_static_member_may_go_back_to_the_classic_protocol(world: GroupsWorld) -> None:
    world.beat("N", instance="i")
    back = world.done(world.join(instance="i", protocols=says()))
    assert back.error_code == 0
    assert world.listed()["g"][0] == "classic"
    again = world.done(world.join(back.member_id, instance="i", protocols=says()))
    assert (again.error_code, again.leader) == (0, back.member_id)
    world.time.run(10_001)
    world.time.run(10_001)
    assert world.listed()["g"] == ("classic", "Empty"), "its session is watched as a classic member's"


def test_a_change_of_protocol_whose_commit_takes_too_long_stands(world: GroupsWorld) -> None:
    classic, _ = classic_group(world)
    world.beat("N")
    world.topic.stalled = True
    world.coordinator.consumer_heartbeat(
        Caller("c", "/h", 1), ConsumerGroupHeartbeatRequest(group_id="g", member_id="N", member_epoch=-1)
    )
    world.time.run(1_000)
    assert world.coordinator.runtime.shard(0).list_groups(frozenset(), frozenset({"classic"})), "it is one already"
    world.time.run(6_000)
    world.topic.resume()
    world.time.run(120_000)
    assert world.listed()["g"] == ("classic", "Empty"), f"{classic} was silent for long enough"


def test_a_classic_member_whose_join_takes_too_long_to_commit_is_watched(world: GroupsWorld) -> None:
    world.beat("N")
    asked = world.done(world.join(protocols=says()))
    world.topic.stalled = True
    joining = world.join(asked.member_id, protocols=says())
    world.time.run(6_000)
    assert joining.result().error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    world.topic.resume()
    world.time.run(30_000)
    assert asked.member_id not in {member.member_id for member in world.describe_consumer().members}
