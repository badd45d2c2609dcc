"""DeleteRecords (key 21): raise the log start offset of partitions (KIP-107).

Versions: 2 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

SPEC = Spec(key=21, min_version=0, max_version=2)

HIGH_WATERMARK = -1


def handle(context: RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    """Answer each partition by itself, with its log start offset afterwards."""
    topics = []
    for topic in request.topics:
        partitions = []
        for asked in topic.partitions:
            answer = DeleteRecordsPartitionResult(partition_index=asked.partition_index, low_watermark=-1)
            try:
                answer.low_watermark = _delete(context, topic.name, asked.partition_index, asked.offset)
            except KafkaError as error:
                answer.error_code = error.code
            partitions.append(answer)
        topics.append(DeleteRecordsTopicResult(name=topic.name, partitions=partitions))
    return DeleteRecordsResponse(topics=topics)


def _delete(context: RequestContext, topic: str, index: int, before: int) -> int:
    """Delete the records of one partition below an offset; the new log start offset."""
    services = context.services
    if services.is_internal(topic):
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"records of the internal topic {topic} cannot be deleted")
    partition = services.partition(topic, index)
    partition.check_epoch(-1)
    if "delete" not in services.topic_config(topic)["cleanup.policy"]:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, f"cleanup.policy of {topic} does not contain delete")
    log = partition.log
    target = log.high_watermark if before == HIGH_WATERMARK else before
    if not 0 <= target <= log.high_watermark:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    log.set_log_start_offset(target)
    return log.log_start_offset
