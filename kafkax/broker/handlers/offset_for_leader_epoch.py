"""OffsetForLeaderEpoch (key 23): where a leader epoch ends (KIP-101, KIP-320).

Replicas and clients find by it where their logs diverge.

Versions: 2 adds the leader epoch that the asker knows; 3 tells replicas from consumers; 4 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)

SPEC = Spec(key=23, min_version=2, max_version=4)


def handle(context: RequestContext, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    """Answer each partition by itself."""
    topics = []
    for topic in request.topics:
        partitions = []
        for asked in topic.partitions:
            answer = EpochEndOffset(partition=asked.partition, leader_epoch=-1, end_offset=-1)
            try:
                partition = context.services.partition(topic.topic, asked.partition)
                partition.check_epoch(asked.current_leader_epoch)
                answer.leader_epoch, answer.end_offset = partition.log.end_offset_for_epoch(asked.leader_epoch)
            except KafkaError as error:
                answer.error_code = error.code
            partitions.append(answer)
        topics.append(OffsetForLeaderTopicResult(topic=topic.topic, partitions=partitions))
    return OffsetForLeaderEpochResponse(topics=topics)
