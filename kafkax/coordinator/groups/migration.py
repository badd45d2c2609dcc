"""A group's way from the classic to the consumer protocol and back, while its members go on (KIP-848, "live migration").

A classic group becomes a consumer group when the first member of the new protocol joins it; its members go on with classic
requests, which :mod:`kafkax.coordinator.groups.classic_bridge` answers.  It becomes a classic group again when
the last member of the new protocol is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from kafkax.coordinator.groups.classic import CONSUMER_PROTOCOL_TYPE, ClassicGroup, ClassicMember, ClassicState
from kafkax.coordinator.groups.consumer_group import ClassicClient, ConsumerGroup, ConsumerMember
from kafkax.coordinator.groups.consumer_protocol import Writer
from kafkax.coordinator.groups.consumer_records import (
    assignment_record,
    current_record,
    epoch_record,
    member_record,
    target_record,
)
from kafkax.coordinator.groups.settings import GroupSettings
from kafkax.coordinator.groups.topics import TopicView
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.coordinator_records.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from kafkax.protocol.coordinator_records.framing import leading_int16

__all__ = ["can_downgrade", "can_upgrade", "downgraded", "encode_assignment", "parse_subscription", "write_upgraded"]

_NEWEST = 3
"""Version of the consumer protocol's messages that this broker knows."""


def can_upgrade(group: ClassicGroup, settings: GroupSettings) -> bool:
    """Whether a classic group with members may become a consumer group."""
    return settings.migration_policy.upgrades and group.is_consumer_group and len(group.members) <= settings.consumer_max_size


def can_downgrade(group: ConsumerGroup, settings: GroupSettings) -> bool:
    """Whether a consumer group may become a classic group: its members speak nothing else, and there are some."""
    size = len(group.members)
    return settings.migration_policy.downgrades and 0 < size == group.classic_members and size <= settings.max_size


def parse_subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """What a classic consumer said when it joined; versions above the newest known one are read as that.

    Raises:
        ProtocolError: the bytes do not parse.
    """
    version = leading_int16(metadata)
    if version < 0:
        raise ProtocolError(f"a subscription of version {version}")
    if version > _NEWEST:
        metadata = _NEWEST.to_bytes(2, "big") + metadata[2:]
    return ConsumerProtocolSubscription.from_bytes(metadata)


def encode_assignment(member: ConsumerMember, view: TopicView, version: int) -> bytes:
    """What a member has, in the words of the classic protocol; topics that exist no more are left out."""
    partitions = []
    for topic_id, held in member.assigned.items():
        topic = view.by_id(topic_id)
        if topic is not None:
            partitions.append(ConsumerProtocolAssignmentTopicPartition(topic=topic.name, partitions=sorted(held)))
    return ConsumerProtocolAssignment(assigned_partitions=partitions).to_bytes(min(version, _NEWEST))


def write_upgraded(group: ClassicGroup, view: TopicView, write: Writer, now_ms: int) -> None:
    """Write a classic group's members as members of a consumer group, each with what it has.

    Raises:
        KafkaError: GROUP_ID_NOT_FOUND when what a member said cannot be read.
    """
    epoch = group.generation
    try:
        members = [_upgraded(group, member, view, epoch) for member in group.members.values()]
    except (ProtocolError, KafkaError) as error:
        raise KafkaError(
            ErrorCode.GROUP_ID_NOT_FOUND, f"group {group.group_id} stays a classic group, a member of it cannot be read: {error}"
        ) from None
    for member in members:
        write(member_record(group.group_id, member))
    write(epoch_record(group.group_id, epoch, 0))
    for member in members:
        target = {topic_id: frozenset(partitions) for topic_id, partitions in member.assigned.items()}
        write(target_record(group.group_id, member.member_id, target))
    write(assignment_record(group.group_id, epoch, now_ms))
    for member in members:
        write(current_record(group.group_id, member))


def _upgraded(group: ClassicGroup, member: ClassicMember, view: TopicView, epoch: int) -> ConsumerMember:
    metadata = member.metadata(group.protocol_name) or (member.protocols[0][1] if member.protocols else b"")
    subscription = parse_subscription(metadata)
    assigned: dict[UUID, Mapping[int, int]] = {}
    if member.assignment:
        for each in ConsumerProtocolAssignment.from_bytes(member.assignment).assigned_partitions:
            topic = view.by_name(each.topic)
            if topic is not None:
                assigned[topic.topic_id] = dict.fromkeys(sorted(each.partitions), epoch)
    return ConsumerMember(
        member.member_id,
        instance_id=member.instance_id,
        rack_id=subscription.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topics=tuple(sorted(set(subscription.topics))),
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        classic=ClassicClient(member.session_timeout_ms, member.protocols),
        epoch=epoch,
        previous_epoch=epoch,
        assigned=assigned,
    )


def downgraded(group: ConsumerGroup, view: TopicView, now_ms: Callable[[], int]) -> ClassicGroup:
    """A classic group of the members of a consumer group, which all speak the classic protocol."""
    classic = ClassicGroup(group.group_id, now_ms(), ClassicState.STABLE)
    classic.generation = group.epoch
    classic.protocol_type = CONSUMER_PROTOCOL_TYPE
    for member in group.members.values():
        client = member.classic or ClassicClient(member.rebalance_timeout_ms, ())
        version = leading_int16(client.protocols[0][1]) if client.protocols else 0
        classic.add(
            ClassicMember(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                member.rebalance_timeout_ms,
                client.session_timeout_ms,
                client.protocols,
                encode_assignment(member, view, version),
            )
        )
    classic.protocol_name = classic.select_protocol()
    return classic
