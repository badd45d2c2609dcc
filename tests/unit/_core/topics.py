"""Real partitions in a temporary directory, for tests that go through the network."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from kafkax._core.partition import Partition
from kafkax._core.registry import Registry
from kafkax._core.replication_quota import ReplicationQuota
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.message import Request
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from kafkax.protocol.records import Record, build_batch, iter_batches
from tests.unit._core.wire import Broker, Client, frame, running

Response = TypeVar("Response")


class Topics:
    """A registry of partitions that this broker leads."""

    def __init__(self, folder: Path, *, elsewhere: bool = False) -> None:
        self.folder = folder
        self.quota = ReplicationQuota(11, 1000)
        self.registry = Registry(elsewhere=elsewhere, quota=self.quota)
        self.flusher = Flusher(str(folder))
        self.ids: dict[str, UUID] = {}
        self.logs: list[Log] = []

    def add(
        self,
        topic: str,
        index: int = 0,
        *,
        mark: str = "auto",
        in_sync: int = 1,
        min_in_sync: int = 1,
        epoch: int = 1,
        **settings: Any,
    ) -> Partition:
        """A partition, new or with the log of its folder; without ``flushed=True`` what is appended is visible at once."""
        folder = self.folder / f"{topic}-{index}"
        folder.mkdir(exist_ok=True)
        log = Log.open(str(folder), LogSettings(**{"flushed": False, **settings}), flusher=self.flusher)
        self.logs.append(log)
        partition = Partition(topic, index, self.ids.setdefault(topic, uuid4()), log)
        partition.become_leader(epoch, in_sync=in_sync, min_in_sync=min_in_sync, mark=mark)
        self.registry.add(partition)
        return partition

    def close(self) -> None:
        for log in self.logs:
            if not self.flusher.failed:
                log.close()
        self.flusher.stop()


@contextmanager
def serving(folder: Path, *, elsewhere: bool = False, **settings: Any) -> Iterator[tuple[Topics, Broker]]:
    """A broker of topics that the test adds; ``elsewhere``: others may be on other brokers."""
    topics = Topics(folder, elsewhere=elsewhere)
    with running(topics.registry, **settings) as broker:
        yield topics, broker
    topics.close()


def encode(request: Request, version: int, correlation_id: int = 1) -> bytes:
    """A whole frame."""
    return frame(request_header(request.api_key, version, correlation_id, "test") + request.encode(version))


def ask(client: Client, request: Request, version: int, response: type[Response]) -> Response:
    """Send a request and decode its answer."""
    client.send(encode(request, version))
    return answer(client, request, version, response)


def answer(client: Client, request: Request, version: int, response: type[Response]) -> Response:
    """Decode the next answer."""
    _, body = parse_response_header(client.receive(), request.api_key, version)
    return response.decode(bytes(body), version)  # type: ignore[attr-defined, no-any-return]


def batch(*values: bytes, key: bytes | None = None, **fields: Any) -> bytes:
    """A batch with one record per value."""
    return build_batch([Record(key=key, value=value, timestamp=1_700_000_000_000) for value in values], **fields)


def values(records: Any) -> list[bytes]:
    """The values of all records of some batches."""
    return [record.value for one in iter_batches(bytes(records)) for record in one.records()]


def topic_field(topics: Topics, topic: str | UUID, version: int) -> dict[str, Any]:
    """How a request of the version names a topic: by name, or by id from version 13 on."""
    if version < 13:
        return {"name": topic}
    return {"topic_id": topic if isinstance(topic, UUID) else topics.ids[topic]}


def produce(
    topics: Topics, parts: dict[tuple[str | UUID, int], bytes], version: int = 9, *, acks: int = 1, timeout_ms: int = 60_000
) -> ProduceRequest:
    """A Produce request; neighbours of one topic share an entry."""
    data: list[TopicProduceData] = []
    for (topic, index), records in parts.items():
        field = topic_field(topics, topic, version)
        if not data or any(getattr(data[-1], name) != value for name, value in field.items()):
            data.append(TopicProduceData(**field, partition_data=[]))
        data[-1].partition_data.append(PartitionProduceData(index=index, records=records))
    return ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=data)


def fetch(
    topics: Topics,
    parts: dict[tuple[str | UUID, int], int],
    version: int = 12,
    *,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    leader_epoch: int = -1,
    **fields: Any,
) -> FetchRequest:
    """A Fetch request for offsets by partition."""
    data: list[FetchTopic] = []
    for (topic, index), offset in parts.items():
        field = {"topic" if name == "name" else name: value for name, value in topic_field(topics, topic, version).items()}
        data.append(FetchTopic(**field, partitions=[]))
        data[-1].partitions.append(
            FetchPartition(
                partition=index, fetch_offset=offset, partition_max_bytes=partition_max_bytes, current_leader_epoch=leader_epoch
            )
        )
    fields = {"max_wait_ms": 0, "min_bytes": 1, **fields}
    return FetchRequest(max_bytes=max_bytes, topics=data, **fields)


def produced(response: ProduceResponse) -> dict[tuple[str | UUID, int], tuple[int, int]]:
    """(error, base offset) by partition."""
    return {
        (topic.name or topic.topic_id, part.index): (part.error_code, part.base_offset)
        for topic in response.responses
        for part in topic.partition_responses
    }


def fetched(response: FetchResponse) -> dict[tuple[str | UUID, int], tuple[int, list[bytes]]]:
    """(error, values) by partition."""
    return {
        (topic.topic or topic.topic_id, part.partition_index): (part.error_code, values(part.records))
        for topic in response.responses
        for part in topic.partitions
    }


def size_of(data: bytes) -> int:
    """Bytes of the first batch of some."""
    return int(struct.unpack_from(">i", data, 8)[0]) + 12
