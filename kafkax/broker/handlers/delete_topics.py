"""DeleteTopics (key 20).

Versions: 4 is flexible; 5 adds error messages and may be refused by a quota (KIP-599); 6 deletes by topic id, too (KIP-516).
"""

from __future__ import annotations

from uuid import UUID

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.delete_topics import DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse
from kafkax.protocol.schema import ZERO_UUID

SPEC = Spec(key=20, min_version=1, max_version=6)

_STRICT_QUOTA_SINCE = 5


async def handle(context: RequestContext, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    """Delete each topic and wait until it is gone, for the request's timeout at most."""
    asked: list[str | UUID] = []
    refused: list[DeletableTopicResult] = []
    if context.version < 6:
        asked += request.topic_names
    for topic in request.topics:
        if (topic.name is None) == (topic.topic_id == ZERO_UUID):
            refused.append(
                DeletableTopicResult(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    error_code=ErrorCode.INVALID_REQUEST,
                    error_message="name a topic by its name or by its id, not by both or neither",
                )
            )
        else:
            asked.append(topic.topic_id if topic.name is None else topic.name)
    quota = context.services.admin.mutations.of(context, _STRICT_QUOTA_SINCE)
    outcomes = await context.services.topics.delete_topics(asked, timeout_ms=request.timeout_ms, take=quota.take)
    results = [_result(topic, outcome) for topic, outcome in zip(asked, outcomes, strict=True)]
    answer = DeleteTopicsResponse(responses=results + refused)
    context.throttle(answer, quota.throttle_ms())
    return answer


def _result(asked: str | UUID, outcome: tuple[str, UUID] | KafkaError) -> DeletableTopicResult:
    if not isinstance(outcome, KafkaError):
        return DeletableTopicResult(name=outcome[0], topic_id=outcome[1])
    by_id = isinstance(asked, UUID)
    return DeletableTopicResult(
        name=None if isinstance(asked, UUID) else asked,
        topic_id=asked if isinstance(asked, UUID) else ZERO_UUID,
        error_code=outcome.code,
        error_message=None if by_id else str(outcome),
    )
