"""Fetch from a follower: up to the log's end, with its progress noted before the answer (KIP-392, KIP-595, KIP-903).

A follower's fetch says what it has: where its log is the leader's up to the offset it asks for, that offset counts for the high
watermark.  Where it is not, the answer says from which epoch on, and nothing counts.

By the listener between brokers the core does all of this; here is the reference path, for what the core hands over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from kafkax.broker.between_brokers import require_broker
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from kafkax.replication.following import divergence

if TYPE_CHECKING:
    from kafkax._core.partition import Partition
    from kafkax.broker.handlers.spec import RequestContext

__all__ = ["follower_fetch"]

_BY_ID = 13
_IN_STATE = 15
_NEW_SESSION = 0
_NO_SESSION = -1
_UNKNOWN_EPOCH = -1


class _Asker(NamedTuple):
    """Who fetches: broker id, and its epoch where it tells it."""

    replica: int
    broker_epoch: int


async def follower_fetch(context: RequestContext, request: FetchRequest) -> FetchResponse:
    """Answer as soon as ``min_bytes`` are there, a partition needs attention, or ``max_wait_ms`` are over."""
    try:
        require_broker(context)
    except KafkaError as error:
        return FetchResponse(error_code=error.code)
    if request.session_epoch not in (_NEW_SESSION, _NO_SESSION):
        return FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    state = request.replica_state
    asker = (
        _Asker(state.replica_id, state.replica_epoch)
        if context.version >= _IN_STATE
        else _Asker(request.replica_id, _UNKNOWN_EPOCH)
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max(request.max_wait_ms, 0) / 1000
    first = True
    while True:
        reading = _Reading(context, request, asker, note=first)
        first = False
        left = deadline - loop.time()
        if reading.urgent or reading.size >= request.min_bytes or left <= 0 or not reading.marks:
            reading.use_quota()
            return FetchResponse(responses=reading.topics)
        await context.services.purgatory.any_reaches(reading.marks, left)


class _Reading:
    """One pass over the partitions.

    Args:
        note: whether what the follower has is to be noted: once for a request, since it says nothing new later.

    Attributes:
        topics: the answer.
        size: bytes of records in it.
        urgent: whether a partition failed or diverges, which the follower should hear of at once.
        marks: where news of each partition would show.
    """

    def __init__(self, context: RequestContext, request: FetchRequest, asker: _Asker, *, note: bool) -> None:
        self._context = context
        self._asker = asker
        self._note = note
        self._left = request.max_bytes
        self._throttled = 0
        self._quota = context.services.member.throttles.leader
        self._over_quota = self._quota.wait_ms(self._now_ms()) > 0
        self.topics: list[FetchableTopicResponse] = []
        self.size = 0
        self.urgent = False
        self.marks: list[tuple[Partition, str, int]] = []
        for topic in request.topics:
            answer = FetchableTopicResponse(topic=topic.topic, topic_id=topic.topic_id)
            answer.partitions = [self._partition(topic, asked) for asked in topic.partitions]
            self.topics.append(answer)

    def _now_ms(self) -> int:
        return int(self._context.services.clock.monotonic() * 1000)

    def use_quota(self) -> None:
        """Hold what goes to throttled followers against the quota, since this pass is the answer."""
        self._quota.record(self._throttled, self._now_ms())

    def _partition(self, topic: FetchTopic, asked: FetchPartition) -> PartitionData:
        data = PartitionData(partition_index=asked.partition, high_watermark=-1, records=b"")
        services = self._context.services
        try:
            if self._context.version >= _BY_ID:
                partition = services.partition_by_id(topic.topic_id, asked.partition)
            else:
                partition = services.partition(topic.topic, asked.partition)
            self._read(partition, asked, data)
        except KafkaError as error:
            data.error_code, self.urgent = error.code, True
        return data

    def _read(self, partition: Partition, asked: FetchPartition, data: PartitionData) -> None:
        log = partition.log
        partition.check_epoch(asked.current_leader_epoch)
        diverging = divergence(log, asked.fetch_offset, asked.last_fetched_epoch)
        if diverging is not None:
            data.diverging_epoch = EpochEndOffset(epoch=diverging[0], end_offset=diverging[1])
            data.high_watermark, data.log_start_offset = partition.high_watermark, log.log_start_offset
            self.urgent = True
            return
        counts, waits = partition.throttle(self._asker.replica)
        held = waits and self._over_quota
        found = partition.read(
            asked.fetch_offset,
            0 if held else min(max(self._left, 0), asked.partition_max_bytes),
            current_leader_epoch=asked.current_leader_epoch,
            isolation="log_end",
            min_one_batch=self.size == 0 and not held,
        )
        if self._note:
            asker = self._asker
            partition.follower_fetched(
                asker.replica, asker.broker_epoch, asked.fetch_offset, leader_epoch=asked.current_leader_epoch
            )
        records = b"" if found.records is None else found.records.read()
        data.high_watermark = partition.high_watermark
        data.last_stable_offset = found.last_stable_offset
        data.log_start_offset = found.log_start_offset
        data.records = records
        self.size += len(records)
        self._throttled += len(records) if counts else 0
        self._left -= len(records)
        self.marks.append((partition, "log_end", max(asked.fetch_offset, found.log_end_offset) + 1))
