"""DescribeTopicPartitions (key 75): partitions of topics, page by page (KIP-966).

Versions: only 0. Topics are answered in the order of their names; a cursor names where the next page begins.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.operations import topic_operations
from kafkax.errors import ErrorCode
from kafkax.model import valid_topic_name
from kafkax.protocol.messages.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

SPEC = Spec(key=75, min_version=0, max_version=0)


def handle(context: RequestContext, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """Describe up to a page of partitions, from the cursor on."""
    services = context.services
    limit = min(services.config["max.request.partition.size.limit"], max(request.response_partition_limit, 1))
    names = sorted({topic.name for topic in request.topics}) or sorted(t.name for t in services.image.topics.values())
    first = 0
    if request.cursor is not None:
        names = [name for name in names if name >= request.cursor.topic_name]
        first = request.cursor.partition_index
    response = DescribeTopicPartitionsResponse()
    room = limit
    for position, name in enumerate(names):
        if room <= 0:
            response.next_cursor = Cursor(topic_name=name, partition_index=0)
            break
        start = first if position == 0 and request.cursor is not None and name == request.cursor.topic_name else 0
        described = _describe(context, name, start, room)
        response.topics.append(described)
        room -= len(described.partitions)
        topic = services.image.topics.get(name)
        end = start + len(described.partitions)
        if topic is not None and end < len(topic.partitions):
            response.next_cursor = Cursor(topic_name=name, partition_index=end)
            break
    return response


def _describe(context: RequestContext, name: str, start: int, room: int) -> DescribeTopicPartitionsResponseTopic:
    topic = context.services.image.topics.get(name)
    if topic is None:
        known = valid_topic_name(name)
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if known else ErrorCode.INVALID_TOPIC_EXCEPTION
        return DescribeTopicPartitionsResponseTopic(error_code=code, name=name)
    chosen = [(index, topic.partitions[index]) for index in sorted(topic.partitions)[start : start + room]]
    return DescribeTopicPartitionsResponseTopic(
        name=name,
        topic_id=topic.topic_id,
        is_internal=context.services.is_internal(name),
        partitions=[
            DescribeTopicPartitionsResponsePartition(
                error_code=ErrorCode.LEADER_NOT_AVAILABLE if partition.leader < 0 else ErrorCode.NONE,
                partition_index=index,
                leader_id=partition.leader,
                leader_epoch=partition.leader_epoch,
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                eligible_leader_replicas=[],
                last_known_elr=[],
                offline_replicas=list(partition.offline),
            )
            for index, partition in chosen
        ],
        topic_authorized_operations=topic_operations(),
    )
