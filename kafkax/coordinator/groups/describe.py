"""Groups as tools see them: the answers of DescribeGroups and ConsumerGroupDescribe."""

from __future__ import annotations

from uuid import UUID

from kafkax.coordinator.groups.classic import ClassicGroup, ClassicState
from kafkax.coordinator.groups.consumer_group import ConsumerGroup, ConsumerMember, Target
from kafkax.coordinator.groups.topics import TopicView
from kafkax.protocol.messages.consumer_group_describe import Assignment, Member, TopicPartitions
from kafkax.protocol.messages.consumer_group_describe import DescribedGroup as DescribedConsumerGroup
from kafkax.protocol.messages.describe_groups import DescribedGroup, DescribedGroupMember

__all__ = ["DescribedConsumerGroup", "describe_classic", "describe_consumer"]

_CLASSIC_MEMBER = 0
_CONSUMER_MEMBER = 1


def describe_classic(group: ClassicGroup) -> DescribedGroup:
    """A classic group; the protocol and what its members said for it only once it is stable."""
    stable = group.state is ClassicState.STABLE
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol_name or "") if stable else "",
        members=[
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata(group.protocol_name) if stable else b"",
                member_assignment=member.assignment,
            )
            for member in group.members.values()
        ],
    )


def describe_consumer(group: ConsumerGroup, view: TopicView, default_assignor: str) -> DescribedConsumerGroup:
    """A consumer group with what each member has and is to have."""
    return DescribedConsumerGroup(
        group_id=group.group_id,
        group_state=group.state.value,
        group_epoch=group.epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.preferred_assignor(default_assignor),
        members=[_member(group, member, view) for member in group.members.values()],
    )


def _member(group: ConsumerGroup, member: ConsumerMember, view: TopicView) -> Member:
    return Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex or "",
        assignment=_assignment(_held(member), view),
        target_assignment=_assignment(group.target_of(member.member_id), view),
        member_type=_CONSUMER_MEMBER if member.classic is None else _CLASSIC_MEMBER,
    )


def _held(member: ConsumerMember) -> Target:
    """What a member has, also what it still has to give up."""
    return {
        topic_id: frozenset([*member.assigned.get(topic_id, ()), *member.revoking.get(topic_id, ())])
        for topic_id in {**member.assigned, **member.revoking}
    }


def _assignment(partitions: Target, view: TopicView) -> Assignment:
    topics: list[TopicPartitions] = []
    for topic_id, indexes in partitions.items():
        name = _name(topic_id, view)
        if name is not None:
            topics.append(TopicPartitions(topic_id=topic_id, topic_name=name, partitions=sorted(indexes)))
    return Assignment(topic_partitions=topics)


def _name(topic_id: UUID, view: TopicView) -> str | None:
    topic = view.by_id(topic_id)
    return None if topic is None else topic.name
