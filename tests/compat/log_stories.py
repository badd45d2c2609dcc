"""What is written to two brokers alike, byte for byte as far as the producer decides, and what their disks hold afterwards."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnTopic
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from kafkax.protocol.messages.end_txn import EndTxnRequest
from kafkax.protocol.messages.find_coordinator import FindCoordinatorRequest
from kafkax.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest
from kafkax.protocol.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import RecordBatch, build_batch
from kafkax.storage.checkpoints import CLEANER_OFFSET, OffsetCheckpoint
from kafkax.storage.files import MalformedFile
from kafkax.storage.reader import read_segment
from tests.system.wire import Wire

__all__ = [
    "COMPRESSIONS",
    "DAY_MS",
    "LIMIT",
    "Side",
    "Transaction",
    "as_sent",
    "batches",
    "eventually",
    "keyed_records",
    "plain_batches",
]

LIMIT = 60
DAY_MS = 86_400_000
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
_AGAIN = frozenset(
    {
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        # no broker is registered yet
        ErrorCode.INVALID_REPLICATION_FACTOR,
    }
)


def eventually(attempt: Callable[[], Any], what: str) -> Any:
    """What ``attempt`` returns once it returns anything but None."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if (found := attempt()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"within {LIMIT} s there was no {what}")


class Side:
    """A running broker and its data directory; or a data directory alone, without an address."""

    def __init__(self, address: str, data: Path) -> None:
        self.address, self.data = address, data
        self._wire: Wire | None = None

    @property
    def wire(self) -> Wire:
        """The connection for all that is asked in turn."""
        if self._wire is None:
            self._wire = Wire(self.address, timeout=LIMIT)
        return self._wire

    def ask(self, request: Any, version: int, code: Callable[[Any], int]) -> Any:
        """The answer without an error; asked again while the broker says that it is not ready."""

        def attempt() -> Any:
            answer = self.wire.ask(request, version)
            found = ErrorCode(code(answer))
            assert found is ErrorCode.NONE or found in _AGAIN, f"{type(request).__name__}: {found.name}"
            return answer if found is ErrorCode.NONE else None

        return eventually(attempt, f"answer to {type(request).__name__}")

    def create(self, topic: str, **configs: str) -> None:
        """Create a topic of one partition; configs with underscores for dots."""
        wanted = [CreatableTopicConfig(name=name.replace("_", "."), value=value) for name, value in configs.items()]
        new = CreatableTopic(name=topic, num_partitions=1, replication_factor=1, assignments=[], configs=wanted)
        self.ask(CreateTopicsRequest(topics=[new], timeout_ms=30_000), 5, lambda answer: answer.topics[0].error_code)

    def set(self, topic: str, config: str, value: str) -> None:
        """Set one of a topic's configs."""
        resource = AlterConfigsResource(
            resource_type=2, resource_name=topic, configs=[AlterableConfig(name=config, config_operation=0, value=value)]
        )
        self.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1, lambda answer: answer.responses[0].error_code)

    def produce(self, topic: str, data: bytes, transactional_id: str | None = None) -> None:
        """Write a batch with acks=all."""
        sent = TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=0, records=data)])
        request = ProduceRequest(transactional_id=transactional_id, acks=-1, timeout_ms=30_000, topic_data=[sent])
        self.ask(request, 9, lambda answer: answer.responses[0].partition_responses[0].error_code)

    def listed(self, topic: str, timestamp: int, isolation: int = 0) -> tuple[int, int]:
        """ListOffsets' answer: timestamp and offset."""
        wanted = ListOffsetsTopic(name=topic, partitions=[ListOffsetsPartition(partition_index=0, timestamp=timestamp)])
        request = ListOffsetsRequest(replica_id=-1, isolation_level=isolation, topics=[wanted])
        answer = self.ask(request, 7, lambda answer: answer.topics[0].partitions[0].error_code)
        found = answer.topics[0].partitions[0]
        return found.timestamp, found.offset

    def end(self, topic: str) -> int:
        """Offset behind the last record that a consumer may see."""
        return self.listed(topic, -1)[1]

    def folder(self, topic: str) -> Path:
        return self.data / f"{topic}-0"

    def cleaned_to(self, topic: str) -> int:
        """Up to which offset the cleaner has come, as its checkpoint says."""
        try:
            entries = OffsetCheckpoint(self.data, CLEANER_OFFSET).read()
        except MalformedFile:
            return 0
        return next((offset for partition, offset in entries.items() if partition.topic == topic), 0)


class Transaction:
    """A transactional producer of a topic's partition 0."""

    def __init__(self, side: Side, topic: str, transactional_id: str) -> None:
        self.side, self.topic, self.transactional_id = side, topic, transactional_id
        self.sequence = 0
        side.ask(FindCoordinatorRequest(key=transactional_id, key_type=1), 3, lambda answer: answer.error_code)
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=60_000)
        answer = side.ask(request, 4, lambda answer: answer.error_code)
        self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch

    def write(self, records: list[Record]) -> None:
        """Add the partition and write a batch."""
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(name=self.topic, partitions=[0])],
        )
        self.side.ask(
            request, 3, lambda answer: answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        )
        data = build_batch(
            records,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            base_sequence=self.sequence,
            transactional=True,
        )
        self.sequence += len(records)
        self.side.produce(self.topic, data, self.transactional_id)

    def finish(self, *, committed: bool) -> None:
        """End the transaction and wait for its marker."""
        before = self.side.end(self.topic)
        request = EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            committed=committed,
        )
        self.side.ask(request, 3, lambda answer: answer.error_code)
        eventually(lambda: True if self.side.end(self.topic) > before else None, "transaction marker")


def plain_batches(first_timestamp: int, count: int, seed: int = 1) -> Iterator[bytes]:
    """Batches of all compressions, with and without idempotence, null keys and values, headers, time that goes to and fro."""
    chosen = random.Random(seed)
    sequence = 0
    for number in range(count):
        now = first_timestamp + number * 1000
        records = [
            Record(
                None if chosen.random() < 0.1 else b"key-%d" % chosen.randrange(50),
                None if chosen.random() < 0.1 else chosen.randbytes(chosen.randrange(200)),
                (("h", b"%d" % number), ("none", None)) if chosen.random() < 0.2 else (),
                now + chosen.randrange(-5000, 5000),
            )
            for _ in range(chosen.randrange(1, 20))
        ]
        producer = {"producer_id": 5_000_000, "producer_epoch": 0, "base_sequence": sequence} if number % 3 else {}
        sequence += len(records) if number % 3 else 0
        yield build_batch(records, compression=COMPRESSIONS[number % len(COMPRESSIONS)], **producer)


def keyed_records(timestamp: int, count: int, chosen: random.Random, kind: str = "key", tombstones: float = 0.15) -> list[Record]:
    """Records with few keys of a kind, some of them tombstones."""
    return [
        Record(
            b"%s-%d" % (kind.encode(), chosen.randrange(30)),
            None if chosen.random() < tombstones else chosen.randbytes(chosen.randrange(1, 60)),
            (),
            timestamp + place,
        )
        for place in range(count)
    ]


def batches(folder: Path) -> Iterator[tuple[str, RecordBatch]]:
    """The batches of all segments in service, with the names of their files."""
    for path in sorted(folder.glob("*.log")):
        for placed in read_segment(path):
            assert isinstance(placed.batch, RecordBatch)
            yield path.name, placed.batch


def as_sent(batch: RecordBatch) -> bytes:
    """A stored batch as it was before the broker gave it offset and leader epoch, which stand outside the checksum."""
    data = bytearray(batch.data)
    struct.pack_into(">q", data, 0, 0)
    struct.pack_into(">i", data, 12, -1)
    return bytes(data)
