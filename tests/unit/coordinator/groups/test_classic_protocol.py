"""The classic group protocol as members see it."""

from __future__ import annotations

import pytest

from kafkax.coordinator.groups.settings import GroupSettings
from kafkax.errors import ErrorCode
from tests.sim.groups_world import GroupsWorld


@pytest.fixture
def world() -> GroupsWorld:
    return GroupsWorld()


def state(world: GroupsWorld) -> str:
    return world.describe().group_state


# -- joining ------------------------------------------------------------------------------------------------------------


def test_a_member_without_id_is_given_one_first(world: GroupsWorld) -> None:
    answer = world.done(world.join(client="app"))
    assert answer.error_code == ErrorCode.MEMBER_ID_REQUIRED
    assert answer.member_id.startswith("app-")
    assert answer.generation_id == -1


def test_before_version_4_it_is_in_at_once(world: GroupsWorld) -> None:
    answer = world.done(world.join(version=3))
    assert answer.error_code == 0
    assert answer.generation_id == 1
    assert answer.leader == answer.member_id


def test_the_first_to_join_leads_and_sees_everybody(world: GroupsWorld) -> None:
    (first, join_first), (second, join_second) = world.join_together(
        {"protocols": (("range", b"1"),)}, {"protocols": (("range", b"2"),)}
    )
    world.time.run(1)
    leader, follower = join_first.result(), join_second.result()
    assert (leader.leader, follower.leader) == (first, first)
    assert {(each.member_id, each.metadata) for each in leader.members} == {(first, b"1"), (second, b"2")}
    assert follower.members == []
    assert (leader.generation_id, leader.protocol_name, leader.protocol_type) == (1, "range", "consumer")


def test_concurrent_joins_never_end_in_unknown_member_id(world: GroupsWorld) -> None:
    ids = [world.done(world.join()).member_id for _ in range(50)]
    joins = [world.join(member) for member in ids]
    world.time.run(60_000)
    assert {join.result().error_code for join in joins} == {0}
    assert {join.result().generation_id for join in joins} == {joins[0].result().generation_id}


def test_the_first_rebalance_waits_for_more_members() -> None:
    world = GroupsWorld(GroupSettings(initial_rebalance_delay_ms=3_000))
    _, early = world.join_two_step()
    world.time.run(2_900)
    assert not early.done
    _, late = world.join_two_step()
    world.time.run(3_050)
    assert not early.done, "a member that came within the delay extends it"
    world.time.run(100)
    assert early.result().generation_id == late.result().generation_id == 1


def test_the_first_delay_ends_with_the_rebalance_timeout() -> None:
    world = GroupsWorld(GroupSettings(initial_rebalance_delay_ms=3_000))
    joins = []
    for _ in range(12):
        joins.append(world.join_two_step(rebalance_ms=9_000)[1])
        world.time.run(1_000)
    assert joins[0].result().generation_id == 1
    assert joins[0].done


@pytest.mark.parametrize(
    ("timeout_ms", "fine"), [(5_999, False), (6_000, True), (1_800_000, True), (1_800_001, False), (0, False), (-1, False)]
)
def test_the_session_timeout_has_bounds(world: GroupsWorld, timeout_ms: int, fine: bool) -> None:
    code = world.done(world.join(session_ms=timeout_ms)).error_code
    assert code == (ErrorCode.MEMBER_ID_REQUIRED if fine else ErrorCode.INVALID_SESSION_TIMEOUT)


def test_an_empty_group_id_is_refused(world: GroupsWorld) -> None:
    assert world.done(world.join(group="")).error_code == ErrorCode.INVALID_GROUP_ID
    assert world.done(world.sync("m", 1, group="")).error_code == ErrorCode.INVALID_GROUP_ID
    assert world.heartbeat("m", 1, group="") == ErrorCode.INVALID_GROUP_ID
    assert world.leave("m", group="").error_code == ErrorCode.INVALID_GROUP_ID


def test_a_made_up_member_id_is_not_known(world: GroupsWorld) -> None:
    assert world.done(world.join("nobody")).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    world.form(1)
    answer = world.done(world.join("nobody"))
    assert (answer.error_code, answer.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "nobody")


@pytest.mark.parametrize("odd", [{"kind": "connect"}, {"protocols": (("other", b""),)}, {"kind": ""}])
def test_members_must_share_a_protocol(world: GroupsWorld, odd: dict) -> None:
    world.form(1)
    assert world.done(world.join(**odd)).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("empty", [{"protocols": ()}, {"kind": ""}])
def test_a_group_needs_a_protocol(world: GroupsWorld, empty: dict) -> None:
    assert world.done(world.join(**empty)).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_the_protocol_that_all_support_and_most_prefer_wins(world: GroupsWorld) -> None:
    preferences = [
        (("mine", b""), ("b", b""), ("a", b"")),
        (("a", b""), ("b", b"")),
        (("b", b""), ("a", b"")),
    ]
    joins = world.join_together(*({"protocols": protocols} for protocols in preferences))
    world.time.run(1)
    assert {join.result().protocol_name for _, join in joins} == {"b"}


def test_a_full_group_takes_nobody_else() -> None:
    world = GroupsWorld(GroupSettings(initial_rebalance_delay_ms=0, max_size=2))
    members, _ = world.form(2)
    assert world.done(world.join()).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    rejoin = world.join(members[0])
    world.time.run(1)
    assert not rejoin.done, "members of the group may still join again"


def test_an_id_that_is_never_used_holds_nobody_up_for_ever(world: GroupsWorld) -> None:
    members, generation = world.form(1)
    world.done(world.join(session_ms=6_000))
    rejoin = world.join(members[0], protocols=(("range", b"new"),))
    for _ in range(5):
        world.time.run(1_000)
        assert not rejoin.done
    world.time.run(1_100)
    assert rejoin.result().generation_id == generation + 1


def test_a_follower_that_joins_again_unchanged_gets_the_present_generation(world: GroupsWorld) -> None:
    (_, follower), generation = world.form(2)
    answer = world.done(world.join(follower))
    assert (answer.error_code, answer.generation_id, answer.members) == (0, generation, [])
    assert state(world) == "Stable"


def test_a_leader_that_joins_again_begins_a_rebalance(world: GroupsWorld) -> None:
    (leader, _), _ = world.form(2)
    rejoin = world.join(leader)
    world.time.run(1)
    assert not rejoin.done
    assert state(world) == "PreparingRebalance"


def test_changed_metadata_begins_a_rebalance(world: GroupsWorld) -> None:
    (leader, follower), generation = world.form(2)
    changed = world.join(follower, protocols=(("range", b"changed"),))
    assert world.heartbeat(leader, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    again = world.join(leader)
    world.time.run(1)
    assert changed.result().generation_id == again.result().generation_id == generation + 1


def test_a_join_repeated_while_the_assignment_is_awaited_gets_the_same_answer(world: GroupsWorld) -> None:
    member, join = world.join_two_step()
    first = world.done(join)
    again = world.done(world.join(member))
    assert again == first


def test_a_second_join_of_the_same_member_replaces_the_first(world: GroupsWorld) -> None:
    (leader, _follower), generation = world.form(2)
    first = world.join(leader)
    second = world.join(leader)
    world.time.run(60_001)
    assert first.result().error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert second.result().generation_id == generation + 1


# -- timeouts -----------------------------------------------------------------------------------------------------------


def test_who_does_not_join_within_the_rebalance_timeout_is_out(world: GroupsWorld) -> None:
    (leader, follower), generation = world.form(2, rebalance_ms=20_000)
    rejoin = world.join(leader, rebalance_ms=20_000)
    for _ in range(4):
        world.time.run(5_000)
        world.heartbeat(follower, generation)
    answer = rejoin.result()
    assert [member.member_id for member in answer.members] == [leader]
    assert world.heartbeat(follower, generation) == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_silent_member_is_removed_and_the_group_rebalances(world: GroupsWorld) -> None:
    (leader, follower), generation = world.form(2)
    for _ in range(3):
        world.time.run(4_000)
        code = world.heartbeat(leader, generation)
    assert code == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.heartbeat(follower, generation) == ErrorCode.UNKNOWN_MEMBER_ID


def test_heartbeats_keep_a_member_alive(world: GroupsWorld) -> None:
    (member,), generation = world.form(1)
    for _ in range(50):
        world.time.run(9_000)
        assert world.heartbeat(member, generation) == 0


def test_whoever_waits_for_a_rebalance_needs_no_heartbeats(world: GroupsWorld) -> None:
    (leader, follower), generation = world.form(2, rebalance_ms=300_000)
    rejoin = world.join(leader, rebalance_ms=300_000)
    for _ in range(30):
        world.time.run(5_000)
        world.heartbeat(follower, generation)
    assert not rejoin.done
    follow = world.join(follower)
    world.time.run(1)
    assert rejoin.result().error_code == follow.result().error_code == 0


def test_a_member_that_never_syncs_is_removed_after_the_rebalance_timeout(world: GroupsWorld) -> None:
    (first, join_first), (second, join_second) = world.join_together({"rebalance_ms": 15_000}, {"rebalance_ms": 15_000})
    world.time.run(1)
    generation = join_first.result().generation_id
    waits = world.sync(second, generation)
    world.time.run(14_000 - 5_000)
    world.heartbeat(first, generation)
    world.time.run(6_500)
    assert waits.result().error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.heartbeat(first, generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert join_second.result().error_code == 0


def test_a_new_member_that_gave_up_waiting_is_removed() -> None:
    world = GroupsWorld(GroupSettings(initial_rebalance_delay_ms=0, new_member_join_timeout_ms=20_000))
    (leader,), generation = world.form(1, rebalance_ms=100_000)
    _, newcomer = world.join_two_step()
    for _ in range(5):
        world.time.run(5_000)
        world.heartbeat(leader, generation)
    assert newcomer.result().error_code == ErrorCode.UNKNOWN_MEMBER_ID


# -- syncing ------------------------------------------------------------------------------------------------------------


def test_everybody_gets_its_part_once_the_leader_has_sent_it(world: GroupsWorld) -> None:
    (first, join_first), (second, _) = world.join_together({}, {})
    world.time.run(1)
    generation = join_first.result().generation_id
    waits = world.sync(second, generation)
    world.time.run(1)
    assert not waits.done
    led = world.done(world.sync(first, generation, {first: b"one", second: b"two"}))
    assert (led.assignment, waits.result().assignment) == (b"one", b"two")
    assert (led.protocol_type, led.protocol_name) == ("consumer", "range")
    late = world.done(world.sync(second, generation))
    assert late.assignment == b"two"


def test_a_member_that_the_leader_left_out_gets_an_empty_assignment(world: GroupsWorld) -> None:
    (first, join), (second, _) = world.join_together({}, {})
    generation = world.done(join, 1).generation_id
    world.done(world.sync(first, generation, {first: b"one", "stranger": b"x"}))
    assert world.done(world.sync(second, generation)).assignment == b""


def test_the_assignment_is_answered_only_once_it_is_in_the_log(world: GroupsWorld) -> None:
    member, join = world.join_two_step()
    generation = world.done(join).generation_id
    world.topic.commit_delay_ms = lambda: 50
    sync = world.sync(member, generation, {member: b"x"})
    world.time.run(49)
    assert not sync.done
    assert world.done(sync, 2).assignment == b"x"


def test_an_assignment_that_cannot_be_written_begins_a_new_rebalance(world: GroupsWorld) -> None:
    member, join = world.join_two_step()
    generation = world.done(join).generation_id
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    sync = world.done(world.sync(member, generation, {member: b"x"}))
    assert sync.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.heartbeat(member, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    world.topic.fail_append = lambda: None
    assert world.done(world.join(member)).generation_id == generation + 1


def test_sync_checks_who_asks(world: GroupsWorld) -> None:
    (member, _), generation = world.form(2)
    assert world.done(world.sync("nobody", generation)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.done(world.sync(member, generation - 1)).error_code == ErrorCode.ILLEGAL_GENERATION
    assert world.done(world.sync(member, generation, protocol="other")).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert world.done(world.sync(member, generation, kind="other")).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert world.done(world.sync(member, generation, group="none")).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    world.join(member)
    assert world.done(world.sync(member, generation)).error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_a_join_while_syncs_wait_sends_them_back(world: GroupsWorld) -> None:
    (first, join_first), (second, _) = world.join_together({}, {})
    generation = world.done(join_first, 1).generation_id
    waits = world.sync(second, generation)
    world.join_two_step()
    assert world.done(waits).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.heartbeat(first, generation) == ErrorCode.REBALANCE_IN_PROGRESS


# -- heartbeats ---------------------------------------------------------------------------------------------------------


def test_a_heartbeat_names_what_is_wrong(world: GroupsWorld) -> None:
    (member,), generation = world.form(1)
    assert world.heartbeat(member, generation) == 0
    assert world.heartbeat("nobody", generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.heartbeat(member, generation + 1) == ErrorCode.ILLEGAL_GENERATION
    assert world.heartbeat(member, generation, group="none") == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.heartbeat(member, generation, instance="static") == ErrorCode.UNKNOWN_MEMBER_ID


def test_while_the_group_is_loaded_a_heartbeat_is_fine(world: GroupsWorld) -> None:
    (member,), generation = world.form(1)
    world.coordinator.unload(0)
    assert world.heartbeat(member, generation) == ErrorCode.NOT_COORDINATOR
    world.coordinator.load(0, 1)
    assert world.heartbeat(member, generation) == 0


# -- leaving ------------------------------------------------------------------------------------------------------------


def test_a_member_that_leaves_begins_a_rebalance(world: GroupsWorld) -> None:
    (leader, follower), generation = world.form(2)
    answer = world.leave(follower)
    assert [member.error_code for member in answer.members] == [0]
    assert world.heartbeat(leader, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.done(world.join(leader)).generation_id == generation + 1


def test_the_last_one_to_leave_leaves_an_empty_group(world: GroupsWorld) -> None:
    (member,), _ = world.form(1)
    world.leave(member)
    assert state(world) == "Empty"
    assert world.done(world.join(version=3)).generation_id == 3


def test_members_leave_together_each_with_its_own_answer(world: GroupsWorld) -> None:
    (leader, follower), _ = world.form(2)
    answer = world.leave(leader, "nobody", follower, ("", "no-instance"))
    assert [member.error_code for member in answer.members] == [0, 25, 0, 25]
    assert answer.error_code == 0


def test_before_version_3_the_answer_is_about_one_member(world: GroupsWorld) -> None:
    (member,), _ = world.form(1)
    assert world.leave("nobody", version=1).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.leave("nobody", version=1, group="none").error_code == ErrorCode.UNKNOWN_MEMBER_ID
    answer = world.leave(member, version=1)
    assert (answer.error_code, answer.members) == (0, [])


def test_leaving_answers_ones_own_pending_join(world: GroupsWorld) -> None:
    (leader, _follower), _ = world.form(2)
    rejoin = world.join(leader)
    world.leave(leader)
    assert rejoin.result().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_handed_out_id_may_leave(world: GroupsWorld) -> None:
    member = world.done(world.join()).member_id
    assert [each.error_code for each in world.leave(member).members] == [0]
    assert world.done(world.join(member)).error_code == ErrorCode.UNKNOWN_MEMBER_ID


# -- static members -----------------------------------------------------------------------------------------------------


def static(world: GroupsWorld, count: int = 2) -> tuple[dict[str, str], str, int]:
    """A stable group of static members: member id by instance id, the leader, the generation."""
    joins = {f"i{n}": world.join(instance=f"i{n}", session_ms=30_000) for n in range(count)}
    world.time.run(1)
    ids = {instance: join.result().member_id for instance, join in joins.items()}
    leader, generation = joins["i0"].result().leader, joins["i0"].result().generation_id
    for instance, member in ids.items():
        everybody = {each: each.encode() for each in ids.values()}
        world.sync(member, generation, everybody if member == leader else None, instance=instance)
    world.time.run(1)
    assert state(world) == "Stable"
    return ids, leader, generation


def test_a_static_member_needs_no_second_step(world: GroupsWorld) -> None:
    answer = world.done(world.join(instance="i"))
    assert answer.error_code == 0
    assert answer.member_id.startswith("i-")


def test_a_static_member_that_returns_does_not_rebalance(world: GroupsWorld) -> None:
    ids, leader, generation = static(world)
    back = world.done(world.join(instance="i1"))
    assert (back.error_code, back.generation_id, back.leader) == (0, generation, leader)
    assert back.member_id != ids["i1"]
    assert state(world) == "Stable"
    assert world.done(world.sync(back.member_id, generation, instance="i1")).assignment == ids["i1"].encode()


def test_its_former_self_is_fenced(world: GroupsWorld) -> None:
    ids, _, generation = static(world)
    world.done(world.join(instance="i1"))
    old = ids["i1"]
    assert world.heartbeat(old, generation, instance="i1") == ErrorCode.FENCED_INSTANCE_ID
    assert world.heartbeat(old, generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.done(world.sync(old, generation, instance="i1")).error_code == ErrorCode.FENCED_INSTANCE_ID
    assert world.done(world.join(old, instance="i1")).error_code == ErrorCode.FENCED_INSTANCE_ID
    assert world.commit(5, old, generation, instance="i1") == ErrorCode.FENCED_INSTANCE_ID
    assert world.leave((old, "i1")).members[0].error_code == ErrorCode.FENCED_INSTANCE_ID


def test_a_static_leader_that_returns_skips_the_assignment(world: GroupsWorld) -> None:
    ids, leader, _ = static(world)
    assert leader == ids["i0"]
    back = world.done(world.join(instance="i0"))
    assert (back.skip_assignment, back.leader) == (True, back.member_id)
    assert len(back.members) == 2
    assert state(world) == "Stable"


def test_an_old_client_is_told_its_former_id_leads_so_that_it_does_not_assign(world: GroupsWorld) -> None:
    _, leader, _ = static(world)
    back = world.done(world.join(instance="i0", version=8))
    assert (back.skip_assignment, back.leader, back.members) == (False, leader, [])


def test_a_return_that_cannot_be_written_is_undone(world: GroupsWorld) -> None:
    ids, _, generation = static(world)
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.done(world.join(instance="i1")).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.heartbeat(ids["i1"], generation, instance="i1") == 0


def test_a_return_with_other_protocols_rebalances(world: GroupsWorld) -> None:
    _, _, generation = static(world)
    prefers_sticky = (("sticky", b""), ("range", b""))
    back = world.join(instance="i1", protocols=prefers_sticky)
    world.time.run(1)
    assert back.result().generation_id == generation, "the protocol that both support is the same"
    world.join(instance="i0", protocols=prefers_sticky)
    world.time.run(1)
    assert state(world) == "PreparingRebalance", "now everybody prefers another one"


def test_a_return_before_the_assignment_rebalances(world: GroupsWorld) -> None:
    first = world.done(world.join(instance="i0"))
    back = world.done(world.join(instance="i0"))
    assert back.generation_id == first.generation_id + 1
    assert back.member_id != first.member_id


def test_a_static_member_is_not_dropped_for_not_joining_but_for_silence(world: GroupsWorld) -> None:
    ids, _, generation = static(world)
    rejoin = world.join(ids["i0"], instance="i0", protocols=(("range", b"new"),), rebalance_ms=10_000)
    world.time.run(20_000)
    world.heartbeat(ids["i1"], generation, instance="i1")
    world.time.run(45_000)
    assert rejoin.result().error_code == 0
    world.time.run(30_000)
    assert "i1" not in {member.group_instance_id for member in world.describe().members}


def test_an_admin_removes_a_static_member_by_instance_id(world: GroupsWorld) -> None:
    _, _, _ = static(world)
    assert world.leave(("", "i1")).members[0].error_code == 0
    assert state(world) == "PreparingRebalance"


# -- after a restart ----------------------------------------------------------------------------------------------------


def test_a_group_comes_back_from_the_log(world: GroupsWorld) -> None:
    members, generation = world.form(3)
    world.commit(42, members[0], generation)
    world.restart()
    assert state(world) == "Stable"
    for member in members:
        assert world.heartbeat(member, generation) == 0
        assert world.done(world.sync(member, generation)).assignment == member.encode()
    assert world.fetched() == 42
    assert world.commit(43, members[0], generation) == 0


def test_static_members_come_back_too(world: GroupsWorld) -> None:
    ids, _, generation = static(world)
    world.restart()
    assert world.heartbeat(ids["i1"], generation, instance="i1") == 0
    assert world.done(world.join(instance="i1")).generation_id == generation


def test_loaded_members_must_send_heartbeats(world: GroupsWorld) -> None:
    world.form(2)
    world.restart()
    world.time.run(80_000)
    assert state(world) == "Empty"


def test_a_group_that_shrank_to_nothing_stays_empty(world: GroupsWorld) -> None:
    members, generation = world.form(1)
    world.leave(members[0])
    world.restart()
    assert state(world) == "Empty"
    assert world.done(world.join(version=3)).generation_id == generation + 2


def test_a_move_of_the_coordinator_answers_who_waits(world: GroupsWorld) -> None:
    (leader, _), _ = world.form(2)
    rejoin = world.join(leader)
    world.coordinator.unload(0)
    assert rejoin.result().error_code == ErrorCode.NOT_COORDINATOR


def test_a_loaded_group_above_the_limit_rebalances() -> None:
    world = GroupsWorld()
    members, generation = world.form(3)
    world.settings = GroupSettings(initial_rebalance_delay_ms=0, max_size=2)
    world.restart()
    assert world.heartbeat(members[0], generation) == ErrorCode.REBALANCE_IN_PROGRESS
    joins = [world.join(member) for member in members]
    world.time.run(60_001)
    assert sorted(join.result().error_code for join in joins) == [0, 0, ErrorCode.GROUP_MAX_SIZE_REACHED]
