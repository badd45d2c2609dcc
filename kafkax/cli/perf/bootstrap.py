"""A blocking connection to a broker for what a measurement needs before it starts: versions, topics, leaders, producer ids."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.message import Request
from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest
from kafkax.protocol.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from kafkax.protocol.schema import ZERO_UUID

__all__ = ["CLIENT_ID", "Address", "Bootstrap", "Topic", "parse_address"]

CLIENT_ID = "kafkax-perf"
TIMEOUT = 30.0
"""Seconds to wait for one answer, and for a new topic to have leaders."""

Address = tuple[str, int]


def parse_address(text: str) -> Address:
    """``host:port`` (the first, of a list); raises ValueError."""
    host, colon, port = text.split(",")[0].strip().rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port")
    return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Topic:
    """A topic with everything that requests to it need.

    Attributes:
        name: its name.
        id: its id, all zero where the broker gives none.
        leaders: for each partition, in order, the address of its leader.
    """

    name: str
    id: UUID
    leaders: tuple[Address, ...]


class Bootstrap:
    """One connection, one request at a time; ``versions`` maps API keys to the newest version that both sides know."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.socket = socket.create_connection(address, timeout=TIMEOUT)
        self.versions: dict[int, int] = {ApiVersionsRequest.api_key: 0}
        answer = self.call(ApiVersionsRequest())
        for served in answer.api_keys:
            known = API_KEYS.get(served.api_key)
            if known is not None and min(known.max_version, served.max_version) >= max(known.min_version, served.min_version):
                self.versions[served.api_key] = min(known.max_version, served.max_version)

    def __enter__(self) -> Bootstrap:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def call(self, request: Request) -> Any:
        """Send a request in the newest common version and wait for its response; raises ProtocolError, OSError."""
        key = request.api_key
        if key not in self.versions:
            raise ProtocolError(f"the broker at {self.address[0]}:{self.address[1]} does not serve {API_KEYS[key].name}")
        version = self.versions[key]
        frame = request_header(key, version, 0, CLIENT_ID) + request.encode(version)
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        (size,) = struct.unpack(">i", self._read(4))
        _, body = parse_response_header(self._read(size), key, version)
        return API_KEYS[key].response_type().decode(body, version)

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise ConnectionError(f"{self.address[0]}:{self.address[1]} closed the connection")
            parts += part
        return bytes(parts)

    def create_topic(
        self, name: str, partitions: int, replication_factor: int = 1, configs: dict[str, str] | None = None
    ) -> None:
        """Create a topic; raises KafkaError, TOPIC_ALREADY_EXISTS among others."""
        settings = [CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()]
        topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=replication_factor, configs=settings)
        result = self.call(CreateTopicsRequest(topics=[topic], timeout_ms=int(TIMEOUT * 1000))).topics[0]
        _check(result.error_code, f"creating topic {name}: {result.error_message or 'refused'}")

    def delete_topic(self, name: str) -> None:
        """Delete a topic; raises KafkaError."""
        topics = [DeleteTopicState(name=name)] if self.versions[DeleteTopicsRequest.api_key] >= 6 else []
        request = DeleteTopicsRequest(topics=topics, topic_names=[name], timeout_ms=int(TIMEOUT * 1000))
        _check(self.call(request).responses[0].error_code, f"deleting topic {name}")

    def topic(self, name: str) -> Topic:
        """What the broker knows of a topic, once every partition has a leader; raises KafkaError when that takes too long."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
            answer = self.call(request)
            addresses = {broker.node_id: (broker.host, broker.port) for broker in answer.brokers}
            topic = answer.topics[0]
            errors = [topic.error_code, *(partition.error_code for partition in topic.partitions)]
            if not any(errors) and topic.partitions:
                partitions = sorted(topic.partitions, key=lambda partition: int(partition.partition_index))
                return Topic(name, topic.topic_id or ZERO_UUID, tuple(addresses[partition.leader_id] for partition in partitions))
            if time.monotonic() > deadline or ErrorCode.TOPIC_AUTHORIZATION_FAILED in errors:
                _check(next((error for error in errors if error), ErrorCode.LEADER_NOT_AVAILABLE), f"metadata of topic {name}")
            time.sleep(0.1)

    def offset(self, topic: Topic, partition: int, timestamp: int) -> int:
        """The partition's earliest (-2) or latest (-1) offset; raises KafkaError.  Ask the partition's leader."""
        wanted = ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name=topic.name, partitions=[wanted])])
        answer = self.call(request).topics[0].partitions[0]
        _check(answer.error_code, f"offsets of {topic.name}-{partition}")
        return int(answer.offset)

    def producer_id(self) -> tuple[int, int]:
        """A new producer id and its epoch; raises KafkaError."""
        answer = self.call(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60000))
        _check(answer.error_code, "a producer id")
        return answer.producer_id, answer.producer_epoch


def _check(code: int, what: str) -> None:
    if code:
        known = ErrorCode(code) if code in ErrorCode._value2member_map_ else ErrorCode.UNKNOWN_SERVER_ERROR
        raise KafkaError(known, f"{what}: {known.name}")
