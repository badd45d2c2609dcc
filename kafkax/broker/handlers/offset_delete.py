"""OffsetDelete (key 47): forget offsets of topics that a group does not read any more (KIP-496)."""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

SPEC = Spec(key=47, min_version=0, max_version=0)


async def handle(context: RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """Delete for the partitions that exist; the others fail by themselves."""
    known: list[OffsetDeleteRequestTopic] = []
    answers: dict[str, OffsetDeleteResponseTopic] = {}
    for topic in request.topics:
        found = context.services.image.topics.get(topic.name)
        existing = () if found is None else found.partitions
        missing = [each.partition_index for each in topic.partitions if each.partition_index not in existing]
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if missing:
            partitions = [OffsetDeleteResponsePartition(partition_index=index, error_code=code) for index in missing]
            answers[topic.name] = OffsetDeleteResponseTopic(name=topic.name, partitions=partitions)
        topic.partitions = [each for each in topic.partitions if each.partition_index in existing]
        if topic.partitions:
            known.append(topic)
    request.topics = known
    response = await context.services.groups.coordinator.delete_offsets(request)
    if response.error_code != ErrorCode.NONE:
        return response
    for deleted in response.topics:
        before = answers.setdefault(deleted.name, deleted)
        if before is not deleted:
            before.partitions += deleted.partitions
    return OffsetDeleteResponse(topics=list(answers.values()))
