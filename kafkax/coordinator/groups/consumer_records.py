"""Records of consumer groups: built from state, and what each of them means for it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from kafkax.coordinator.groups.consumer_group import (
    NO_EPOCH,
    Assigned,
    ClassicClient,
    ConsumerGroup,
    ConsumerMember,
    MemberState,
    ResolvedRegex,
    Target,
)
from kafkax.coordinator.groups.records import GroupRecord
from kafkax.protocol.coordinator_records.consumer_group import (
    ClassicMemberMetadata,
    ClassicProtocol,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    TopicPartition,
    TopicPartitions,
)

__all__ = [
    "assignment_record",
    "current_record",
    "epoch_record",
    "group_tombstones",
    "member_record",
    "member_tombstones",
    "regex_record",
    "regex_tombstone",
    "replay_record",
    "target_record",
]


def member_record(group_id: str, member: ConsumerMember) -> GroupRecord:
    """What a member said about itself."""
    classic = None
    if member.classic is not None:
        protocols = [ClassicProtocol(name=name, metadata=metadata) for name, metadata in member.classic.protocols]
        classic = ClassicMemberMetadata(session_timeout_ms=member.classic.session_timeout_ms, supported_protocols=protocols)
    value = ConsumerGroupMemberMetadataValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex or "",
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        server_assignor=member.assignor,
        classic_member_metadata=classic,
    )
    return GroupRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value)


def current_record(group_id: str, member: ConsumerMember) -> GroupRecord:
    """What a member has, and its epoch."""
    value = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=member.epoch,
        previous_member_epoch=member.previous_epoch,
        state=member.state,
        assigned_partitions=_topic_partitions(member.assigned),
        partitions_pending_revocation=_topic_partitions(member.revoking),
    )
    return GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id), value)


def _topic_partitions(assigned: Assigned) -> list[TopicPartitions]:
    return [
        TopicPartitions(topic_id=topic_id, partitions=list(partitions), assignment_epochs=list(partitions.values()))
        for topic_id, partitions in assigned.items()
    ]


def target_record(group_id: str, member_id: str, target: Target) -> GroupRecord:
    """What a member is to have."""
    partitions = [TopicPartition(topic_id=topic_id, partitions=sorted(indexes)) for topic_id, indexes in target.items()]
    value = ConsumerGroupTargetAssignmentMemberValue(topic_partitions=partitions)
    return GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value)


def assignment_record(group_id: str, epoch: int, now_ms: int) -> GroupRecord:
    """For which group epoch the target assignment was made, and when."""
    value = ConsumerGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=now_ms)
    return GroupRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), value)


def epoch_record(group_id: str, epoch: int, metadata_hash: int) -> GroupRecord:
    """The group epoch."""
    value = ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash)
    return GroupRecord(ConsumerGroupMetadataKey(group_id=group_id), value)


def regex_record(group_id: str, regex: str, resolved: ResolvedRegex) -> GroupRecord:
    """What a regular expression matched."""
    value = ConsumerGroupRegularExpressionValue(
        topics=list(resolved.topics), version=resolved.version, timestamp=resolved.timestamp_ms
    )
    return GroupRecord(ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex), value)


def regex_tombstone(group_id: str, regex: str) -> GroupRecord:
    """Nobody uses the regular expression any more."""
    return GroupRecord(ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex), None)


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """The records that remove a member."""
    return [
        GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None),
        GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None),
        GroupRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None),
    ]


def group_tombstones(group: ConsumerGroup) -> list[GroupRecord]:
    """The records that remove a group and whoever is in it."""
    group_id = group.group_id
    records = [record for member_id in group.members for record in member_tombstones(group_id, member_id)]
    records += [regex_tombstone(group_id, regex) for regex in group.regexes]
    records.append(GroupRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), None))
    records.append(GroupRecord(ConsumerGroupMetadataKey(group_id=group_id), None))
    return records


def replay_record(group: ConsumerGroup, record: GroupRecord) -> None:
    """Apply a record to its group; the one that removes the group itself is not for here."""
    key, value = record.key, record.value
    if isinstance(key, ConsumerGroupMemberMetadataKey):
        if value is None:
            group.remove_member(key.member_id)
        else:
            assert isinstance(value, ConsumerGroupMemberMetadataValue)
            group.set_member(_described(group.members.get(key.member_id) or ConsumerMember(key.member_id), value))
    elif isinstance(key, ConsumerGroupCurrentMemberAssignmentKey):
        _replay_current(group, key.member_id, value)
    elif isinstance(key, ConsumerGroupTargetAssignmentMemberKey):
        if value is None:
            group.target.pop(key.member_id)
        else:
            assert isinstance(value, ConsumerGroupTargetAssignmentMemberValue)
            group.target[key.member_id] = {each.topic_id: frozenset(each.partitions) for each in value.topic_partitions}
    elif isinstance(key, ConsumerGroupTargetAssignmentMetadataKey):
        if isinstance(value, ConsumerGroupTargetAssignmentMetadataValue):
            group.set_assignment_epoch(value.assignment_epoch, value.assignment_timestamp)
        else:
            group.set_assignment_epoch(NO_EPOCH, 0)
    elif isinstance(key, ConsumerGroupRegularExpressionKey):
        if isinstance(value, ConsumerGroupRegularExpressionValue):
            group.regexes[key.regular_expression] = ResolvedRegex(tuple(value.topics), value.version, value.timestamp)
        else:
            group.regexes.pop(key.regular_expression)
    elif isinstance(key, ConsumerGroupMetadataKey) and isinstance(value, ConsumerGroupMetadataValue):
        group.set_epoch(value.epoch, value.metadata_hash)


def _described(member: ConsumerMember, value: ConsumerGroupMemberMetadataValue) -> ConsumerMember:
    stored, classic = value.classic_member_metadata, None
    if stored is not None:
        protocols = tuple((each.name, bytes(each.metadata)) for each in stored.supported_protocols)
        classic = ClassicClient(stored.session_timeout_ms, protocols)
    return member._replace(
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        topics=tuple(sorted(value.subscribed_topic_names)),
        regex=value.subscribed_topic_regex or None,
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        assignor=value.server_assignor,
        classic=classic,
    )


def _replay_current(group: ConsumerGroup, member_id: str, value: object) -> None:
    member = group.members.get(member_id)
    if isinstance(value, ConsumerGroupCurrentMemberAssignmentValue):
        group.set_member(
            (member or ConsumerMember(member_id))._replace(
                epoch=value.member_epoch,
                previous_epoch=value.previous_member_epoch,
                state=MemberState.of(value.state),
                assigned=_assigned(value.assigned_partitions, value.member_epoch),
                revoking=_assigned(value.partitions_pending_revocation, value.member_epoch),
            )
        )
    elif member is not None:
        group.set_member(member._replace(epoch=NO_EPOCH, previous_epoch=NO_EPOCH, assigned={}, revoking={}))


def _assigned(stored: Iterable[TopicPartitions], epoch: int) -> Assigned:
    """Partitions with the epoch of their assignment; records from before Kafka 4.3 have none, the member's own counts then."""
    found: dict[UUID, dict[int, int]] = {}
    for each in stored:
        epochs = each.assignment_epochs
        if epochs is None or len(epochs) != len(each.partitions):
            epochs = [epoch] * len(each.partitions)
        found[each.topic_id] = dict(zip(each.partitions, epochs, strict=True))
    return found
