"""A member's steps towards its target."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafkax.coordinator.groups.consumer_group import NO_EPOCH, ConsumerMember, MemberState
from kafkax.coordinator.groups.reconcile import reconcile
from kafkax.errors import ErrorCode, KafkaError

T = UUID(int=1)


def member(
    epoch: int = 5, assigned: tuple[int, ...] = (), state: MemberState = MemberState.STABLE, **more: object
) -> ConsumerMember:
    return ConsumerMember("m", epoch=epoch, assigned={T: dict.fromkeys(assigned, 3)} if assigned else {}, state=state, **more)


def step(
    who: ConsumerMember, target: tuple[int, ...], owned: tuple[int, ...] | None = None, taken: tuple[int, ...] = ()
) -> ConsumerMember:
    def owner(topic_id: UUID, partition: int) -> int:
        return 4 if partition in taken else NO_EPOCH

    return reconcile(who, 7, {T: frozenset(target)} if target else {}, None if owned is None else {T: frozenset(owned)}, owner)


def test_who_is_at_the_target_stays() -> None:
    who = member(epoch=7, assigned=(1,))
    assert step(who, (1,)) is who


def test_with_nothing_to_do_it_moves_to_the_epoch() -> None:
    after = step(member(assigned=(1,)), (1,))
    assert (after.epoch, after.previous_epoch, after.state, after.assigned) == (7, 5, MemberState.STABLE, {T: {1: 3}})


def test_free_partitions_are_given_with_the_epoch_they_are_given_in() -> None:
    after = step(member(assigned=(2,)), (1, 2))
    assert (after.epoch, after.state, after.assigned) == (7, MemberState.STABLE, {T: {1: 7, 2: 3}})


def test_it_gives_up_before_it_gets() -> None:
    after = step(member(assigned=(1, 2)), (2, 3))
    assert (after.epoch, after.state) == (5, MemberState.UNREVOKED_PARTITIONS)
    assert (after.assigned, after.revoking) == ({T: {2: 3}}, {T: {1: 3}})
    assert step(after, (2, 3)) is after, "it has not said what it has"
    assert step(after, (2, 3), owned=(1, 2)) is after, "it still has what it must give up"
    done = step(after, (2, 3), owned=(2,))
    assert (done.epoch, done.state, done.assigned, done.revoking) == (7, MemberState.STABLE, {T: {2: 3, 3: 7}}, {})


def test_what_it_no_longer_has_need_not_be_given_up() -> None:
    after = step(member(assigned=(1, 2)), (2,), owned=(2,))
    assert (after.epoch, after.state, after.revoking) == (7, MemberState.STABLE, {})


def test_what_others_have_is_waited_for() -> None:
    after = step(member(assigned=(1,)), (1, 2, 3), taken=(3,))
    assert (after.epoch, after.state, after.assigned) == (7, MemberState.UNRELEASED_PARTITIONS, {T: {1: 3, 2: 7}})
    assert step(after, (1, 2, 3), taken=(3,)) is after
    done = step(after, (1, 2, 3))
    assert (done.state, done.assigned) == (MemberState.STABLE, {T: {1: 3, 2: 7, 3: 7}})


def test_a_target_that_moves_on_during_a_revocation_is_followed() -> None:
    after = step(member(assigned=(1, 2)), (2,))
    moved = step(after, (), owned=(2,))
    assert (moved.epoch, moved.state, moved.revoking) == (6, MemberState.UNREVOKED_PARTITIONS, {T: {2: 3}})


def test_a_state_of_a_newer_broker_makes_the_member_begin_anew() -> None:
    who = member(state=MemberState.of(77))
    with pytest.raises(KafkaError) as raised:
        step(who, (1,))
    assert raised.value.code is ErrorCode.FENCED_MEMBER_EPOCH
    assert step(who, (1,), owned=()).state is MemberState.STABLE
