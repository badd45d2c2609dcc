"""CreateTopics (key 19).

Versions: 2 is the oldest that Kafka 4 has; 4 lets partitions and replicas be -1 for the broker's defaults (KIP-464); 5 is
flexible and answers with the configs (KIP-525); 6 may be refused by a quota (KIP-599); 7 answers with the topic id (KIP-516).
"""

from __future__ import annotations

from collections import Counter

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.topic_admin import CreatedTopic, NewTopic
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from kafkax.protocol.schema import ZERO_UUID

SPEC = Spec(key=19, min_version=2, max_version=7)

_STRICT_QUOTA_SINCE = 6


async def handle(context: RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse:
    """Create the topics, each for itself; a name that stands twice is refused both times."""
    quota = context.services.admin.mutations.of(context, _STRICT_QUOTA_SINCE)
    outcomes = await context.services.topics.create_topics(
        [_new_topic(topic) for topic in request.topics],
        timeout_ms=request.timeout_ms,
        validate_only=request.validate_only,
        take=quota.take,
    )
    named: dict[str, CreatableTopicResult] = {}
    for topic, outcome in zip(request.topics, outcomes, strict=True):
        named[topic.name] = _result(context, topic.name, outcome, request.validate_only)
    answer = CreateTopicsResponse(topics=list(named.values()))
    context.throttle(answer, quota.throttle_ms())
    return answer


def _new_topic(topic: CreatableTopic) -> NewTopic:
    """The request's form of a topic as the admin takes it.

    What contradicts itself is passed on in a form that the admin refuses with INVALID_REQUEST or INVALID_CONFIG.
    """
    twice = [name for name, count in Counter(config.name for config in topic.configs).items() if count > 1]
    configs = {config.name: None if config.name in twice else config.value for config in topic.configs}
    return NewTopic(
        topic.name,
        topic.num_partitions,
        topic.replication_factor,
        {assignment.partition_index: assignment.broker_ids for assignment in topic.assignments},
        configs,
    )


def _result(context: RequestContext, name: str, outcome: CreatedTopic | KafkaError, validate_only: bool) -> CreatableTopicResult:
    if isinstance(outcome, KafkaError):
        return CreatableTopicResult(name=name, error_code=outcome.code, error_message=str(outcome))
    return CreatableTopicResult(
        name=name,
        topic_id=ZERO_UUID if validate_only else outcome.topic_id,
        error_code=ErrorCode.NONE,
        error_message=None,
        num_partitions=len(outcome.replicas),
        replication_factor=outcome.replication_factor,
        configs=[
            CreatableTopicConfigs(
                name=entry.name,
                value=None if entry.sensitive else entry.value,
                read_only=entry.read_only,
                config_source=entry.source,
                is_sensitive=entry.sensitive,
            )
            for entry in outcome.config.describe()
        ],
    )
