"""Requests built ahead of a measurement, so that sending one costs next to nothing."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Sequence

from kafkax._core.load_connection import Target
from kafkax.cli.perf.bootstrap import CLIENT_ID, Topic
from kafkax.protocol.headers import request_header
from kafkax.protocol.message import Request
from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import HEADER_SIZE, build_batch

__all__ = ["PRODUCE_TIMEOUT_MS", "api_versions_target", "fetch_target", "produce_target", "record_batch", "spread"]

PRODUCE_TIMEOUT_MS = 30_000
MAX_WAIT_MS = 500
OFFSET_MARK = 0x6B66_6B78_6F66_6673
"""A fetch offset that is easily found again in an encoded request."""


def record_batch(
    count: int, size: int, *, producer: tuple[int, int] | None = None, compression: str = "none", seed: int = 1
) -> bytes:
    """A batch of ``count`` records without keys, with values of ``size`` random bytes.

    ``producer``: the id and epoch of an idempotent producer, whose first batch this is.
    """
    generator = random.Random(seed)
    now = int(time.time() * 1000)
    records = [Record(value=generator.randbytes(size), timestamp=now) for _ in range(count)]
    if producer is None:
        return build_batch(records, compression=compression)
    return build_batch(records, producer_id=producer[0], producer_epoch=producer[1], base_sequence=0, compression=compression)


def frame(request: Request, version: int) -> bytes:
    """The request as it goes over the wire, with its length and correlation id 0."""
    body = request_header(request.api_key, version, 0, CLIENT_ID) + request.encode(version)
    return struct.pack(">i", len(body)) + body


def produce_target(
    topic: Topic, partition: int, batch: bytes, records: int, *, version: int, acks: int = 1, idempotent: bool = False
) -> Target:
    """A Produce request that carries one batch; an idempotent producer's batch gets a new sequence each time it is sent.

    The records stand apart from the frame's head, so that all requests in flight share them.
    """
    data = PartitionProduceData(index=partition, records=batch)
    topics = [TopicProduceData(name=topic.name, topic_id=topic.id, partition_data=[data])]
    request = ProduceRequest(acks=acks, timeout_ms=PRODUCE_TIMEOUT_MS, topic_data=topics)
    whole = frame(request, version)
    batch_at = whole.index(batch)
    split = batch_at + HEADER_SIZE
    tail = batch[HEADER_SIZE:]
    if whole[split : split + len(tail)] != tail or split + len(tail) != len(whole):
        # What follows the records (tagged fields) is the same in every request, too.
        tail = whole[split:]
    return Target(whole[:split], tail, answered=acks != 0, records=records, batch_at=batch_at if idempotent else -1)


def fetch_target(
    topic: Topic,
    partition: int,
    *,
    version: int,
    offset: int = 0,
    max_bytes: int = 1 << 20,
    min_bytes: int = 1,
    first: int = -1,
) -> Target:
    """A Fetch without a session that reads one partition forward from ``offset``.

    At the end of the partition the broker holds it until there is more, or answers at once and it goes back to ``first``.
    """
    wanted = FetchPartition(partition=partition, fetch_offset=OFFSET_MARK, partition_max_bytes=max_bytes)
    topics = [FetchTopic(topic=topic.name, topic_id=topic.id, partitions=[wanted])]
    request = FetchRequest(max_wait_ms=MAX_WAIT_MS if first < 0 else 0, min_bytes=min_bytes, max_bytes=max_bytes, topics=topics)
    whole = frame(request, version)
    return Target(whole, offset_at=whole.index(struct.pack(">q", OFFSET_MARK)), next=offset, first=first)


def api_versions_target(version: int = 0) -> Target:
    """An ApiVersions request."""
    return Target(frame(ApiVersionsRequest(client_software_name="kafkax", client_software_version="0"), version))


def spread(count: int, connections: int) -> list[Sequence[int]]:
    """Which of ``count`` partitions each connection uses: all of them are used, and no more than need be by two connections."""
    if connections >= count:
        return [[connection % count] for connection in range(connections)]
    return [range(connection, count, connections) for connection in range(connections)]
