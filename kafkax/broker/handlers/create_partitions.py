"""CreatePartitions (key 37): raise the number of partitions of topics (KIP-195).

Versions: 2 is flexible; 3 may be refused by a quota (KIP-599).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)

if TYPE_CHECKING:
    from kafkax.broker.mutation_quotas import MutationQuota

SPEC = Spec(key=37, min_version=0, max_version=3)

_STRICT_QUOTA_SINCE = 3


async def handle(context: RequestContext, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    """Grow each topic; a name that stands twice is refused."""
    named = Counter(topic.name for topic in request.topics)
    quota = context.services.admin.mutations.of(context, _STRICT_QUOTA_SINCE)
    results: dict[str, CreatePartitionsTopicResult] = {}
    for topic in request.topics:
        result = results[topic.name] = CreatePartitionsTopicResult(name=topic.name)
        try:
            if named[topic.name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"topic {topic.name!r} stands twice in the request")
            await _grow(context, request, topic, quota)
        except KafkaError as error:
            result.error_code, result.error_message = error.code, str(error)
    answer = CreatePartitionsResponse(results=list(results.values()))
    context.throttle(answer, quota.throttle_ms())
    return answer


async def _grow(
    context: RequestContext, request: CreatePartitionsRequest, topic: CreatePartitionsTopic, quota: MutationQuota
) -> None:
    await context.services.topics.create_partitions(
        topic.name,
        topic.count,
        None if topic.assignments is None else [assignment.broker_ids for assignment in topic.assignments],
        timeout_ms=request.timeout_ms,
        validate_only=request.validate_only,
        take=quota.take,
    )
