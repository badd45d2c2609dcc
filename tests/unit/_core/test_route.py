"""A batch that goes alone: the same bytes as the schema writes, and only plain answers are read."""

from __future__ import annotations

import socket
import struct
import uuid
from typing import Any

import pytest

from kafkax._core.accumulator import Accumulator
from kafkax._core.channel import Channel
from kafkax._core.produced import ProducedBatch
from kafkax._core.route import ProduceRoute
from kafkax.protocol.headers import request_header, response_header
from kafkax.protocol.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

TOPIC = uuid.uuid4()


class Plain(Channel):
    """A channel over one end of a pair of sockets; notes what it is told."""

    def __init__(self, end: socket.socket, limit: int = 1 << 20) -> None:
        super().__init__("there:1", limit)
        self.fd = end.fileno()
        self.errors: list[Any] = []

    def header(self, api_key: int, version: int) -> bytes:
        return request_header(api_key, version, 0, "me")

    def broken(self, error: Any) -> None:
        self.errors.append(error)

    def expect(self, deadline: float) -> None:
        self.watched_until = deadline


def sealed(value: bytes) -> ProducedBatch:
    accumulator = Accumulator(1 << 20, 1000, 1 << 20, 1000, 1 << 30, "random")
    accumulator.attach(lambda: None, lambda topic: None)
    accumulator.produce("t", value, partition=0)
    accumulator.topic_known("t", 1)
    batch = accumulator.take(accumulator.active[-1], True)
    assert batch is not None
    batch.seal(0, None, False)
    return batch


def answer(version: int, **changes: Any) -> bytes:
    topic = changes.pop("topic_id", TOPIC)
    part = PartitionProduceResponse(**{"index": 3, "base_offset": 70, "log_append_time_ms": -1, **changes})
    whole = ProduceResponse(responses=[TopicProduceResponse(topic_id=topic, partition_responses=[part])])
    return response_header(0, version, 1) + whole.encode(version)


@pytest.mark.parametrize("size", [1, 40, 100, 5000, 200_000])
def test_the_request_is_what_the_schema_writes(size: int) -> None:
    one, other = socket.socketpair()
    for end in (one, other):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    channel, batch = Plain(one), sealed(b"x" * size)
    route = ProduceRoute(channel, 1, 13, -1, 5000, TOPIC.bytes, 3, 30.0)
    route.send(batch, lambda frame: None)
    data = PartitionProduceData(index=3, records=bytes(memoryview(batch)))
    request = ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[TopicProduceData(topic_id=TOPIC, partition_data=[data])])
    expected = request_header(0, 13, 1, "me") + request.encode(13)
    framed = struct.pack(">i", len(expected)) + expected
    other.settimeout(10)
    received = b""
    while len(received) < len(framed):
        received += other.recv(1 << 20)
    assert received == framed
    assert channel.in_flight == 1
    assert not channel.errors
    one.close()
    other.close()


def test_only_a_plain_answer_is_read() -> None:
    one, other = socket.socketpair()
    route = ProduceRoute(Plain(one), 1, 13, -1, 5000, TOPIC.bytes, 3, 30.0)
    good = answer(13)
    assert route.read(memoryview(good)) == (70, -1)
    assert route.read(memoryview(answer(13, log_append_time_ms=9))) == (70, 9)
    for unusual in ({"error_code": 6}, {"index": 2}, {"topic_id": uuid.uuid4()}, {"error_message": "no"}):
        assert route.read(memoryview(answer(13, **unusual))) is None
    for size in range(1, len(good)):
        assert route.read(memoryview(good[:size])) is None
    assert route.read(memoryview(good + b"\0")) is None
    one.close()
    other.close()
