"""Produce (key 0): append batches as the partitions' leader.

The core serves ordinary requests itself; this is the reference path, which also takes what the core hands over: compressed
records, a topic's own compression, connections that are not plain TCP.

Versions: 3 brings record batches (KIP-98) and is the oldest served, though 0 is advertised, since librdkafka takes a broker
without it for one too old; 5 adds the log start offset; 7 allows zstd (KIP-110); 8 record errors (KIP-467); 9 is flexible;
10 the current leader (KIP-951); 11 and 12 belong to transactions (KIP-890); 13 names topics by id (KIP-516).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from kafkax._core.log import AppendError, Handoff, RecordErrors
from kafkax._core.record_errors import REASONS, REFUSED
from kafkax.broker.current_leader import tell_leaders
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.record_validation import validated_batch
from kafkax.errors import ErrorCode, KafkaError
from kafkax.net.dispatch import CloseConnection
from kafkax.protocol.messages.produce import (
    BatchIndexAndErrorMessage,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from kafkax.protocol.records import HEADER_SIZE, first_size

if TYPE_CHECKING:
    from kafkax._core.log import AppendResult
    from kafkax._core.partition import Partition

SPEC = Spec(key=0, min_version=3, max_version=13, advertise_from=0)

ALL = -1
_BY_ID = 13
_MAGIC_AT, _FLAGS_AT = 16, 22
_LEADERS_SINCE = 10


async def handle(context: RequestContext, request: ProduceRequest) -> ProduceResponse | None:
    """Append each partition's batch, wait for the high watermark with acks=all, answer unless acks=0.

    Raises:
        CloseConnection: a batch was refused and the producer asked for no answer.
    """
    topics: list[TopicProduceResponse] = []
    waiting: list[asyncio.Task[None]] = []
    unauthorized = request.transactional_id is None and any(
        _transactional(data.records) for topic in request.topic_data for data in topic.partition_data
    )
    for topic, parts in _merged(request.topic_data):
        answer = TopicProduceResponse(name=topic.name, topic_id=topic.topic_id)
        for data in parts:
            partition_answer, task = _append(context, request, topic, data, unauthorized=unauthorized)
            answer.partition_responses.append(partition_answer)
            if task is not None:
                waiting.append(task)
        topics.append(answer)
    if waiting:
        await asyncio.gather(*waiting)
    if request.acks == 0:
        codes = {ErrorCode(p.error_code).name for t in topics for p in t.partition_responses if p.error_code}
        if codes:
            raise CloseConnection(f"Produce with acks=0 failed: {', '.join(sorted(codes))}")
        return None
    response = ProduceResponse(responses=topics)
    if context.version >= _LEADERS_SINCE:
        answered = (
            (topic.name, topic.topic_id, part.index, part.error_code, part.current_leader)
            for topic in response.responses
            for part in topic.partition_responses
        )
        response.node_endpoints = tell_leaders(context, NodeEndpoint, answered)
    return response


def _merged(topics: Iterable[TopicProduceData]) -> list[tuple[TopicProduceData, list[PartitionProduceData]]]:
    """Topics that have partitions, each once; of a partition that is named twice, the last records count, as in Kafka."""
    found: dict[tuple[str, UUID], tuple[TopicProduceData, dict[int, PartitionProduceData]]] = {}
    for topic in topics:
        _, parts = found.setdefault((topic.name, topic.topic_id), (topic, {}))
        parts.update((data.index, data) for data in topic.partition_data)
    return [(topic, list(parts.values())) for topic, parts in found.values() if parts]


def _transactional(records: memoryview | bytes | None) -> bool:
    """Whether records begin with a whole batch that is said to belong to a transaction."""
    if records is None or not HEADER_SIZE <= first_size(records) <= len(records):
        return False
    return records[_MAGIC_AT] == 2 and bool(records[_FLAGS_AT] & 0x10)


def _append(
    context: RequestContext, request: ProduceRequest, topic: TopicProduceData, data: PartitionProduceData, *, unauthorized: bool
) -> tuple[PartitionProduceResponse, asyncio.Task[None] | None]:
    """Append to one partition: its answer, and with acks=all what completes it."""
    answer = PartitionProduceResponse(index=data.index, base_offset=-1)
    try:
        if unauthorized:
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        partition = _partition(context, topic, data.index)
        if request.acks not in (ALL, 0, 1):
            raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
        result = _append_batch(context, partition, data.records or b"", request.acks)
        answer.base_offset = result.base_offset
        answer.log_append_time_ms = result.log_append_time_ms
        answer.log_start_offset = result.log_start_offset
    except RecordErrors as error:
        answer.error_code, answer.log_start_offset, answer.error_message = error.code, error.log_start_offset, REFUSED
        answer.record_errors = [
            BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=REASONS[kind]) for index, kind in error.errors
        ]
        return answer, None
    except AppendError as error:
        answer.error_code, answer.log_start_offset = error.code, error.log_start_offset
        return answer, None
    except KafkaError as error:
        answer.error_code = error.code
        return answer, None
    if request.acks != ALL:
        return answer, None
    return answer, asyncio.ensure_future(_replicated(context, partition, result, answer, request.timeout_ms))


def _partition(context: RequestContext, topic: TopicProduceData, index: int) -> Partition:
    if context.version >= _BY_ID:
        return context.services.partition_by_id(topic.topic_id, index)
    return context.services.partition(topic.name, index)


def _append_batch(context: RequestContext, partition: Partition, records: memoryview | bytes, acks: int) -> AppendResult:
    """Append, looking into the records where the core asks for that."""
    try:
        return partition.append(records, acks=acks, api_version=context.version)
    except Handoff:
        services = context.services
        if _transactional(records):
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE, "there is no transaction of this producer; transactions are not served yet"
            ) from None
        config, now_ms = services.topic_config(partition.topic), services.clock.wall_ms()
        checked = validated_batch(records, config, now_ms, log_start_offset=partition.log.log_start_offset)
        return partition.append(checked, acks=acks, api_version=context.version, validated=True)


async def _replicated(
    context: RequestContext,
    partition: Partition,
    result: AppendResult,
    answer: PartitionProduceResponse,
    timeout_ms: int,
) -> None:
    """Complete an answer once the high watermark has passed what was appended, or the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_ms / 1000
    try:
        while not partition.committed(result.required_offset, result.leader_epoch):
            mark = (partition, "high_watermark", result.required_offset)
            left = deadline - loop.time()
            if left <= 0 or not await context.services.purgatory.any_reaches([mark], left):
                raise KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    except KafkaError as error:
        answer.error_code = error.code
