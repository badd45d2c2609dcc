"""Heartbeats that the network threads answer: when they do, and that they count for the session."""

from __future__ import annotations

from typing import Any

import pytest

from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from tests.sim.groups_world import GROUP, GroupsWorld

SESSION_MS = 45_000


class World(GroupsWorld):
    """A world whose heartbeats may stand."""

    def ask(self, request: HeartbeatRequest | ConsumerGroupHeartbeatRequest) -> Any:
        """Have the coordinator answer a heartbeat, which may then stand."""

        def keep(round_: int, response: Any) -> None:
            self.standing.keep(GROUP, request.member_id, round_, "c", frame(request), response)

        if isinstance(request, HeartbeatRequest):
            return self.coordinator.heartbeat(request, keep)
        return self.done(self.coordinator.consumer_heartbeat(Caller("c", "/127.0.0.1", 1), request, keep), 10)

    def stands(self, request: HeartbeatRequest | ConsumerGroupHeartbeatRequest) -> bool:
        """Whether a network thread answers it; if so, it has."""
        if self.standing.standing(GROUP, request.member_id, "c", frame(request)) is None:
            return False
        self.standing.answered(GROUP, request.member_id)
        return True


def frame(request: HeartbeatRequest | ConsumerGroupHeartbeatRequest) -> bytes:
    return request.encode(type(request).max_version)


@pytest.fixture
def world() -> World:
    return World(GroupSettings(initial_rebalance_delay_ms=0, consumer_assignment_interval_ms=0))


def classic(world: World, size: int = 1) -> tuple[HeartbeatRequest, list[str], int]:
    members, generation = world.form(size, session_ms=SESSION_MS)
    return HeartbeatRequest(group_id=GROUP, generation_id=generation, member_id=members[0]), members, generation


def consumer(world: World) -> ConsumerGroupHeartbeatRequest:
    """The heartbeat of the one member of a group that has settled."""
    world.have(t=2)
    epoch = world.beat("m", owned={}).member_epoch
    return ConsumerGroupHeartbeatRequest(group_id=GROUP, member_id="m", member_epoch=epoch)


@pytest.mark.parametrize("kind", [lambda world: classic(world)[0], consumer], ids=["classic", "consumer"])
def test_heartbeats_that_the_coordinator_does_not_see_keep_the_session(world: World, kind: Any) -> None:
    request = kind(world)
    assert not world.stands(request)
    assert world.ask(request).error_code == 0
    for _ in range(8):
        world.time.run(SESSION_MS / 3)
        assert world.stands(request)
    world.time.run(SESSION_MS - 2_000)
    assert len(world.coordinator.runtime.shard(0).groups[GROUP].members) == 1
    world.time.run(4_000)
    assert not world.coordinator.runtime.shard(0).groups[GROUP].members
    assert not world.stands(request)
    assert world.ask(request).error_code != 0


def test_nothing_stands_while_a_classic_group_rebalances(world: World) -> None:
    request, members, _ = classic(world, 2)
    other = HeartbeatRequest(group_id=GROUP, generation_id=request.generation_id, member_id=members[1])
    assert world.ask(request).error_code == world.ask(other).error_code == 0
    assert world.stands(request)
    world.leave(members[1])
    assert not world.stands(request)
    assert not world.stands(other)
    world.ask(request)
    assert not world.stands(request)


def test_a_stale_generation_never_stands(world: World) -> None:
    request, *_ = classic(world)
    request.generation_id += 1
    world.ask(request)
    assert not world.stands(request)


def test_a_static_member_s_former_id_is_answered_by_the_coordinator(world: World) -> None:
    (member,), generation = world.form(1, instance="i")
    request = HeartbeatRequest(group_id=GROUP, generation_id=generation, member_id=member, group_instance_id="i")
    world.ask(request)
    assert world.stands(request)
    world.join(instance="i")
    world.time.run(10)
    assert not world.stands(request)


def test_a_consumer_s_heartbeat_stands_until_anything_of_its_group_changes(world: World) -> None:
    request = consumer(world)
    world.ask(request)
    assert world.stands(request)
    world.have(t=3)
    assert not world.stands(request)
    answer = world.ask(request)
    assert sorted(partition for each in answer.assignment.topic_partitions for partition in each.partitions) == [0, 1, 2]
    assert not world.stands(request)
    request.member_epoch = answer.member_epoch
    world.ask(request)
    assert world.stands(request)
    world.beat("another", owned={})
    assert not world.stands(request)


def test_nothing_stands_of_a_coordinator_that_moved_or_a_group_that_is_gone(world: World) -> None:
    request, members, _ = classic(world)
    world.ask(request)
    world.coordinator.unload(0)
    assert not world.stands(request)
    world.coordinator.load(0, 5)
    world.time.run()
    assert world.ask(request).error_code == 0
    assert world.stands(request)
    world.leave(members[0])
    world.delete_group()
    assert not world.stands(request)
