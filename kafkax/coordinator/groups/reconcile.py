"""One member's way from what it has to what it is to have (KIP-848, "reconciliation").

A member first gives up what it must, and tells so by no longer naming it; then it is moved to the target's epoch and gets what
is free; what others still have it gets later, when they have given it up.  Nobody is given a partition that somebody has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from kafkax.coordinator.groups.consumer_group import NO_EPOCH, Assigned, ConsumerMember, MemberState, Target
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["reconcile"]

Owned = Mapping[UUID, frozenset[int]]


def reconcile(
    member: ConsumerMember,
    target_epoch: int,
    target: Target,
    owned: Owned | None,
    owner_epoch: Callable[[UUID, int], int],
) -> ConsumerMember:
    """The member after its next step; itself when there is none to take.

    Args:
        member: as it is.
        target_epoch: epoch of the target assignment.
        target: what the member is to have.
        owned: what the member says it has; None when it did not say.
        owner_epoch: epoch of the member that has a partition, :data:`NO_EPOCH` when nobody has it.

    Raises:
        KafkaError: FENCED_MEMBER_EPOCH for a member in a state that only a newer broker knows; it must begin anew.
    """
    if member.state is MemberState.STABLE:
        if member.epoch == target_epoch:
            return member
        return _next(member, member.epoch, target_epoch, target, owned, owner_epoch)
    if member.state is MemberState.UNREVOKED_PARTITIONS:
        if owned is None or _still_has(owned, member.revoking):
            return member
        return _next(member, member.epoch + 1, target_epoch, target, owned, owner_epoch)
    if member.state is MemberState.UNRELEASED_PARTITIONS:
        return _next(member, member.epoch, target_epoch, target, owned, owner_epoch)
    if owned is None or any(owned.values()):
        raise KafkaError(ErrorCode.FENCED_MEMBER_EPOCH, "the member must give up its partitions and join again")
    return _next(member, target_epoch, target_epoch, target, owned, owner_epoch)


def _next(
    member: ConsumerMember,
    epoch: int,
    target_epoch: int,
    target: Target,
    owned: Owned | None,
    owner_epoch: Callable[[UUID, int], int],
) -> ConsumerMember:
    kept: dict[UUID, dict[int, int]] = {}
    revoking: dict[UUID, dict[int, int]] = {}
    missing: dict[UUID, list[int]] = {}
    unreleased = False
    for topic_id in {**target, **member.assigned}:
        wanted = target.get(topic_id, frozenset())
        has = member.assigned.get(topic_id, {})
        keeps = {partition: since for partition, since in has.items() if partition in wanted}
        gives = {partition: since for partition, since in has.items() if partition not in wanted}
        wants = [partition for partition in wanted if partition not in has]
        free = [partition for partition in wants if owner_epoch(topic_id, partition) == NO_EPOCH]
        unreleased = unreleased or len(free) < len(wants)
        if keeps:
            kept[topic_id] = keeps
        if gives:
            revoking[topic_id] = gives
        if free:
            missing[topic_id] = sorted(free)
    if revoking and (owned is None or _still_has(owned, revoking)):
        return member._replace(
            state=MemberState.UNREVOKED_PARTITIONS, epoch=epoch, previous_epoch=member.epoch, assigned=kept, revoking=revoking
        )
    for topic_id, partitions in missing.items():
        held = kept.setdefault(topic_id, {})
        held.update(dict.fromkeys(partitions, target_epoch))
        kept[topic_id] = dict(sorted(held.items()))
    state = MemberState.UNRELEASED_PARTITIONS if unreleased else MemberState.STABLE
    after = member._replace(state=state, epoch=target_epoch, previous_epoch=member.epoch, assigned=kept, revoking={})
    # A member that only goes on waiting has not moved: its previous epoch must stay the one it may have missed.
    waits_on = member.state is state is MemberState.UNRELEASED_PARTITIONS
    if waits_on and member.epoch == target_epoch and member.assigned == kept:
        return member
    return after


def _still_has(owned: Owned, partitions: Assigned) -> bool:
    return any(partition in owned.get(topic_id, ()) for topic_id, held in partitions.items() for partition in held)
