"""Offsets and administration of groups, as clients and tools see them."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafkax.coordinator.groups.coordinator import group_partition
from kafkax.coordinator.groups.settings import GroupSettings
from kafkax.coordinator.offset_records import CommittedOffset, OffsetRecord
from kafkax.coordinator.runtime import Producer, Result
from kafkax.errors import ErrorCode
from tests.sim.groups_world import GroupsWorld, subscription

DAY_MS = 86_400_000


@pytest.fixture(params=[True, False], ids=["quick", "plain"])
def world(request: pytest.FixtureRequest) -> GroupsWorld:
    """Commits take the broker's quick way where it is open, or never."""
    world = GroupsWorld()
    world.quick = request.param
    return world


# -- which partition ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "partition"),
    [("", 0), ("a", 97 % 50), ("kp", 29), ("polygenelubricants", 0), ("\U0001f600", (0xD83D * 31 + 0xDE00) % 50)],
)
def test_groups_hash_as_in_java(group: str, partition: int) -> None:
    assert group_partition(group) == partition


# -- committing ---------------------------------------------------------------------------------------------------------


def test_a_group_without_members_takes_commits_from_anybody(world: GroupsWorld) -> None:
    assert world.commit(7, metadata="mine") == 0
    fetched = world.fetch()
    assert (fetched.committed_offset, fetched.metadata, fetched.committed_leader_epoch, fetched.error_code) == (7, "mine", 0, 0)


def test_what_was_never_committed_is_minus_one(world: GroupsWorld) -> None:
    fetched = world.fetch()
    assert (fetched.committed_offset, fetched.metadata, fetched.committed_leader_epoch, fetched.error_code) == (-1, "", -1, 0)


def test_members_commit_within_their_generation(world: GroupsWorld) -> None:
    (member,), generation = world.form(1)
    assert world.commit(1, member, generation) == 0
    assert world.commit(2, member, generation - 1) == ErrorCode.ILLEGAL_GENERATION
    assert world.commit(3, member, generation + 1) == ErrorCode.ILLEGAL_GENERATION
    assert world.commit(4, "nobody", generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(5, instance="none", generation=generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(6) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.fetched() == 1


def test_during_the_second_half_of_a_rebalance_commits_are_sent_back(world: GroupsWorld) -> None:
    member, join = world.join_two_step()
    generation = world.done(join).generation_id
    assert world.commit(1, member, generation) == ErrorCode.REBALANCE_IN_PROGRESS


def test_during_the_first_half_they_are_taken(world: GroupsWorld) -> None:
    (leader, follower), generation = world.form(2)
    world.join(leader)
    assert world.commit(1, follower, generation) == 0


def test_a_commit_counts_as_a_heartbeat(world: GroupsWorld) -> None:
    (member,), generation = world.form(1)
    for offset in range(10):
        world.time.run(9_000)
        assert world.commit(offset, member, generation) == 0


@pytest.mark.parametrize(("version", "code"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)])
def test_a_generation_of_a_group_that_does_not_exist(world: GroupsWorld, version: int, code: ErrorCode) -> None:
    assert world.commit(1, "m", 3, version=version) == code


def test_metadata_has_a_limit(world: GroupsWorld) -> None:
    assert world.commit(1, metadata="x" * 4096) == 0
    assert world.commit(2, metadata="x" * 4097) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert world.commit(3, metadata=None) == 0
    assert world.fetch().metadata == ""
    assert world.fetched() == 3


def test_a_commit_that_cannot_be_written_is_not_seen(world: GroupsWorld) -> None:
    world.commit(1)
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.commit(2) == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.fetched() == 1


def test_a_fetch_never_shows_what_may_still_be_lost(world: GroupsWorld) -> None:
    world.commit(1)
    world.topic.stalled = True
    world.commit_later(2)
    with pytest.raises(RuntimeError, match="pending"):
        world.fetch()
    world.topic.crash()
    world.start()
    assert world.fetched() == 1


def test_offsets_survive_a_restart(world: GroupsWorld) -> None:
    topic_id = UUID(int=77)
    for offset in range(5):
        assert world.commit(offset, partition=offset, metadata=str(offset), topic_id=topic_id) == 0
    world.restart()
    assert [world.fetched(partition=n) for n in range(6)] == [0, 1, 2, 3, 4, -1]
    assert world.fetch(partition=3).metadata == "3"
    assert world.listed() == {"g": ("classic", "Empty")}


# -- transactions -------------------------------------------------------------------------------------------------------


def commit_in_transaction(world: GroupsWorld, producer: Producer, offset: int) -> None:
    record = OffsetRecord("g", "t", 0, CommittedOffset(offset, commit_timestamp_ms=world.time.wall_ms()))
    world.done(world.coordinator.runtime.write(0, lambda _: Result([record], None), producer))


@pytest.mark.parametrize("commit", [True, False])
def test_an_offset_of_a_transaction_is_unstable_until_it_ends(world: GroupsWorld, commit: bool) -> None:
    producer = Producer(5, 0)
    world.commit(1)
    commit_in_transaction(world, producer, 2)
    assert world.fetched() == 1
    unstable = world.fetch(stable=True)
    assert (unstable.error_code, unstable.committed_offset) == (ErrorCode.UNSTABLE_OFFSET_COMMIT, -1)
    world.restart()
    assert world.fetch(stable=True).error_code == ErrorCode.UNSTABLE_OFFSET_COMMIT
    world.done(world.coordinator.runtime.end_transaction(0, producer, 0, commit=commit))
    for _ in range(2):
        assert world.fetch(stable=True).committed_offset == (2 if commit else 1)
        world.restart()


# -- deleting -----------------------------------------------------------------------------------------------------------


def test_offsets_of_a_topic_nobody_reads_can_be_deleted(world: GroupsWorld) -> None:
    world.form(1, protocols=(("range", subscription("read")),))
    assert world.delete_offset("read").topics[0].partitions[0].error_code == ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    assert world.delete_offset("other").topics[0].partitions[0].error_code == 0


def test_a_deleted_offset_is_gone_for_good(world: GroupsWorld) -> None:
    world.commit(1)
    assert world.delete_offset().topics[0].partitions[0].error_code == 0
    assert world.fetched() == -1
    world.restart()
    assert world.fetched() == -1


def test_offsets_of_a_group_that_is_no_consumer_stay_while_it_has_members(world: GroupsWorld) -> None:
    assert world.delete_offset().error_code == ErrorCode.GROUP_ID_NOT_FOUND
    world.join_two_step(kind="connect")
    world.time.run(1)
    assert world.delete_offset().error_code == ErrorCode.NON_EMPTY_GROUP


def test_an_empty_group_is_deleted_with_its_offsets(world: GroupsWorld) -> None:
    assert world.delete_group() == ErrorCode.GROUP_ID_NOT_FOUND
    members, generation = world.form(1)
    world.commit(1, members[0], generation)
    assert world.delete_group() == ErrorCode.NON_EMPTY_GROUP
    world.leave(members[0])
    assert world.delete_group() == 0
    assert world.listed() == {}
    world.restart()
    assert world.listed() == {}
    assert world.fetched() == -1


def test_offsets_go_with_their_topic(world: GroupsWorld) -> None:
    world.commit(1, topic="gone")
    world.commit(2, topic="kept")
    world.coordinator.topics_deleted({"gone"})
    world.time.run(1)
    assert (world.fetched("gone"), world.fetched("kept")) == (-1, 2)


# -- describing and listing ---------------------------------------------------------------------------------------------


def test_a_stable_group_is_described_with_what_its_members_said_and_got(world: GroupsWorld) -> None:
    (member,), _ = world.form(1, client="app")
    group = world.describe()
    assert (group.group_state, group.protocol_type, group.protocol_data, group.error_code) == ("Stable", "consumer", "range", 0)
    (described,) = group.members
    assert (described.member_id, described.client_id, described.client_host) == (member, "app", "/127.0.0.1")
    assert (described.member_metadata, described.member_assignment) == (b"meta", member.encode())


def test_during_a_rebalance_the_protocol_is_not_told(world: GroupsWorld) -> None:
    (leader, _), _ = world.form(2)
    world.join(leader)
    group = world.describe()
    assert (group.group_state, group.protocol_data) == ("PreparingRebalance", "")
    assert {member.member_metadata for member in group.members} == {b""}


def test_a_group_that_does_not_exist_is_dead(world: GroupsWorld) -> None:
    assert (world.describe(version=5).group_state, world.describe(version=5).error_code) == ("Dead", 0)
    newest = world.describe(version=6)
    assert (newest.group_state, newest.error_code) == ("Dead", ErrorCode.GROUP_ID_NOT_FOUND)
    assert newest.error_message


def test_groups_are_listed_by_state_and_type(world: GroupsWorld) -> None:
    world.form(1, group="busy")
    world.commit(1, group="idle")
    assert world.listed() == {"busy": ("classic", "Stable"), "idle": ("classic", "Empty")}
    assert set(world.listed(states=("stable",))) == {"busy"}
    assert set(world.listed(states=("Stable", "Empty"))) == {"busy", "idle"}
    assert set(world.listed(types=("Classic",))) == {"busy", "idle"}
    assert world.listed(types=("share",)) == {}


# -- retention ----------------------------------------------------------------------------------------------------------


def test_retention_counts_from_when_the_group_became_empty(world: GroupsWorld) -> None:
    members, generation = world.form(1, session_ms=1_800_000)
    world.commit(1, members[0], generation)
    for _ in range(8 * 48):
        world.time.run(1_800_000 - 1)
        assert world.heartbeat(members[0], generation) == 0
    world.leave(members[0])
    world.time.run(6 * DAY_MS)
    assert world.fetched() == 1
    world.time.run(1 * DAY_MS + 600_000)
    assert world.fetched() == -1
    assert world.listed() == {}


def test_offsets_of_simple_consumers_expire_by_their_commit(world: GroupsWorld) -> None:
    world.commit(1, partition=0)
    world.time.run(4 * DAY_MS)
    world.commit(2, partition=1)
    world.time.run(4 * DAY_MS)
    assert (world.fetched(partition=0), world.fetched(partition=1)) == (-1, 2)


def test_a_stable_group_keeps_the_topics_it_reads(world: GroupsWorld) -> None:
    members, generation = world.form(1, session_ms=1_800_000, protocols=(("range", subscription("read")),))
    world.commit(1, members[0], generation, topic="read")
    world.commit(1, members[0], generation, topic="left")
    for _ in range(8 * 48):
        world.time.run(1_799_000)
        world.heartbeat(members[0], generation)
    assert (world.fetched("read"), world.fetched("left")) == (1, -1)


def test_an_old_client_sets_its_own_retention(world: GroupsWorld) -> None:
    world.commit(1, retention_ms=3_600_000, version=4)
    world.time.run(3_600_000 + 600_000)
    assert world.fetched() == -1


def test_expiry_survives_a_restart() -> None:
    world = GroupsWorld(GroupSettings(initial_rebalance_delay_ms=0, offsets_retention_ms=DAY_MS))
    world.commit(1)
    world.time.run(DAY_MS // 2)
    world.restart()
    world.time.run(DAY_MS // 2 + 600_000)
    assert world.fetched() == -1
    world.restart()
    assert world.listed() == {}
