"""A broker of a few lines that does what a test scripts: answers, garbage, silence."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from kafkax.errors import KafkaError
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import RequestHeader, response_header
from kafkax.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from kafkax.protocol.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from kafkax.protocol.messages.init_producer_id import InitProducerIdResponse
from kafkax.protocol.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from kafkax.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from kafkax.protocol.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from kafkax.protocol.records import iter_batches

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 1, 2, 3, 18, 22
TOPIC_ID = UUID(int=7)
CLOSE = object()
"""Answer of a handler that has the connection closed instead."""


def refused(call: Callable[[float], Any], says: str) -> KafkaError:
    """The error of a call that is given some seconds, once it says so: few may be over before anything was found out."""
    for seconds in (0.3, 3, 30):
        with pytest.raises(KafkaError) as caught:
            call(seconds)
        if says in str(caught.value):
            break
    assert says in str(caught.value)
    return caught.value


class Raw(bytes):
    """Bytes that a handler wants to be sent as they are, without length or header."""


class FakeBroker:
    """Listens on loopback until :meth:`close`.

    Attributes:
        handlers: API key to a function of (request, default) that gives a response message, ``Raw``, CLOSE, or None for silence.
        logs: what was produced, by partition: a list of batches, their offsets in order.
        spoils: API key to functions; each is used up by one more answer, whose bytes it gets. It gives what is sent instead:
            bytes, CLOSE, None for silence, or a list of bytes to be sent one after the other, where CLOSE ends the connection.
        sizes: API key to bytes of the last answer, before it was spoiled.
        seen: names of the APIs that were asked, in order.
    """

    def __init__(self, partitions: int = 1) -> None:
        self.partitions = partitions
        self.handlers: dict[int, Callable[[Any, Callable[[], Any]], Any]] = {}
        self.logs: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
        self.ends = dict.fromkeys(range(partitions), 0)
        self.producer_id = 4
        self.sequences: dict[tuple[int, int], int] = {}
        self.spoils: dict[int, deque[Callable[[bytes], Any]]] = {}
        self.sizes: dict[int, int] = {}
        self.seen: list[str] = []
        self.advertised: tuple[str, int] | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._open.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            try:
                while (size := peer.recv(4, socket.MSG_WAITALL)) and len(size) == 4:
                    frame = peer.recv(struct.unpack(">i", size)[0], socket.MSG_WAITALL)
                    answer = self._answer(frame)
                    if isinstance(answer, bytes):
                        api = int.from_bytes(frame[:2], "big")
                        self.sizes[api] = len(answer)
                        with contextlib.suppress(LookupError):  # nothing is to be spoiled
                            answer = self.spoils[api].popleft()(answer)
                    for piece in answer if isinstance(answer, list) else [answer]:
                        if piece is CLOSE:
                            peer.shutdown(socket.SHUT_RDWR)
                            return
                        if piece is not None:
                            peer.sendall(piece)
            except OSError:
                return

    def _answer(self, frame: bytes) -> Any:
        header, body = RequestHeader.parse(frame)
        api = API_KEYS[header.api_key]
        self.seen.append(api.name)
        request = api.request_type().decode(body, header.api_version)

        def default() -> Any:
            return getattr(self, f"_{header.api_key}")(request)

        handler = self.handlers.get(header.api_key)
        answer = default() if handler is None else handler(request, default)
        if answer is None or answer is CLOSE or isinstance(answer, Raw):
            return answer
        payload = response_header(header.api_key, header.api_version, header.correlation_id) + answer.encode(header.api_version)
        return struct.pack(">i", len(payload)) + payload

    def _18(self, request: Any) -> ApiVersionsResponse:
        keys = [key for key in API_KEYS if hasattr(self, f"_{key}")]
        ranges = [ApiVersion(api_key=key, min_version=0, max_version=API_KEYS[key].max_version) for key in keys]
        return ApiVersionsResponse(api_keys=ranges)

    def _3(self, request: Any) -> MetadataResponse:
        host, port = self.advertised or ("127.0.0.1", self.port)
        partitions = [
            MetadataResponsePartition(partition_index=number, leader_id=1, leader_epoch=0, replica_nodes=[1], isr_nodes=[1])
            for number in range(self.partitions)
        ]
        topic = MetadataResponseTopic(name="t", topic_id=TOPIC_ID, partitions=partitions)
        wanted = request.topics is None or any(each.name == "t" for each in request.topics)
        return MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=1, host=host, port=port)],
            cluster_id="fake",
            controller_id=1,
            topics=[topic] if wanted else [],
        )

    def _22(self, request: Any) -> InitProducerIdResponse:
        self.producer_id += 1
        return InitProducerIdResponse(producer_id=self.producer_id, producer_epoch=0)

    def _0(self, request: Any) -> ProduceResponse:
        parts = []
        for data in request.topic_data[0].partition_data:
            parts.append(self.append(data.index, bytes(data.records)))
        return ProduceResponse(responses=[TopicProduceResponse(topic_id=TOPIC_ID, partition_responses=parts)])

    def append(self, partition: int, records: bytes) -> PartitionProduceResponse:
        """Append as an idempotent broker does: in sequence, duplicates dropped."""
        (batch,) = iter_batches(records)
        batch.check()
        expected = self.sequences.get((partition, batch.producer_id), 0)
        if batch.base_sequence >= 0:
            if batch.base_sequence < expected:
                return PartitionProduceResponse(index=partition, error_code=46)
            if batch.base_sequence > expected:
                return PartitionProduceResponse(index=partition, error_code=45)
            self.sequences[partition, batch.producer_id] = expected + batch.count
        base = self.ends[partition]
        self.logs[partition].append(struct.pack(">q", base) + records[8:])
        self.ends[partition] += batch.count
        return PartitionProduceResponse(index=partition, base_offset=base)

    def values(self, partition: int = 0) -> list[bytes | None]:
        """Values of all records of a partition."""
        return [record.value for data in self.logs[partition] for batch in iter_batches(data) for record in batch.records()]

    def _2(self, request: Any) -> ListOffsetsResponse:
        parts = [
            ListOffsetsPartitionResponse(
                partition_index=each.partition_index, offset=self.ends[each.partition_index] if each.timestamp == -1 else 0
            )
            for each in request.topics[0].partitions
        ]
        return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=parts)])

    def _1(self, request: Any) -> FetchResponse:
        parts = []
        for topic in request.topics:
            for each in topic.partitions:
                data = b"".join(one for one in self.logs[each.partition] if self._next(one) > each.fetch_offset)
                end = self.ends[each.partition]
                parts.append(
                    PartitionData(partition_index=each.partition, high_watermark=end, last_stable_offset=end, records=data)
                )
        if not any(part.records for part in parts):
            threading.Event().wait(0.02)
        return FetchResponse(responses=[FetchableTopicResponse(topic_id=TOPIC_ID, partitions=parts)])

    @staticmethod
    def _next(data: bytes) -> int:
        (batch,) = iter_batches(data)
        return batch.next_offset
