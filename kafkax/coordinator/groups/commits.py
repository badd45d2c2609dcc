"""Who may commit and fetch offsets of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax.coordinator.groups.classic import ClassicGroup, ClassicState
from kafkax.coordinator.groups.consumer_group import ConsumerGroup, ConsumerMember
from kafkax.coordinator.groups.settings import Caller
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup

if TYPE_CHECKING:
    from kafkax._core.commit_request import CommitRequest

__all__ = ["check_classic_commit", "check_consumer_commit", "check_consumer_fetch", "may_commit"]

_CONSUMERS_COMMIT_SINCE = 9
"""First version of OffsetCommit that a member of the consumer protocol may use."""


def may_commit(group: ClassicGroup | ConsumerGroup, commit: CommitRequest) -> bool:
    """Whether a commit in its ordinary form may be made as it is: by a member of the present, or while there are none."""
    if commit.generation_id_or_member_epoch < 0:
        return group.state is ClassicState.EMPTY if isinstance(group, ClassicGroup) else not group.members
    if isinstance(group, ClassicGroup):
        try:
            check_classic_commit(group, commit)
        except KafkaError:
            return False
        return True
    member = group.members.get(commit.member_id)
    return (
        member is not None
        and member.epoch == commit.generation_id_or_member_epoch
        and (member.classic is not None or commit.version >= _CONSUMERS_COMMIT_SINCE)
    )


def check_classic_commit(group: ClassicGroup, request: OffsetCommitRequest | CommitRequest) -> None:
    """Let members of the present generation commit, and anybody while there are no members.

    Raises:
        KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS.
    """
    generation = request.generation_id_or_member_epoch
    if generation < 0 and group.state is ClassicState.EMPTY:
        return
    if generation < 0 and not request.member_id and request.group_instance_id is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group.group_id} has members; only they may commit")
    group.validate(request.member_id, request.group_instance_id)
    if generation != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"{group.group_id} is at generation {group.generation}, not {generation}")
    if group.state is ClassicState.COMPLETING_REBALANCE:
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, f"{group.group_id} waits for its assignment; join again")


def check_consumer_commit(group: ConsumerGroup, caller: Caller, request: OffsetCommitRequest) -> dict[tuple[str, int], ErrorCode]:
    """Let members commit at their epoch, and anybody while there are no members.

    A member of the consumer protocol that has not heard of its newest epoch may go on to commit what it has had since before
    (KIP-1251).

    Returns:
        Partitions that the member may not commit.

    Raises:
        KafkaError: UNKNOWN_MEMBER_ID, UNSUPPORTED_VERSION, STALE_MEMBER_EPOCH, for classic members ILLEGAL_GENERATION.
    """
    epoch = request.generation_id_or_member_epoch
    if epoch < 0 and not group.members:
        return {}
    member = group.member(request.member_id)
    if member.classic is None and caller.version < _CONSUMERS_COMMIT_SINCE:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION, f"members of a consumer group commit with version {_CONSUMERS_COMMIT_SINCE} or later"
        )
    stale = ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION
    if epoch == member.epoch:
        return {}
    # A classic member that has joined again reads from what it fetches then: a commit of its past must not overtake that.
    if epoch > member.epoch or epoch < 0 or member.classic is not None:
        raise KafkaError(stale, f"member {member.member_id} is at epoch {member.epoch}, not {epoch}")
    return {
        (topic.name, partition.partition_index): stale
        for topic in request.topics
        for partition in topic.partitions
        if not _had_it(member, topic.topic_id, partition.partition_index, epoch)
    }


def _had_it(member: ConsumerMember, topic_id: object, partition: int, epoch: int) -> bool:
    """Whether a member has had a partition since an epoch."""
    for held in (member.assigned, member.revoking):
        for each, partitions in held.items():
            if each == topic_id and partition in partitions:
                return partitions[partition] <= epoch
    return False


def check_consumer_fetch(group: ConsumerGroup, request: OffsetFetchRequestGroup) -> None:
    """Let members fetch at their epoch, and anybody who does not claim to be one.

    Raises:
        KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH.
    """
    if request.member_id is None and request.member_epoch < 0:
        return
    member = group.member(request.member_id or "")
    if request.member_epoch != member.epoch:
        raise KafkaError(
            ErrorCode.STALE_MEMBER_EPOCH, f"member {member.member_id} is at epoch {member.epoch}, not {request.member_epoch}"
        )
