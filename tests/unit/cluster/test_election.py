"""Who may lead: never one outside the ISR, unless it is allowed in so many words."""

from __future__ import annotations

import pytest

from kafkax.cluster.controller.election import (
    Choice,
    elect_live,
    elect_preferred,
    elect_target,
    elect_without,
    next_state,
    shrink,
)
from kafkax.cluster.controller.reassignment import begun
from kafkax.cluster.znodes import NO_LEADER, PartitionState, ReplicaAssignment

ABC = ReplicaAssignment((1, 2, 3))


def alive(*brokers):
    return lambda broker: broker in brokers


def test_the_first_living_replica_in_sync_leads():
    assert elect_live(ABC, (3, 2), alive(1, 2, 3)) == Choice(2, (3, 2))
    assert elect_live(ABC, (1, 2, 3), alive(2, 3)) == Choice(2, (2, 3))


def test_without_one_in_sync_the_partition_waits_or_loses():
    assert elect_live(ABC, (1,), alive(2, 3)) is None
    assert elect_live(ABC, (1,), alive(2, 3), unclean=True) == Choice(2, (2,), unclean=True)
    assert elect_live(ABC, (1,), alive(), unclean=True) is None


def test_preferred_only_when_in_sync_and_alive():
    assert elect_preferred(ABC, (2, 1), alive(1, 2)) == Choice(1, (2, 1))
    assert elect_preferred(ABC, (2,), alive(1, 2)) is None
    assert elect_preferred(ABC, (1, 2), alive(2)) is None


def test_the_end_of_a_reassignment_elects_among_those_who_stay():
    moving = ReplicaAssignment((3, 4, 1), adding=(3, 4), removing=(1,))
    assert elect_target(moving, (1, 3, 4), alive(1, 4)) == Choice(4, (1, 3, 4))
    assert elect_target(moving, (1,), alive(1, 3, 4)) is None


def test_a_stopping_broker_hands_over_to_one_who_stays():
    assert elect_without(ABC, (1, 2, 3), alive(1, 2, 3), frozenset({1})) == Choice(2, (2, 3))
    assert elect_without(ABC, (1,), alive(1, 2), frozenset({1})) is None


def test_every_election_begins_a_new_epoch():
    state = PartitionState(1, 7, (1, 2), 3)
    assert next_state(state, Choice(2, (2,)), 4) == PartitionState(2, 8, (2,), 4)
    assert next_state(state, Choice(3, (3,), unclean=True), 4).recovering


def test_recovery_ends_when_another_replica_is_elected_cleanly():
    recovering = PartitionState(3, 7, (3,), 3, recovering=True)
    assert next_state(recovering, Choice(3, (3,)), 4).recovering
    assert not next_state(recovering, Choice(2, (2,)), 4).recovering


@pytest.mark.parametrize(
    ("leader", "isr", "gone", "expected"),
    [
        (1, (1, 2, 3), {2}, (1, (1, 3))),
        (1, (1, 2), {1}, (NO_LEADER, (2,))),
        (1, (1,), {1}, (NO_LEADER, (1,))),
        (1, (1, 2), {1, 2}, (NO_LEADER, (1,))),
        (NO_LEADER, (2,), {2}, (NO_LEADER, (2,))),
    ],
)
def test_the_last_in_sync_stays_in_the_isr(leader, isr, gone, expected):
    after = shrink(PartitionState(leader, 0, isr, 1), frozenset(gone), 2)
    assert (after.leader, after.isr) == expected


def test_a_reassignment_keeps_the_old_replicas_until_it_is_done():
    assert begun(ABC, (4, 1)) == ReplicaAssignment((4, 1, 2, 3), adding=(4,), removing=(2, 3))


def test_a_replaced_reassignment_starts_from_the_original_replicas():
    moving = begun(ABC, (4, 1))
    assert begun(moving, (5, 1)) == ReplicaAssignment((5, 1, 2, 3), adding=(5,), removing=(2, 3))
