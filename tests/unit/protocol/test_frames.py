"""Frames that real clients and Apache Kafka exchanged decode, and encode to the same bytes."""

from __future__ import annotations

import pytest

from kafkax.protocol import oracle
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import RequestHeader, parse_response_header, request_header, response_header
from tests.reference import frames, needs_reference


@needs_reference
@pytest.mark.parametrize("recording", ["kafka-4.3.1.jsonl", "kafka-3.9.2-zookeeper.jsonl"])
def test_recorded_frames_survive_a_round_trip(recording: str) -> None:
    for exchange in frames(recording):
        key, version = exchange["key"], exchange["version"]
        if exchange.get("request"):
            frame = bytes.fromhex(exchange["request"])
            header, body = RequestHeader.parse(frame)
            cls = API_KEYS[key].request_type()
            message = cls.decode(body, version)
            assert request_header(*header) + message.encode(version) == frame
            assert oracle.encode(oracle.decode(cls, bytes(body), version), version) == body
        if exchange.get("response"):
            frame = bytes.fromhex(exchange["response"])
            correlation, body = parse_response_header(frame, key, version)
            answer = API_KEYS[key].response_type()
            assert response_header(key, version, correlation) + answer.decode(body, version).encode(version) == frame
            assert oracle.encode(oracle.decode(answer, bytes(body), version), version) == body
