"""DescribeProducers (key 61): the producers that a partition's leader remembers (KIP-664).

Versions: 0 is the only one.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)

SPEC = Spec(key=61, min_version=0, max_version=0)


def handle(context: RequestContext, request: DescribeProducersRequest) -> DescribeProducersResponse:
    """Answer each partition by itself."""
    topics = []
    for topic in request.topics:
        partitions = [_describe(context, topic.name, index) for index in topic.partition_indexes]
        topics.append(TopicResponse(name=topic.name, partitions=partitions))
    return DescribeProducersResponse(topics=topics)


def _describe(context: RequestContext, topic: str, index: int) -> PartitionResponse:
    try:
        partition = context.services.partition(topic, index)
    except KafkaError as error:
        return PartitionResponse(partition_index=index, error_code=error.code, error_message=str(error))
    if not partition.is_leader:
        return PartitionResponse(partition_index=index, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    return PartitionResponse(
        partition_index=index,
        active_producers=[
            ProducerState(
                producer_id=entry.producer_id,
                producer_epoch=entry.producer_epoch,
                last_sequence=entry.last_sequence,
                last_timestamp=entry.last_timestamp,
                coordinator_epoch=entry.coordinator_epoch,
                current_txn_start_offset=entry.current_txn_first_offset,
            )
            for entry in partition.log.producers()
        ],
    )
