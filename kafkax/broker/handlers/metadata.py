"""Metadata (key 3): topics, partitions, leaders and brokers.

Versions: 1 lets null ask for all topics (in 0 an empty list does); 4 may forbid creating topics (KIP-204); 5 adds offline
replicas (KIP-112); 7 leader epochs (KIP-320); 8 authorized operations (KIP-430); 9 is flexible; 10 topic ids, which 12 lets
ask by (KIP-516); 11 moves the cluster's operations to DescribeCluster (KIP-700); 13 adds an error for all (KIP-1102).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.operations import cluster_operations, topic_operations
from kafkax.errors import ErrorCode
from kafkax.model import valid_topic_name
from kafkax.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from kafkax.protocol.schema import ZERO_UUID

if TYPE_CHECKING:
    from kafkax.cluster.image import MetadataImage, PartitionImage, TopicImage

SPEC = Spec(key=3, min_version=0, max_version=13)


async def handle(context: RequestContext, request: MetadataRequest) -> MetadataResponse:
    """Describe what is asked for, creating missing topics where that is configured and allowed."""
    services = context.services
    every = request.topics is None or (not request.topics and context.version == 0)
    await services.member.leaders_settled(_known(services.image, None if every else request.topics))
    if request.topics is None or every:
        topics = [_describe(context, topic) for topic in services.image.topics.values()]
    else:
        topics = [await _find(context, asked, request) for asked in request.topics]
    if request.include_topic_authorized_operations:
        for described in topics:
            if described.error_code == ErrorCode.NONE:
                described.topic_authorized_operations = topic_operations()
    response = MetadataResponse(
        brokers=[
            MetadataResponseBroker(node_id=broker.broker_id, host=endpoint.host, port=endpoint.port, rack=broker.rack)
            for broker, endpoint in services.brokers_on(context.listener)
        ],
        cluster_id=services.cluster_id,
        controller_id=services.image.controller_id,
        topics=topics,
    )
    if request.include_cluster_authorized_operations and 8 <= context.version <= 10:
        response.cluster_authorized_operations = cluster_operations()
    return response


def _known(image: MetadataImage, asked: list[MetadataRequestTopic] | None) -> list[TopicImage]:
    """The topics that are asked for, as far as there are such; None asks for all."""
    if asked is None:
        return list(image.topics.values())
    found = (image.topics.get(topic.name) if topic.name is not None else image.topic_by_id(topic.topic_id) for topic in asked)
    return [topic for topic in found if topic is not None]


async def _find(context: RequestContext, asked: MetadataRequestTopic, request: MetadataRequest) -> MetadataResponseTopic:
    """Describe one topic by id or name."""
    image = context.services.image
    if asked.topic_id != ZERO_UUID:
        if context.version < 12 or asked.name is not None:
            return _missing(asked, ErrorCode.INVALID_REQUEST)
        topic = image.topic_by_id(asked.topic_id)
        return _describe(context, topic) if topic is not None else _missing(asked, ErrorCode.UNKNOWN_TOPIC_ID)
    if asked.name is None:
        return _missing(asked, ErrorCode.INVALID_REQUEST)
    topic = image.topics.get(asked.name)
    if topic is not None:
        return _describe(context, topic)
    if not valid_topic_name(asked.name):
        return _missing(asked, ErrorCode.INVALID_TOPIC_EXCEPTION)
    allowed = request.allow_auto_topic_creation or context.version < 4
    if not (allowed and context.services.config["auto.create.topics.enable"]):
        return _missing(asked, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    quota = context.services.admin.mutations.of(context, 0)
    error = (await context.services.topics.auto_create([asked.name], quota.take))[asked.name]
    if error is not None:
        # a client that knows nothing of quotas here asks again
        throttled = error.code is ErrorCode.THROTTLING_QUOTA_EXCEEDED
        return _missing(asked, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if throttled else error.code)
    topic = context.services.image.topics.get(asked.name)
    # the topic exists, but its leader may not be in the image yet: the client asks again
    return _describe(context, topic) if topic is not None else _missing(asked, ErrorCode.LEADER_NOT_AVAILABLE)


def _missing(asked: MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic:
    return MetadataResponseTopic(error_code=code, name=asked.name, topic_id=asked.topic_id)


def _describe(context: RequestContext, topic: TopicImage) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=context.services.is_internal(topic.name),
        partitions=[_partition(index, partition) for index, partition in topic.partitions.items()],
    )


def _partition(index: int, partition: PartitionImage) -> MetadataResponsePartition:
    return MetadataResponsePartition(
        error_code=ErrorCode.LEADER_NOT_AVAILABLE if partition.leader < 0 else ErrorCode.NONE,
        partition_index=index,
        leader_id=partition.leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        offline_replicas=list(partition.offline),
    )
