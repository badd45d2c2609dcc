"""AlterPartitionReassignments (key 45): move partitions to other replicas, or cancel such moves (KIP-455).

Versions: 1 lets the caller refuse changes of the replication factor (KIP-860).
"""

from __future__ import annotations

from collections.abc import Sequence

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)

SPEC = Spec(key=45, min_version=0, max_version=1)

Outcomes = dict[TopicPartition, "KafkaError | None"]


async def handle(
    context: RequestContext, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    """Answer each partition by itself."""
    targets: dict[TopicPartition, Sequence[int] | None] = {}
    refused: Outcomes = {}
    for topic in request.topics:
        for asked in topic.partitions:
            partition = TopicPartition(topic.name, asked.partition_index)
            targets[partition] = asked.replicas
            if not request.allow_replication_factor_change:
                refused.update(_other_factor(context, partition, asked.replicas))
    try:
        wanted = {partition: target for partition, target in targets.items() if partition not in refused}
        outcomes = {**await context.services.member.controller.alter_reassignments(wanted), **refused}
    except KafkaError as error:
        return AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            error_code=error.code,
            error_message=str(error),
        )
    answers: dict[str, list[ReassignablePartitionResponse]] = {}
    for partition in targets:
        answers.setdefault(partition.topic, []).append(_answer(partition, outcomes[partition]))
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=request.allow_replication_factor_change,
        error_message=None,
        responses=[ReassignableTopicResponse(name=name, partitions=partitions) for name, partitions in answers.items()],
    )


def _other_factor(context: RequestContext, partition: TopicPartition, replicas: Sequence[int] | None) -> Outcomes:
    """The partition's error when it would get more or fewer replicas than it has; the controller looks at everything else."""
    image = context.services.image
    known = image.partition(partition.topic, partition.partition)
    if replicas is None or known is None or len(known.replicas) == len(replicas) or not set(replicas) <= image.brokers.keys():
        return {}
    text = f"{partition} has {len(known.replicas)} replicas, the request wants {len(replicas)} and forbids to change that"
    return {partition: KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, text)}


def _answer(partition: TopicPartition, error: KafkaError | None) -> ReassignablePartitionResponse:
    return ReassignablePartitionResponse(
        partition_index=partition.partition,
        error_code=ErrorCode.NONE if error is None else error.code,
        error_message=None if error is None else str(error),
    )
