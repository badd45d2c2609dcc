"""The consumer group protocol (KIP-848) as members see it."""

from __future__ import annotations

import pytest

from kafkax.coordinator.groups.settings import ConsumerTimes, GroupSettings
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatResponse
from tests.sim.groups_world import GROUP, GroupsWorld, Held

SETTINGS = GroupSettings(initial_rebalance_delay_ms=0, consumer_assignment_interval_ms=0)


@pytest.fixture
def world() -> GroupsWorld:
    world = GroupsWorld(SETTINGS)
    world.have(t=4)
    return world


class Consumer:
    """A member that does what a client does: gives up what it must, and says what it has when that changes."""

    def __init__(self, world: GroupsWorld, member_id: str, **more: object) -> None:
        self.world, self.member_id, self.more = world, member_id, more
        self.epoch = 0
        self.held: Held = {}
        self.said: Held | None = None
        self.beat()

    def beat(self) -> ConsumerGroupHeartbeatResponse:
        owned = None if self.said == self.held and self.epoch else self.held
        answer = self.world.beat(self.member_id, self.epoch, owned=owned, **self.more)
        assert answer.error_code == 0, answer
        self.epoch, self.said = answer.member_epoch, self.held
        given = self.world.given(answer)
        if given is not None:
            self.held = given
        return answer

    @property
    def count(self) -> int:
        return sum(map(len, self.held.values()))


def settle(*consumers: Consumer, rounds: int = 6) -> None:
    for _ in range(rounds):
        for consumer in consumers:
            consumer.beat()


# -- joining and sharing ------------------------------------------------------------------------------------------------


def test_the_first_member_gets_everything_with_its_first_answer(world: GroupsWorld) -> None:
    answer = world.beat("A")
    assert (answer.error_code, answer.member_id, answer.member_epoch) == (0, "A", 2)
    assert answer.heartbeat_interval_ms == 5_000
    assert world.given(answer) == {"t": [0, 1, 2, 3]}


def test_a_heartbeat_without_news_carries_no_assignment(world: GroupsWorld) -> None:
    world.beat("A")
    answer = world.beat("A", 2)
    assert (answer.member_epoch, answer.assignment) == (2, None)


def test_a_full_heartbeat_is_answered_in_full(world: GroupsWorld) -> None:
    world.beat("A")
    joined_again = world.beat("A", 0)
    assert joined_again.error_code == 0
    assert world.given(joined_again) == {"t": [0, 1, 2, 3]}


def test_the_coordinator_makes_the_id_for_a_client_of_version_0(world: GroupsWorld) -> None:
    answer = world.beat("", version=0)
    assert (answer.error_code, len(answer.member_id)) == (0, 36)


def test_a_second_member_gets_partitions_only_when_the_first_has_given_them_up(world: GroupsWorld) -> None:
    world.beat("A")
    joined = world.beat("B")
    assert (joined.member_epoch, world.given(joined)) == (3, {})
    told = world.beat("A", 2)
    assert (told.member_epoch, world.given(told)) == (2, {"t": [0, 1]})
    assert world.given(world.beat("B", 3)) is None
    gave_up = world.beat("A", 2, owned={"t": [0, 1]})
    assert (gave_up.member_epoch, gave_up.assignment) == (3, None)
    assert world.given(world.beat("B", 3)) == {"t": [2, 3]}


def test_what_a_member_still_has_is_not_given_away(world: GroupsWorld) -> None:
    world.beat("A")
    world.beat("B")
    world.beat("A", 2)
    assert world.beat("A", 2, owned={"t": [0, 1, 2]}).member_epoch == 2
    assert world.given(world.beat("B", 3)) is None


def test_a_member_that_does_not_give_up_in_time_is_removed(world: GroupsWorld) -> None:
    world.beat("A", rebalance_ms=20_000)
    b = Consumer(world, "B")
    world.beat("A", 2)
    for _ in range(5):
        world.time.run(5_000)
        world.beat("A", 2)
        b.beat()
    assert world.beat("A", 2).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert (b.epoch, b.held) == (4, {"t": [0, 1, 2, 3]})


def test_members_share_evenly_and_keep_what_they_have(world: GroupsWorld) -> None:
    world.have(u=8)
    consumers = [Consumer(world, name, topics=("t", "u")) for name in "ABCD"]
    settle(*consumers)
    assert [consumer.count for consumer in consumers] == [3, 3, 3, 3]
    before = [dict(consumer.held) for consumer in consumers]
    world.beat("D", -1)
    settle(*consumers[:3])
    assert [consumer.count for consumer in consumers[:3]] == [4, 4, 4]
    for consumer, had in zip(consumers[:3], before, strict=False):
        assert all(set(partitions) <= set(consumer.held[topic]) for topic, partitions in had.items())


def test_the_group_tells_its_state(world: GroupsWorld) -> None:
    assert world.describe_consumer().error_code == ErrorCode.GROUP_ID_NOT_FOUND
    a = Consumer(world, "A")
    assert world.describe_consumer().group_state == "Stable"
    b = Consumer(world, "B")
    group = world.describe_consumer()
    assert (group.group_state, group.group_epoch, group.assignment_epoch, group.assignor_name) == ("Reconciling", 3, 3, "uniform")
    by_id = {member.member_id: member for member in group.members}
    assert [tp.partitions for tp in by_id["A"].assignment.topic_partitions] == [[0, 1, 2, 3]]
    assert [tp.partitions for tp in by_id["A"].target_assignment.topic_partitions] == [[0, 1]]
    assert by_id["A"].member_type == 1
    settle(a, b)
    assert world.describe_consumer().group_state == "Stable"
    assert world.listed() == {"g": ("consumer", "Stable")}
    assert world.listed(types=("classic",)) == {}
    assert world.describe().error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_assignments_are_not_made_more_often_than_configured() -> None:
    world = GroupsWorld(GroupSettings(consumer_assignment_interval_ms=1_000))
    world.have(t=4)
    world.beat("A")
    joined = world.beat("B")
    assert (joined.member_epoch, world.given(joined)) == (2, {})
    assert world.describe_consumer().group_state == "Assigning"
    assert world.beat("A", 2).assignment is None
    world.time.run(1_000)
    assert world.given(world.beat("A", 2)) == {"t": [0, 1]}


# -- subscriptions ------------------------------------------------------------------------------------------------------


def test_a_changed_subscription_changes_the_assignment(world: GroupsWorld) -> None:
    world.have(u=2)
    world.beat("A")
    changed = world.beat("A", 0, topics=("t", "u"))
    assert (changed.member_epoch, world.given(changed)) == (3, {"t": [0, 1, 2, 3], "u": [0, 1]})


def test_new_partitions_are_assigned_with_the_next_heartbeat(world: GroupsWorld) -> None:
    world.beat("A")
    world.have(t=6)
    answer = world.beat("A", 2)
    assert (answer.member_epoch, world.given(answer)) == (3, {"t": [0, 1, 2, 3, 4, 5]})
    assert world.beat("A", 3).member_epoch == 3


def test_topics_nobody_reads_change_nothing(world: GroupsWorld) -> None:
    world.beat("A")
    world.have(other=3)
    assert world.beat("A", 2).member_epoch == 2


def test_a_topic_may_be_subscribed_to_before_it_exists(world: GroupsWorld) -> None:
    assert world.given(world.beat("A", topics=("later",))) == {}
    world.have(later=2)
    assert world.given(world.beat("A", 2)) == {"later": [0, 1]}


def test_a_deleted_topic_is_taken_away(world: GroupsWorld) -> None:
    world.have(u=1)
    world.beat("A", topics=("t", "u"))
    world.have(u=0)
    answer = world.beat("A", 2)
    assert world.given(answer) == {"t": [0, 1, 2, 3]}


def test_a_regular_expression_follows_the_topics(world: GroupsWorld) -> None:
    world.have(**{"logs-a": 1, "logs-b": 1})
    answer = world.beat("A", topics=None, regex="logs-.*")
    assert world.given(answer) == {"logs-a": [0], "logs-b": [0]}
    world.have(**{"logs-c": 1, "my-logs-d": 1})
    answer = world.beat("A", answer.member_epoch)
    assert world.given(answer) == {"logs-a": [0], "logs-b": [0], "logs-c": [0]}
    world.restart()
    assert world.beat("A", answer.member_epoch).member_epoch == answer.member_epoch


def test_names_and_a_regular_expression_add_up(world: GroupsWorld) -> None:
    world.have(**{"logs-a": 1})
    answer = world.beat("A", topics=("t",), regex="logs-.*")
    assert world.given(answer) == {"logs-a": [0], "t": [0, 1, 2, 3]}


def test_an_empty_regular_expression_ends_the_subscription(world: GroupsWorld) -> None:
    world.have(**{"logs-a": 1})
    answer = world.beat("A", topics=("t",), regex="logs-.*")
    answer = world.beat("A", answer.member_epoch, regex="")
    assert world.given(answer) == {"t": [0, 1, 2, 3]}


@pytest.mark.parametrize("regex", ["(", "(?=a)", "a{1000}{1000}"])
def test_what_is_no_regular_expression_is_refused(world: GroupsWorld, regex: str) -> None:
    answer = world.beat("A", regex=regex)
    assert answer.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert answer.error_message
    assert world.describe_consumer().error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_the_assignor_that_most_ask_for_is_used(world: GroupsWorld) -> None:
    a = Consumer(world, "A", assignor="range")
    b = Consumer(world, "B", assignor="range")
    c = Consumer(world, "C", assignor="uniform")
    settle(a, b, c)
    assert world.describe_consumer().assignor_name == "range"
    assert [consumer.held.get("t", []) for consumer in (a, b, c)] == [[0, 1], [2], [3]]


# -- epochs and fencing -------------------------------------------------------------------------------------------------


def test_a_member_whose_answer_was_lost_may_repeat_its_epoch(world: GroupsWorld) -> None:
    world.beat("A")
    world.have(t=6)
    assert world.beat("A", 2).member_epoch == 3
    again = world.beat("A", 2, owned={"t": [0, 1, 2, 3]})
    assert (again.error_code, again.member_epoch) == (0, 3)


@pytest.mark.parametrize(("epoch", "owned"), [(1, None), (5, None), (2, {"t": [0, 9]}), (2, None)])
def test_any_other_epoch_is_fenced(world: GroupsWorld, epoch: int, owned: Held | None) -> None:
    world.beat("A")
    world.have(t=6)
    world.beat("A", 2)
    assert world.beat("A", epoch, owned=owned).error_code == ErrorCode.FENCED_MEMBER_EPOCH


def test_strangers_are_not_known(world: GroupsWorld) -> None:
    assert world.beat("A", 3).error_code == ErrorCode.GROUP_ID_NOT_FOUND
    world.beat("A")
    assert world.beat("B", 3).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.beat("B", -1).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.beat("B", -1, group="none").error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert world.beat("A", 2, instance="i").error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(
    "odd",
    [
        {"member_id": ""},
        {"member_id": "", "epoch": 4, "version": 0},
        {"group": ""},
        {"instance": ""},
        {"rack": ""},
        {"epoch": -2},
        {"epoch": -3},
        {"rebalance_ms": -1},
        {"topics": None},
        {"owned": {"t": [0]}},
    ],
)
def test_a_heartbeat_that_contradicts_itself_is_refused(world: GroupsWorld, odd: dict) -> None:
    answer = world.beat(**{"member_id": "A", **odd})
    assert answer.error_code == ErrorCode.INVALID_REQUEST
    assert answer.error_message


def test_an_unknown_assignor_is_refused(world: GroupsWorld) -> None:
    assert world.beat("A", assignor="sticky").error_code == ErrorCode.UNSUPPORTED_ASSIGNOR


def test_a_full_group_takes_nobody_else() -> None:
    world = GroupsWorld(GroupSettings(consumer_max_size=1))
    world.have(t=1)
    world.beat("A")
    assert world.beat("B").error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert world.beat("A").error_code == 0


def test_a_silent_member_is_removed(world: GroupsWorld) -> None:
    a, b = Consumer(world, "A"), Consumer(world, "B")
    settle(a, b)
    for _ in range(10):
        world.time.run(5_000)
        a.beat()
    assert a.held == {"t": [0, 1, 2, 3]}
    assert world.beat("B", b.epoch).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_group_may_set_its_own_times() -> None:
    times = {GROUP: ConsumerTimes(10_000, 700, 0)}
    world = GroupsWorld(GroupSettings(own_times=times.get))
    world.have(t=4)
    joined = world.beat("A")
    assert joined.heartbeat_interval_ms == 700
    epoch = joined.member_epoch
    world.time.run(9_000)
    times[GROUP] = ConsumerTimes(20_000, 900, 0)
    world.coordinator.group_configured(GROUP)
    assert world.beat("A", epoch).heartbeat_interval_ms == 900
    world.time.run(15_000)
    assert world.beat("A", epoch).error_code == 0, "the session is the longer one now"
    world.time.run(21_000)
    assert world.beat("A", epoch).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_removal_that_cannot_be_written_is_tried_again(world: GroupsWorld) -> None:
    world.beat("A")
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    world.time.run(45_001)
    world.topic.fail_append = lambda: None
    assert world.listed() == {"g": ("consumer", "Stable")}
    world.time.run(45_001)
    assert world.listed() == {"g": ("consumer", "Empty")}


def test_leaving_frees_at_once(world: GroupsWorld) -> None:
    a, b = Consumer(world, "A"), Consumer(world, "B")
    settle(a, b)
    left = world.beat("B", -1)
    assert (left.error_code, left.member_id, left.member_epoch) == (0, "B", -1)
    a.beat()
    assert a.held == {"t": [0, 1, 2, 3]}


def test_the_last_one_leaves_an_empty_group(world: GroupsWorld) -> None:
    world.beat("A")
    world.commit(5, "A", 2)
    world.beat("A", -1)
    assert world.listed() == {"g": ("consumer", "Empty")}
    assert world.fetched() == 5
    assert world.delete_group() == 0
    assert world.listed() == {}
    world.restart()
    assert world.listed() == {}


def test_a_write_that_fails_leaves_everything_as_it_was(world: GroupsWorld) -> None:
    world.beat("A")
    world.have(t=6)
    world.topic.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.beat("A", 2).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.beat("B").error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    world.topic.fail_append = lambda: None
    assert [member.member_id for member in world.describe_consumer().members] == ["A"]
    assert world.given(world.beat("A", 2)) == {"t": [0, 1, 2, 3, 4, 5]}


# -- static members -----------------------------------------------------------------------------------------------------


def test_a_static_member_keeps_its_place_while_it_is_away(world: GroupsWorld) -> None:
    a, b = Consumer(world, "A"), Consumer(world, "B", instance="i")
    settle(a, b)
    away = world.beat("B", -2, instance="i")
    assert (away.error_code, away.member_epoch) == (0, -2)
    a.beat()
    assert a.count == 2
    back = world.beat("B2", instance="i")
    assert (back.error_code, back.member_epoch, world.given(back)) == (0, b.epoch, b.held)
    assert world.beat("B", b.epoch, instance="i").error_code == ErrorCode.FENCED_INSTANCE_ID


def test_an_instance_id_in_use_is_not_given_out(world: GroupsWorld) -> None:
    world.beat("B", instance="i")
    assert world.beat("B2", instance="i").error_code == ErrorCode.UNRELEASED_INSTANCE_ID


def test_a_static_member_that_stays_away_is_removed(world: GroupsWorld) -> None:
    a, b = Consumer(world, "A"), Consumer(world, "B", instance="i")
    settle(a, b)
    world.beat("B", -2, instance="i")
    for _ in range(10):
        world.time.run(5_000)
        a.beat()
    assert a.count == 4


# -- offsets ------------------------------------------------------------------------------------------------------------


def test_members_commit_at_their_epoch(world: GroupsWorld) -> None:
    topic_id = world.topics.id_of("t")
    world.beat("A")
    assert world.commit(1, "A", 2) == 0
    assert world.commit(2, "A", 3) == ErrorCode.STALE_MEMBER_EPOCH
    assert world.commit(2, "A", 1, topic_id=topic_id) == ErrorCode.STALE_MEMBER_EPOCH
    assert world.commit(2, "B", 2) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(2) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(2, "A", 2, version=8) == ErrorCode.UNSUPPORTED_VERSION
    assert world.fetched() == 1


def test_an_older_epoch_may_commit_what_the_member_has_had_since(world: GroupsWorld) -> None:
    topic_id = world.topics.id_of("t")
    world.beat("A")
    world.have(t=6)
    assert world.beat("A", 2).member_epoch == 3
    assert world.commit(1, "A", 2, topic_id=topic_id) == 0
    assert world.commit(1, "A", 2, partition=5, topic_id=topic_id) == ErrorCode.STALE_MEMBER_EPOCH


def test_offsets_of_topics_that_are_read_stay(world: GroupsWorld) -> None:
    world.beat("A")
    world.commit(1, "A", 2)
    assert world.delete_offset().topics[0].partitions[0].error_code == ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    assert world.delete_group() == ErrorCode.NON_EMPTY_GROUP


# -- after a restart ----------------------------------------------------------------------------------------------------


def test_a_group_comes_back_as_it_was(world: GroupsWorld) -> None:
    a, b = Consumer(world, "A"), Consumer(world, "B", instance="i", assignor="range")
    a.beat()
    before = world.describe_consumer()
    world.restart()
    assert world.describe_consumer() == before
    settle(a, b)
    assert (a.count, b.count) == (2, 2)


def test_a_pending_revocation_is_still_awaited(world: GroupsWorld) -> None:
    world.beat("A", rebalance_ms=20_000)
    b = Consumer(world, "B")
    world.beat("A", 2)
    world.restart()
    for _ in range(5):
        world.time.run(5_000)
        world.beat("A", 2)
        b.beat()
    assert b.held == {"t": [0, 1, 2, 3]}
