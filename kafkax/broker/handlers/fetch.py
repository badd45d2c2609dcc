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
from collections.abc import Iterable
from itertools import groupby
from uuid import UUID

from kafkax._core.partition import Partition
from kafkax.broker.current_leader import tell_leaders
from kafkax.broker.follower_fetch import follower_fetch
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.nearest_replica import RACK_AWARE, nearest_replica
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.fetch import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    NodeEndpoint,
    PartitionData,
)
from kafkax.replication.following import divergence

SPEC = Spec(key=1, min_version=4, max_version=18)

_BY_ID = 13
_IN_STATE = 15
_LEADERS_SINCE = 16
_NEW_SESSION = 0
_NO_SESSION = -1
_ZSTD_SINCE = 10
_STORAGE_ERROR_SINCE = 6


class _Asked:
    """A partition of a request, and what it gets.

    Attributes:
        topic: name and id, as the request gives them.
        refused: 0 for a partition that is here; what else is asked for stands behind in the answer, unknown ids first (1, 2).
        data: its part of the answer.
    """

    def __init__(self, context: RequestContext, topic: FetchTopic, asked: FetchPartition) -> None:
        self.topic = topic.topic, topic.topic_id
        self.asked = asked
        self.partition: Partition | None = None
        self.refused = 0
        self.data = _nothing(asked.partition)
        try:
            self.partition = _partition(context, topic, asked.partition)
        except KafkaError as error:
            self.refused = 1 if error.code is ErrorCode.UNKNOWN_TOPIC_ID else 2
            self.data.error_code = error.code


async def handle(context: RequestContext, request: FetchRequest) -> FetchResponse:
    """Answer as soon as ``min_bytes`` are there, a partition fails or diverges, or ``max_wait_ms`` are over."""
    replica = request.replica_state.replica_id if context.version >= _IN_STATE else request.replica_id
    if replica >= 0:
        return await follower_fetch(context, request)
    if request.session_epoch not in (_NEW_SESSION, _NO_SESSION):
        return FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max(request.max_wait_ms, 0) / 1000
    parts = _asked(context, request.topics)
    most = min(request.max_bytes, context.services.config["fetch.max.bytes"])
    while True:
        enough = _read(context, request, parts, most)
        left = deadline - loop.time()
        if enough or left <= 0:
            return _response(context, parts)
        await context.services.purgatory.any_reaches(_marks(parts, request.isolation_level), left)


def _suit_version(context: RequestContext, part: _Asked) -> None:
    """Turn what an old client does not understand into an error that it does; what was read has counted all the same."""
    version, code, partition = context.version, part.data.error_code, part.partition
    if version < _STORAGE_ERROR_SINCE and code == ErrorCode.KAFKA_STORAGE_ERROR:
        part.data.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER
    if version >= _ZSTD_SINCE or code != ErrorCode.NONE or partition is None:
        return
    if context.services.topic_config(partition.topic)["compression.type"] == "zstd":
        part.data = _nothing(part.asked.partition)
        part.data.error_code = ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


def _response(context: RequestContext, parts: list[_Asked]) -> FetchResponse:
    for part in parts:
        _suit_version(context, part)
    response = FetchResponse(responses=_in_order(parts))
    if context.version >= _LEADERS_SINCE:
        answered = (
            (topic.topic, topic.topic_id, part.partition_index, part.error_code, part.current_leader)
            for topic in response.responses
            for part in topic.partitions
        )
        response.node_endpoints = tell_leaders(context, NodeEndpoint, answered)
    return response


def _nothing(index: int) -> PartitionData:
    """The answer for a partition as long as there is nothing to say but perhaps an error."""
    return PartitionData(partition_index=index, high_watermark=-1, records=b"")


def _asked(context: RequestContext, topics: Iterable[FetchTopic]) -> list[_Asked]:
    """The partitions of a request; one that is named twice counts once, at its first place with its last wish."""
    found: dict[tuple[str, UUID, int], tuple[FetchTopic, FetchPartition]] = {}
    for topic in topics:
        for asked in topic.partitions:
            found[topic.topic, topic.topic_id, asked.partition] = topic, asked
    return [_Asked(context, topic, asked) for topic, asked in found.values()]


def _in_order(parts: list[_Asked]) -> list[FetchableTopicResponse]:
    """The answer: what is here before what is not; neighbours of one topic share an entry."""
    ordered = sorted(parts, key=lambda part: part.refused)
    return [
        FetchableTopicResponse(topic=name, topic_id=topic_id, partitions=[part.data for part in same])
        for (name, topic_id), same in groupby(ordered, key=lambda part: part.topic)
    ]


def _read(context: RequestContext, request: FetchRequest, parts: list[_Asked], most: int) -> bool:
    """Read every partition once, in the order of the request and within its ``max_bytes``; whether that is enough."""
    left, size, urgent, any_here = max(most, 0), 0, False, False
    for part in parts:
        if part.partition is None:
            continue
        any_here = True
        limit = max(0, min(left, part.asked.partition_max_bytes))
        part.data = _nothing(part.asked.partition)
        try:
            near = _nearest(context, request, part)
            if near is not None:
                _send_to(part, near)
                urgent = True
            elif _tell_divergence(request, part):
                urgent = True
            else:
                _read_partition(part, request, limit, min_one=size == 0)
        except KafkaError as error:
            part.data.error_code, urgent = error.code, True
        got = len(part.data.records or b"")
        size, left = size + got, max(0, left - got)
    return urgent or not any_here or size >= min(request.min_bytes, most)


def _marks(parts: list[_Asked], isolation: int) -> list[tuple[Partition, str, int]]:
    """Where news of each partition would show."""
    if isolation:
        return [(part.partition, "last_stable", part.data.last_stable_offset + 1) for part in parts if part.partition is not None]
    return [(part.partition, "high_watermark", part.data.high_watermark + 1) for part in parts if part.partition is not None]


def _partition(context: RequestContext, topic: FetchTopic, index: int) -> Partition:
    if context.version >= _BY_ID:
        return context.services.partition_by_id(topic.topic_id, index)
    return context.services.partition(topic.topic, index)


def _nearest(context: RequestContext, request: FetchRequest, part: _Asked) -> int | None:
    """The replica that the consumer had better ask, None when that is this one."""
    services, partition = context.services, part.partition
    if not request.rack_id or services.config["replica.selector.class"] != RACK_AWARE:
        return None
    if partition is None or not partition.is_leader:
        return None
    offset = part.asked.fetch_offset
    partition.check_epoch(part.asked.current_leader_epoch)
    return nearest_replica(services.image, partition, services.node_id, context.listener, request.rack_id, offset)


def _send_to(part: _Asked, replica: int) -> None:
    """Name the replica to ask instead; nothing is read."""
    partition, data = part.partition, part.data
    assert partition is not None
    data.preferred_read_replica = replica
    data.high_watermark, data.log_start_offset = partition.high_watermark, partition.log.log_start_offset


def _tell_divergence(request: FetchRequest, part: _Asked) -> bool:
    """Say from where on the consumer's records are not this log's; False where they are (KIP-320).

    Raises:
        KafkaError: another leader's epoch is meant, or nothing can be compared.
    """
    partition, asked, data = part.partition, part.asked, part.data
    assert partition is not None
    if asked.last_fetched_epoch < 0:
        return False
    data.aborted_transactions = None
    partition.check_epoch(asked.current_leader_epoch, any_replica=bool(request.rack_id))
    parted = divergence(partition.log, asked.fetch_offset, asked.last_fetched_epoch)
    if parted is None:
        return False
    data.diverging_epoch = EpochEndOffset(epoch=parted[0], end_offset=parted[1])
    data.high_watermark = partition.high_watermark
    data.last_stable_offset = partition.log.last_stable_offset
    data.log_start_offset = partition.log.log_start_offset
    return True


def _read_partition(part: _Asked, request: FetchRequest, limit: int, *, min_one: bool) -> None:
    """Write into a partition's answer what it has to give; a consumer that names its rack may read from a follower.

    Raises:
        KafkaError: it gives nothing.
    """
    partition, asked, data = part.partition, part.asked, part.data
    assert partition is not None
    # What tells of no aborted transactions, an empty list or none at all, follows Kafka.
    data.aborted_transactions = None
    result = partition.read(
        asked.fetch_offset,
        limit,
        current_leader_epoch=asked.current_leader_epoch,
        isolation="read_committed" if request.isolation_level else "read_uncommitted",
        min_one_batch=min_one,
        any_replica=bool(request.rack_id),
    )
    data.high_watermark = result.high_watermark
    data.last_stable_offset = result.last_stable_offset
    data.log_start_offset = result.log_start_offset
    too_large = result.records is None and limit > 0 and asked.fetch_offset < result.last_stable_offset
    if result.aborted is not None and not too_large:
        data.aborted_transactions = [
            AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset) for aborted in result.aborted
        ]
    data.records = b"" if result.records is None else result.records.read()
