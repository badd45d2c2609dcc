"""Who becomes leader: pure choices from a partition's replicas, its ISR and who lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kafkax.cluster.znodes import NO_LEADER, PartitionState, ReplicaAssignment

__all__ = ["Choice", "elect_live", "elect_preferred", "elect_target", "elect_without", "next_state", "shrink"]

Alive = Callable[[int], bool]


class Choice(NamedTuple):
    """A partition's new leader and ISR."""

    leader: int
    isr: tuple[int, ...]
    unclean: bool = False
    """Whether the leader was outside the ISR, so that acknowledged records may be lost."""


def elect_live(assignment: ReplicaAssignment, isr: tuple[int, ...], alive: Alive, *, unclean: bool = False) -> Choice | None:
    """After a leader's failure: the first living replica of the ISR in order of assignment.

    When none lives and ``unclean`` allows it (``unclean.leader.election.enable``), the first living replica at all.  None when
    the partition has to wait.
    """
    living = [replica for replica in assignment.replicas if alive(replica)]
    for replica in living:
        if replica in isr:
            return Choice(replica, tuple(member for member in isr if member in living))
    if unclean and living:
        return Choice(living[0], (living[0],), unclean=True)
    return None


def elect_target(assignment: ReplicaAssignment, isr: tuple[int, ...], alive: Alive) -> Choice | None:
    """At the end of a reassignment: the first living replica of the ISR that stays."""
    leader = next((replica for replica in assignment.target if replica in isr and alive(replica)), None)
    return None if leader is None else Choice(leader, isr)


def elect_preferred(assignment: ReplicaAssignment, isr: tuple[int, ...], alive: Alive) -> Choice | None:
    """The first replica of the assignment, if it lives and is in sync."""
    preferred = assignment.replicas[0]
    return Choice(preferred, isr) if preferred in isr and alive(preferred) else None


def elect_without(assignment: ReplicaAssignment, isr: tuple[int, ...], alive: Alive, leaving: frozenset[int]) -> Choice | None:
    """Before brokers stop (controlled shutdown): the first living replica of the ISR that stays up."""
    remaining = tuple(member for member in isr if member not in leaving)
    leader = next((replica for replica in assignment.replicas if replica in remaining and alive(replica)), None)
    return None if leader is None else Choice(leader, remaining)


def next_state(state: PartitionState, choice: Choice, controller_epoch: int) -> PartitionState:
    """The state that follows from an election: the leader epoch grows by one."""
    recovering = choice.unclean or (state.recovering and state.leader == choice.leader)
    return PartitionState(choice.leader, state.leader_epoch + 1, choice.isr, controller_epoch, recovering)


def shrink(state: PartitionState, gone: frozenset[int], controller_epoch: int) -> PartitionState:
    """The state without some replicas in its ISR; the last in sync stays, since only it may lead again.

    A leader among ``gone`` is replaced by none.
    """
    remaining = tuple(member for member in state.isr if member not in gone)
    if not remaining:
        remaining = (state.leader,) if state.leader in state.isr else state.isr[:1]
    leader = NO_LEADER if state.leader in gone else state.leader
    return PartitionState(leader, state.leader_epoch + 1, remaining, controller_epoch, state.recovering)
