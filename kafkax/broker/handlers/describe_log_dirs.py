"""DescribeLogDirs (key 35): log directories, their partitions and sizes (KIP-113).

Versions: 2 is flexible; 3 adds an error for all; 4 the size of the volumes (KIP-827); 5 cordoned directories (KIP-1066).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode
from kafkax.model import TopicPartition
from kafkax.protocol.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

if TYPE_CHECKING:
    from kafkax.storage.manager import DirectoryUsage, LogManager

SPEC = Spec(key=35, min_version=1, max_version=5)


def handle(context: RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    """Describe every log directory with those of its partitions that were asked for; null asks for all."""
    wanted: set[TopicPartition] | None = None
    if request.topics is not None:
        wanted = {TopicPartition(topic.topic, index) for topic in request.topics for index in topic.partitions}
    logs = context.services.logs
    return DescribeLogDirsResponse(results=[_describe(logs, directory, wanted) for directory in logs.usage()])


def _describe(logs: LogManager, directory: DirectoryUsage, wanted: set[TopicPartition] | None) -> DescribeLogDirsResult:
    topics: dict[str, list[DescribeLogDirsPartition]] = defaultdict(list)
    for log in directory.logs:
        if wanted is not None and log.partition not in wanted:
            continue
        topics[log.partition.topic].append(
            DescribeLogDirsPartition(
                partition_index=log.partition.partition,
                partition_size=log.size,
                offset_lag=_lag(logs, log.partition, log.log_end_offset) if log.future else 0,
                is_future_key=log.future,
            )
        )
    return DescribeLogDirsResult(
        error_code=ErrorCode.NONE if directory.online else ErrorCode.KAFKA_STORAGE_ERROR,
        log_dir=directory.path,
        topics=[DescribeLogDirsTopic(name=name, partitions=partitions) for name, partitions in topics.items()],
        total_bytes=directory.total_bytes,
        usable_bytes=directory.usable_bytes,
    )


def _lag(logs: LogManager, partition: TopicPartition, log_end_offset: int) -> int:
    """How many offsets the copy of a partition that moves is behind."""
    current = logs.get(partition)
    return 0 if current is None else max(current.log.log_end_offset - log_end_offset, 0)
