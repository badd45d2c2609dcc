"""AlterReplicaLogDirs (key 34): move partitions of this broker between its log directories (KIP-113).

Versions: 2 is flexible.

The answer says that moves began; DescribeLogDirs shows how far they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)

if TYPE_CHECKING:
    from kafkax.broker.services import Services

SPEC = Spec(key=34, min_version=1, max_version=2)

_log = logging.getLogger(__name__)


async def handle(context: RequestContext, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
    """Begin the moves, each answered by itself."""
    results: dict[str, list[AlterReplicaLogDirPartitionResult]] = defaultdict(list)
    for directory in request.dirs:
        for topic in directory.topics:
            for index in topic.partitions:
                code = await asyncio.to_thread(_move, context.services, topic.name, index, directory.path)
                results[topic.name].append(AlterReplicaLogDirPartitionResult(partition_index=index, error_code=code))
    return AlterReplicaLogDirsResponse(
        results=[AlterReplicaLogDirTopicResult(topic_name=name, partitions=partitions) for name, partitions in results.items()]
    )


def _move(services: Services, topic: str, index: int, path: str) -> ErrorCode:
    partition = TopicPartition(topic, index)
    try:
        services.moves.move(partition, path)
    except KafkaError as error:
        _log.warning("%s is not moved to %s: %s", partition, path, error)
        if error.code is ErrorCode.REPLICA_NOT_AVAILABLE and services.image.partition(topic, index) is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return error.code
    return ErrorCode.NONE
