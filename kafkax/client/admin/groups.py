"""Groups and their offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from kafkax.client.admin.topics import outcome
from kafkax.client.admin.types import ConsumerGroupTopicPartitions, GroupDescription, GroupListing, MemberDescription
from kafkax.client.cluster import GROUP, Cluster, check, sole
from kafkax.client.offsets import commit_offsets, fetch_offsets
from kafkax.client.types import TopicPartition, by_topic
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolAssignment
from kafkax.protocol.messages.consumer_group_describe import (
    Assignment,
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
)
from kafkax.protocol.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from kafkax.protocol.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from kafkax.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from kafkax.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
)

__all__ = [
    "alter_offsets",
    "alter_offsets_of_groups",
    "delete_groups",
    "delete_offsets",
    "describe_groups",
    "list_groups",
    "list_offsets_of_group",
    "list_offsets_of_groups",
]

T = TypeVar("T")


async def list_groups(cluster: Cluster, states: Iterable[str], types: Iterable[str], timeout: float) -> list[GroupListing]:
    """Groups of all brokers, in these states and of these types if any are given."""
    await cluster.retry(lambda: cluster.refresh([]), cluster.deadline(timeout), "metadata")

    async def ask(node: int) -> list[GroupListing]:
        request = ListGroupsRequest(states_filter=list(states), types_filter=list(types))
        answer = await cluster.request(request, ListGroupsResponse, node)
        check(answer.error_code, f"groups of broker {node}")
        return [GroupListing(each.group_id, each.protocol_type, each.group_state, each.group_type) for each in answer.groups]

    lists = await asyncio.gather(
        *(
            cluster.retry(lambda node=node: ask(node), cluster.deadline(timeout), "listing groups")  # type: ignore[misc]
            for node in cluster.metadata.brokers
        )
    )
    return sorted(each for groups in lists for each in groups)


async def of_coordinator(cluster: Cluster, group: str, timeout: float, ask: Callable[[int], Awaitable[T]]) -> T:
    """Ask a group's coordinator, and the next one when it has moved."""

    async def attempt() -> T:
        node = await cluster.coordinator(GROUP, group)
        try:
            return await ask(node)
        except KafkaError as error:
            if error.code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NETWORK_EXCEPTION):
                cluster.lost_coordinator(GROUP, group)
            raise

    return await cluster.retry(attempt, cluster.deadline(timeout), f"group {group}")


async def _per_group(groups: Sequence[str], one: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
    results = await asyncio.gather(*(one(group) for group in groups), return_exceptions=True)
    return dict(zip(groups, results, strict=True))


async def describe_groups(cluster: Cluster, groups: Sequence[str], timeout: float) -> dict[str, Any]:
    """State and members; gives a :class:`GroupDescription` or an error by group."""

    async def one(group: str) -> GroupDescription:
        return await of_coordinator(cluster, group, timeout, lambda node: _describe(cluster, group, node))

    return await _per_group(groups, one)


async def _describe(cluster: Cluster, group: str, node: int) -> GroupDescription:
    connection = await cluster.connection(node)
    if ConsumerGroupDescribeRequest.api_key in connection.versions:
        request = ConsumerGroupDescribeRequest(group_ids=[group])
        described = await connection.request(request, ConsumerGroupDescribeResponse, cluster.timeout)
        found = sole(described.groups, f"group {group}")
        # Apache Kafka 3.9 names the API where it does not serve it.
        if found.error_code not in (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION):
            check(found.error_code, f"group {group}", found.error_message)
            members = [
                MemberDescription(
                    each.member_id,
                    each.instance_id,
                    each.client_id,
                    each.client_host,
                    _partitions(each.assignment),
                    each.member_epoch,
                    _partitions(each.target_assignment),
                )
                for each in found.members
            ]
            epochs = (found.group_epoch, found.assignment_epoch)
            return GroupDescription(
                group, found.group_state, "Consumer", "consumer", found.assignor_name, node, members, *epochs
            )
    answer = await connection.request(DescribeGroupsRequest(groups=[group]), DescribeGroupsResponse, cluster.timeout)
    return _classic(sole(answer.groups, f"group {group}"), node)


def _partitions(assignment: Assignment) -> list[tuple[str, int]]:
    return [(topic.topic_name, number) for topic in assignment.topic_partitions for number in topic.partitions]


def _classic(found: DescribedGroup, node: int) -> GroupDescription:
    check(found.error_code, f"group {found.group_id}", found.error_message)
    members = [
        MemberDescription(
            each.member_id,
            each.group_instance_id,
            each.client_id,
            each.client_host,
            _assignment(each.member_assignment) if found.protocol_type == "consumer" else [],
        )
        for each in found.members
    ]
    return GroupDescription(found.group_id, found.group_state, "Classic", found.protocol_type, found.protocol_data, node, members)


def _assignment(data: bytes) -> list[tuple[str, int]]:
    if not data:
        return []
    assigned = ConsumerProtocolAssignment.from_bytes(data).assigned_partitions
    return [(topic.topic, number) for topic in assigned for number in topic.partitions]


async def delete_groups(cluster: Cluster, groups: Sequence[str], timeout: float) -> dict[str, Any]:
    """Delete empty groups; gives None or an error by group."""

    async def one(group: str) -> None:
        async def ask(node: int) -> None:
            answer = await cluster.request(DeleteGroupsRequest(groups_names=[group]), DeleteGroupsResponse, node)
            check(sole(answer.results, f"group {group}").error_code, f"group {group}")

        await of_coordinator(cluster, group, timeout, ask)

    return await _per_group(groups, one)


async def list_offsets_of_group(
    cluster: Cluster, group: str, partitions: Sequence[tuple[str, int]] | None, timeout: float
) -> list[TopicPartition]:
    """Committed offsets of a group, of these partitions or of all (None)."""

    async def ask(node: int) -> list[TopicPartition]:
        return await fetch_offsets(cluster, node, group, partitions, stable=False)

    return await of_coordinator(cluster, group, timeout, ask)


async def list_offsets_of_groups(
    cluster: Cluster, wanted: Sequence[ConsumerGroupTopicPartitions], timeout: float
) -> dict[str, Any]:
    """Committed offsets of several groups; gives a :class:`ConsumerGroupTopicPartitions` or an error by group."""
    by_group = {each.group_id: each.topic_partitions for each in wanted}

    async def one(group: str) -> ConsumerGroupTopicPartitions:
        partitions = by_group[group]
        keys = None if partitions is None else [each.key for each in partitions]
        return ConsumerGroupTopicPartitions(group, await list_offsets_of_group(cluster, group, keys, timeout))

    return await _per_group(list(by_group), one)


async def alter_offsets_of_groups(
    cluster: Cluster, wanted: Sequence[ConsumerGroupTopicPartitions], timeout: float
) -> dict[str, Any]:
    """Set offsets of several groups; gives a :class:`ConsumerGroupTopicPartitions` or an error by group."""
    by_group = {each.group_id: each.topic_partitions or [] for each in wanted}

    async def one(group: str) -> ConsumerGroupTopicPartitions:
        results = await alter_offsets(cluster, group, by_group[group], timeout)
        for each in by_group[group]:
            each.error = results[each.key]
        return ConsumerGroupTopicPartitions(group, by_group[group])

    return await _per_group(list(by_group), one)


async def alter_offsets(
    cluster: Cluster, group: str, offsets: Sequence[TopicPartition], timeout: float
) -> dict[tuple[str, int], Any]:
    """Set offsets of a group without members; gives None or an error by partition."""

    async def ask(node: int) -> dict[tuple[str, int], Any]:
        return dict(await commit_offsets(cluster, node, group, offsets))

    return await of_coordinator(cluster, group, timeout, ask)


async def delete_offsets(
    cluster: Cluster, group: str, partitions: Iterable[tuple[str, int]], timeout: float
) -> dict[tuple[str, int], Any]:
    """Forget offsets of a group; gives None or an error by partition."""
    topics = [
        OffsetDeleteRequestTopic(name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=each) for each in numbers])
        for topic, numbers in by_topic(partitions).items()
    ]

    async def ask(node: int) -> Mapping[tuple[str, int], Any]:
        answer = await cluster.request(OffsetDeleteRequest(group_id=group, topics=topics), OffsetDeleteResponse, node)
        check(answer.error_code, f"group {group}")
        return {
            (topic.name, each.partition_index): outcome(each.error_code, f"{topic.name}-{each.partition_index}", None, None)
            for topic in answer.topics
            for each in topic.partitions
        }

    return dict(await of_coordinator(cluster, group, timeout, ask))
