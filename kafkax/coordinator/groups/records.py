"""Records of ``__consumer_offsets``: how they are built from state and read back."""

from __future__ import annotations

from typing import NamedTuple

from kafkax.coordinator.batches import Entry
from kafkax.coordinator.groups.classic import ClassicGroup, ClassicMember, ClassicState
from kafkax.coordinator.offset_records import OffsetRecord, decode_key, decode_value, encode_key, encode_value
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.coordinator_records.classic_group import GroupMetadataKey, GroupMetadataValue, MemberMetadata
from kafkax.protocol.coordinator_records.consumer_group import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
)
from kafkax.protocol.coordinator_records.framing import CoordinatorKey, CoordinatorValue, leading_int16

__all__ = [
    "GroupRecord",
    "classic_group_from",
    "classic_group_record",
    "classic_group_tombstone",
    "decode_record",
    "encode_record",
]

_LAST_OFFSET_KIND = 1
_TYPES: dict[int, tuple[type[CoordinatorKey], type[CoordinatorValue]]] = {
    2: (GroupMetadataKey, GroupMetadataValue),
    3: (ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
    4: (ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue),
    5: (ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
    6: (ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue),
    7: (ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue),
    8: (ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue),
    16: (ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
}
"""Kinds of records besides offset commits, which have a quicker way.  Kind 4 is what Kafka 4.0 wrote and later ones ignore."""

_GROUP_METADATA_VERSION = 3
"""What Kafka 4.3 writes; version 4 only adds tagged fields, of which there are none."""


class GroupRecord(NamedTuple):
    """A record to append: its key, its value (None is a tombstone), and the version the value is written in."""

    key: CoordinatorKey
    value: CoordinatorValue | None
    version: int = 0


def classic_group_record(group: ClassicGroup, assignments: dict[str, bytes]) -> GroupRecord:
    """The record that holds a classic group, with the assignments given instead of those its members have now."""
    members = [
        MemberMetadata(
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout=member.rebalance_timeout_ms,
            session_timeout=member.session_timeout_ms,
            subscription=member.metadata(group.protocol_name),
            assignment=assignments.get(member.member_id, b""),
        )
        for member in group.members.values()
    ]
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation,
        protocol=group.protocol_name,
        leader=group.leader,
        current_state_timestamp=group.state_timestamp_ms if group.state_timestamp_ms is not None else -1,
        members=members,
    )
    return GroupRecord(GroupMetadataKey(group=group.group_id), value, _GROUP_METADATA_VERSION)


def classic_group_tombstone(group_id: str) -> GroupRecord:
    """The record that deletes a classic group."""
    return GroupRecord(GroupMetadataKey(group=group_id), None)


def classic_group_from(group_id: str, value: GroupMetadataValue, now_ms: int) -> ClassicGroup:
    """The group that a record holds: stable with the members of its generation, or empty."""
    state = ClassicState.STABLE if value.members else ClassicState.EMPTY
    group = ClassicGroup(group_id, now_ms, state)
    group.generation = value.generation
    group.protocol_type = value.protocol_type or None
    group.protocol_name = value.protocol
    group.leader = value.leader
    group.state_timestamp_ms = value.current_state_timestamp if value.current_state_timestamp >= 0 else None
    for stored in value.members:
        rebalance_timeout_ms = stored.rebalance_timeout if stored.rebalance_timeout >= 0 else stored.session_timeout
        member = ClassicMember(
            stored.member_id,
            stored.group_instance_id,
            stored.client_id,
            stored.client_host,
            rebalance_timeout_ms,
            stored.session_timeout,
            ((value.protocol or "", bytes(stored.subscription)),),
            bytes(stored.assignment),
        )
        group.add(member)
    return group


def encode_record(record: GroupRecord | OffsetRecord) -> Entry:
    """Key and value of a record as they stand in the log."""
    if isinstance(record, OffsetRecord):
        group, topic, partition, committed = record
        return encode_key(group, topic, partition), None if committed is None else encode_value(committed)
    return record.key.to_bytes(), None if record.value is None else record.value.to_bytes(record.version)


def decode_record(key: bytes, value: bytes | None) -> GroupRecord | OffsetRecord:
    """A record from its key and value.

    Raises:
        ProtocolError: the bytes do not parse.
        KafkaError: UNSUPPORTED_VERSION for a kind or version that is not known.
    """
    kind = leading_int16(key)
    if kind <= _LAST_OFFSET_KIND:
        return OffsetRecord(*decode_key(key), None if value is None else decode_value(kind, value))
    types = _TYPES.get(kind)
    if types is None:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"records of kind {kind} are not known")
    return GroupRecord(types[0].from_bytes(key), None if value is None else types[1].from_bytes(value))
