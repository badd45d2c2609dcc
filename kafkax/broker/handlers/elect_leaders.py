"""ElectLeaders (key 43): have preferred replicas lead again, or let one that is behind lead (KIP-183, KIP-460).

Versions: 1 adds the kind of election; 2 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.controller.controller import ElectionType
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)

SPEC = Spec(key=43, min_version=0, max_version=2)

_KINDS = {0: ElectionType.PREFERRED, 1: ElectionType.UNCLEAN}

Outcomes = dict[TopicPartition, "KafkaError | None"]


async def handle(context: RequestContext, request: ElectLeadersRequest) -> ElectLeadersResponse:
    """Answer each partition by itself; null asks for every partition, and only those that needed an election are named."""
    asked = None
    if request.topic_partitions is not None:
        asked = [TopicPartition(topic.topic, index) for topic in request.topic_partitions for index in topic.partitions]
    code = ErrorCode.NONE
    try:
        kind = _KINDS.get(request.election_type)
        if kind is None:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"election type {request.election_type} is unknown; 0 (preferred) and 1 (unclean) are"
            )
        outcomes: Outcomes = await context.services.member.controller.elect_leaders(kind, asked)
    except KafkaError as error:
        code = error.code
        outcomes = dict.fromkeys(asked or (), error)
    return ElectLeadersResponse(error_code=code, replica_election_results=_results(outcomes))


def _results(outcomes: Outcomes) -> list[ReplicaElectionResult]:
    topics: dict[str, list[PartitionResult]] = {}
    for partition, error in outcomes.items():
        topics.setdefault(partition.topic, []).append(
            PartitionResult(
                partition_id=partition.partition,
                error_code=ErrorCode.NONE if error is None else error.code,
                error_message=None if error is None else str(error),
            )
        )
    return [ReplicaElectionResult(topic=topic, partition_result=results) for topic, results in topics.items()]
