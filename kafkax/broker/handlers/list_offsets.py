"""ListOffsets (key 2): offsets by timestamp, and the ends of a partition.

Versions: 2 adds the isolation level (KIP-98); 4 leader epochs (KIP-320); 6 is flexible; 7 allows -3, the largest timestamp
(KIP-734); 8 allows -4, the earliest local offset (KIP-405); 9 allows -5, the last offset in remote storage (KIP-1005); 10
carries a timeout (KIP-1075); 11 allows -6, the earliest offset waiting for upload (KIP-1023).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

if TYPE_CHECKING:
    from kafkax._core.log import Log
    from kafkax._core.partition import Partition

SPEC = Spec(key=2, min_version=1, max_version=11)

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6

_SINCE = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
"""First version that knows a special timestamp."""

_NOT_BOUNDED = (EARLIEST, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD)
"""Special timestamps whose answers do not depend on the high watermark."""

_EPOCHS_SINCE = 4
_FLUSH_SECONDS = 5.0
_CONSUMER = -1
_DEBUGGER = -2
_UNKNOWN = (-1, -1, -1)
"""Timestamp, offset and leader epoch where there is no such record."""


async def handle(context: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """Answer each partition by itself, once what was appended before is flushed."""
    await _flush(context, request)
    answers = []
    for topic in request.topics:
        named = Counter(partition.partition_index for partition in topic.partitions)
        partitions = []
        for asked in topic.partitions:
            answer = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
            try:
                if named[asked.partition_index] > 1:
                    raise KafkaError(ErrorCode.INVALID_REQUEST)
                partition = context.services.partition(topic.name, asked.partition_index)
                found = _find(partition, asked, request, context.version)
                answer.timestamp, answer.offset = found[:2]
                if context.version >= _EPOCHS_SINCE:
                    answer.leader_epoch = found[2]
            except KafkaError as error:
                answer.error_code = error.code
            partitions.append(answer)
        answers.append(ListOffsetsTopicResponse(name=topic.name, partitions=partitions))
    return ListOffsetsResponse(topics=answers)


async def _flush(context: RequestContext, request: ListOffsetsRequest) -> None:
    """Wait for flushes that were put off since nobody waited for them, so that who has written finds all of it.

    A broker that hangs on its disk answers by what is flushed.
    """
    if request.replica_id not in (_CONSUMER, _DEBUGGER):
        return
    marks: list[tuple[Partition, str, int]] = []
    for topic in request.topics:
        for asked in topic.partitions:
            if asked.timestamp in _NOT_BOUNDED:
                continue
            with suppress(KafkaError):  # whoever is asked for it is told so below
                partition = context.services.partition(topic.name, asked.partition_index)
                end = partition.log.end_to_be_flushed
                if end is not None:
                    marks.append((partition, "high_watermark", end))
    await asyncio.gather(*(context.services.purgatory.any_reaches([mark], _FLUSH_SECONDS) for mark in marks))


def _find(
    partition: Partition, asked: ListOffsetsPartition, request: ListOffsetsRequest, version: int
) -> tuple[int, int, int]:
    """Timestamp, offset and leader epoch that answer what is asked of the partition."""
    partition.check_epoch(asked.current_leader_epoch, any_replica=request.replica_id == _DEBUGGER)
    log, timestamp = partition.log, asked.timestamp
    if timestamp < EARLIEST_PENDING_UPLOAD or version < _SINCE.get(timestamp, 0):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"timestamp {timestamp} is not known in version {version}")
    if request.replica_id not in (_CONSUMER, _DEBUGGER):
        bound = log.log_end_offset
    else:
        bound = log.last_stable_offset if request.isolation_level else log.high_watermark
    if timestamp == LATEST:
        return -1, bound, partition.leader_epoch
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return -1, log.log_start_offset, _epoch_at(log, log.log_start_offset)
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _UNKNOWN  # there is no remote storage
    found = log.offset_for_timestamp(timestamp)
    if found is None or found.offset >= bound:
        return _UNKNOWN
    return found.timestamp, found.offset, found.leader_epoch


def _epoch_at(log: Log, offset: int) -> int:
    """The leader epoch of the record at ``offset``, -1 when the log's epochs begin later or there are none."""
    return max((epoch for epoch, start in log.epochs() if start <= offset), default=-1)
