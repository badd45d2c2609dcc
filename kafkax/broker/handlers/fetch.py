"""Fetch (key 1): read batches from partitions, waiting for enough of them.

The core serves ordinary requests itself, fetch sessions included; this is the reference path for connections that are not
plain TCP and for what the core hands over.  It keeps no sessions: it answers a request that wants to begin one in full with
session id 0, which KIP-227 provides for.  Followers are answered by :mod:`kafkax.broker.follower_fetch`.

Versions: 4 is the oldest that Kafka 4 has; 7 brings fetch sessions (KIP-227); 9 leader epochs (KIP-320); 11 rack-aware reads
(KIP-392); 12 is flexible and finds diverging epochs (KIP-595); 13 names topics by id (KIP-516); 15 gives a replica its epoch
(KIP-903); 16 the leader's address (KIP-951); 17 and 18 belong to KRaft.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from kafkax._core.partition import Partition, ReadResult
from kafkax.broker.follower_fetch import follower_fetch
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)

SPEC = Spec(key=1, min_version=4, max_version=18)

_BY_ID = 13
_NEW_SESSION = 0
_NO_SESSION = -1
_ZSTD_SINCE = 10
_CODEC_ZSTD = 4


class _Read(NamedTuple):
    """What one pass over the partitions found."""

    topics: list[FetchableTopicResponse]
    size: int
    failed: bool
    marks: list[tuple[Partition, str, int]]
    """Where news of each partition would show."""


async def handle(context: RequestContext, request: FetchRequest) -> FetchResponse:
    """Answer as soon as ``min_bytes`` are there, a partition fails, or ``max_wait_ms`` are over."""
    replica = request.replica_state.replica_id if context.version >= 15 else request.replica_id
    if replica >= 0:
        return await follower_fetch(context, request)
    if request.session_epoch not in (_NEW_SESSION, _NO_SESSION):
        return FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max(request.max_wait_ms, 0) / 1000
    while True:
        found = _read(context, request)
        left = deadline - loop.time()
        if found.failed or found.size >= request.min_bytes or left <= 0 or not found.marks:
            return FetchResponse(responses=found.topics)
        await context.services.purgatory.any_reaches(found.marks, left)


def _read(context: RequestContext, request: FetchRequest) -> _Read:
    """Read every partition once, in the order of the request and within its ``max_bytes``."""
    left = min(request.max_bytes, context.services.config["fetch.max.bytes"])
    size, failed = 0, False
    topics: list[FetchableTopicResponse] = []
    marks: list[tuple[Partition, str, int]] = []
    for topic in request.topics:
        answer = FetchableTopicResponse(topic=topic.topic, topic_id=topic.topic_id)
        for asked in topic.partitions:
            data = PartitionData(partition_index=asked.partition, high_watermark=-1, records=b"")
            answer.partitions.append(data)
            try:
                partition = _partition(context, topic, asked.partition)
                limit = min(max(left, 0), asked.partition_max_bytes)
                result = _read_partition(partition, asked, request.isolation_level, limit, min_one=size == 0)
                _fill(data, result, context.version)
            except KafkaError as error:
                data.error_code, failed = error.code, True
                continue
            got = len(data.records or b"")
            size, left = size + got, left - got
            kind = "last_stable" if request.isolation_level else "high_watermark"
            seen = result.last_stable_offset if request.isolation_level else result.high_watermark
            marks.append((partition, kind, seen + 1))
        topics.append(answer)
    return _Read(topics, size, failed, marks)


def _partition(context: RequestContext, topic: FetchTopic, index: int) -> Partition:
    if context.version >= _BY_ID:
        return context.services.partition_by_id(topic.topic_id, index)
    return context.services.partition(topic.topic, index)


def _read_partition(partition: Partition, asked: FetchPartition, isolation: int, limit: int, *, min_one: bool) -> ReadResult:
    return partition.read(
        asked.fetch_offset,
        limit,
        current_leader_epoch=asked.current_leader_epoch,
        isolation="read_committed" if isolation else "read_uncommitted",
        min_one_batch=min_one,
    )


def _fill(data: PartitionData, result: ReadResult, version: int) -> None:
    """Write what was read into a partition's answer.

    Raises:
        KafkaError: UNSUPPORTED_COMPRESSION_TYPE when the first batch is compressed in a way that old clients cannot read.
    """
    records = b"" if result.records is None else result.records.read()
    if version < _ZSTD_SINCE and len(records) > 22 and records[22] & 7 == _CODEC_ZSTD:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
    data.high_watermark = result.high_watermark
    data.last_stable_offset = result.last_stable_offset
    data.log_start_offset = result.log_start_offset
    if result.aborted is not None:
        data.aborted_transactions = [
            AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset) for aborted in result.aborted
        ]
    data.records = records
