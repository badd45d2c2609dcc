"""What the protocol asks of a broker in odd but legal, and in illegal, cases: bytes in, bytes out."""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Iterator

import pytest

from kafkax.config import broker_definitions
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from kafkax.protocol.messages.delete_records import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest
from kafkax.protocol.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kafkax.protocol.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch, iter_batches
from tests.compat.brokers import RunningBroker
from tests.system.wire import Wire

NOW = int(time.time() * 1000)


def create(wire: Wire, topic: str, partitions: int = 1, **configs: str) -> uuid.UUID:
    """Create a topic; its id."""
    settings = [CreatableTopicConfig(name=name.replace("_", "."), value=value) for name, value in configs.items()]
    new = CreatableTopic(name=topic, num_partitions=partitions, replication_factor=1, configs=settings)
    (result,) = wire.ask(CreateTopicsRequest(topics=[new], timeout_ms=60_000), 7).topics
    assert result.error_code == 0, result.error_message
    return result.topic_id


def batch(*values: bytes | None, key: bytes | None = b"k", **options: object) -> bytes:
    """A batch of records with these values."""
    records = [Record(key, value, [], NOW + index) for index, value in enumerate(values)]
    return build_batch(records, **options)  # type: ignore[arg-type]


def produce_request(topic: str, records: bytes | None, *, acks: int = -1, partition: int = 0) -> ProduceRequest:
    data = PartitionProduceData(index=partition, records=records)
    return ProduceRequest(acks=acks, timeout_ms=60_000, topic_data=[TopicProduceData(name=topic, partition_data=[data])])


def produce(wire: Wire, topic: str, records: bytes | None, version: int = 9, **options: int) -> object:
    """Produce to one partition; its part of the answer."""
    response = wire.ask(produce_request(topic, records, **options), version)
    return response.responses[0].partition_responses[0]


def fetch_request(
    topic: str, offset: int, *, max_bytes: int = 1 << 20, wait_ms: int = 0, min_bytes: int = 1, **session: int
) -> FetchRequest:
    partition = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=max_bytes)
    topics = [FetchTopic(topic=topic, partitions=[partition])]
    return FetchRequest(max_wait_ms=wait_ms, min_bytes=min_bytes, max_bytes=max_bytes, topics=topics, **session)  # type: ignore[arg-type]


def fetch(wire: Wire, topic: str, offset: int, **options: int) -> object:
    """Fetch from one partition; its part of the answer."""
    return wire.ask(fetch_request(topic, offset, **options), 12).responses[0].partitions[0]


def end_offset(wire: Wire, topic: str) -> int:
    return list_offset(wire, topic, -1).offset


def list_offset(wire: Wire, topic: str, timestamp: int, isolation: int = 0, version: int = 7) -> object:
    asked = ListOffsetsPartition(partition_index=0, timestamp=timestamp, current_leader_epoch=-1)
    request = ListOffsetsRequest(
        replica_id=-1, isolation_level=isolation, topics=[ListOffsetsTopic(name=topic, partitions=[asked])]
    )
    return wire.ask(request, version).topics[0].partitions[0]


@pytest.fixture
def wire(broker: RunningBroker) -> Iterator[Wire]:
    with Wire(broker.address) as connection:
        yield connection


class TestApiVersions:
    def test_a_version_too_new_is_answered_in_version_0_and_the_connection_lives(self, wire: Wire) -> None:
        wire.send_frame(struct.pack(">hhih", 18, 99, 7, -1) + b"\0")
        frame = wire.receive_frame()
        assert frame[:4] == struct.pack(">i", 7)
        answer = ApiVersionsResponse.decode(frame[4:], 0)
        assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
        assert [(key.api_key, key.min_version, key.max_version) for key in answer.api_keys] == [(18, 0, 4)]
        assert wire.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 4).error_code == 0

    def test_what_is_advertised_is_what_is_served(self, wire: Wire) -> None:
        from kafkax.broker.handlers import handlers

        answer = wire.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3)
        served = {key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
        assert served.keys() == {key for key, (spec, *_) in handlers().items() if not spec.between_brokers}
        assert served[0] == (0, 13), "librdkafka takes a broker without Produce 0 for one too old"


class TestConnections:
    @pytest.mark.parametrize(
        "frame",
        [
            pytest.param(struct.pack(">hhih", 999, 0, 1, -1), id="unknown API"),
            pytest.param(struct.pack(">hhih", 3, 99, 1, -1) + b"\0", id="unsupported version"),
            pytest.param(struct.pack(">hhih", 3, 9, 1, -1) + b"\0\xff\xff", id="body does not parse"),
            pytest.param(struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 2**31 - 1), id="array longer than the frame"),
            pytest.param(b"\0\x12", id="header cut off"),
            pytest.param(struct.pack(">hhih", 0, 1, 1, -1) + b"\0" * 10, id="Produce older than 3"),
        ],
    )
    def test_what_cannot_be_answered_closes_that_connection_only(self, broker: RunningBroker, wire: Wire, frame: bytes) -> None:
        with Wire(broker.address) as bad:
            bad.send_frame(frame)
            assert bad.closed()
        assert wire.ask(MetadataRequest(topics=[]), 9).cluster_id

    @pytest.mark.parametrize("size", [-1, -(2**31), 2**31 - 1, 104857601])
    def test_frame_sizes_out_of_bounds_close_without_allocation(self, broker: RunningBroker, wire: Wire, size: int) -> None:
        before = resident_kb(broker)
        with Wire(broker.address) as bad:
            bad.socket.sendall(struct.pack(">i", size) + b"x" * 100)
            assert bad.closed()
        assert resident_kb(broker) - before < 20_000
        assert wire.ask(MetadataRequest(topics=[]), 9).cluster_id

    @pytest.mark.parametrize(("claim", "width"), [(struct.pack(">i", 2**31 - 1), 4), (b"\xff\xff\xff\xff\x07", 1)])
    def test_nothing_is_allocated_by_what_a_length_in_a_request_claims(
        self, broker: RunningBroker, wire: Wire, topic: str, claim: bytes, width: int
    ) -> None:
        """Every place of requests of the core and of the control plane claims two billion, in a frame of ordinary size."""
        create(wire, topic)
        commit = OffsetCommitRequestTopic(name=topic, partitions=[OffsetCommitRequestPartition(partition_index=0)])
        protocol = JoinGroupRequestProtocol(name="range", metadata=b"x")
        creatable = CreatableTopic(name=f"{topic}-b", num_partitions=1, replication_factor=1, assignments=[], configs=[])
        requests = (
            (produce_request(topic, batch(b"x")), 3, 9),
            (fetch_request(topic, 0), 4, 12),
            (MetadataRequest(topics=[MetadataRequestTopic(name=topic)]), 1, 9),
            (OffsetCommitRequest(group_id="g", topics=[commit]), 2, 8),
            (JoinGroupRequest(group_id="g", session_timeout_ms=10_000, protocol_type="c", protocols=[protocol]), 0, 6),
            (CreateTopicsRequest(topics=[creatable], validate_only=True), 2, 5),
        )
        before = peaks_kb(broker)
        for request, plain, flexible in requests:
            version = plain if width == 4 else flexible
            body = request.encode(version)
            for at in range(len(body)):
                with Wire(broker.address) as bad:
                    start = struct.pack(">hhih", request.api_key, version, 1, -1) + (b"" if width == 4 else b"\0")
                    bad.send_frame(start + body[:at] + claim + body[at + width :])
        time.sleep(0.3)
        assert wire.ask(MetadataRequest(topics=[]), 9).cluster_id
        resident, virtual = (after - first for after, first in zip(peaks_kb(broker), before, strict=True))
        assert resident < 20_000
        assert virtual < 1_000_000

    def test_answers_leave_in_the_order_of_requests_though_a_fetch_waits(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        create(wire, f"{topic}-other")
        began = time.monotonic()
        wire.send(fetch_request(topic, 0, wait_ms=500), 12)
        wire.send(MetadataRequest(topics=[]), 9)
        wire.send(produce_request(f"{topic}-other", batch(b"x"), acks=1), 9)
        assert wire.receive().responses[0].partitions[0].error_code == 0
        assert wire.receive().cluster_id
        assert wire.receive().responses[0].partition_responses[0].base_offset == 0
        assert time.monotonic() - began >= 0.3

    def test_bytes_behind_a_request_are_left_alone(self, wire: Wire) -> None:
        request = MetadataRequest(topics=[])
        wire.send_frame(struct.pack(">hhih", 3, 13, 5, -1) + b"\0" + request.encode(13) + b"\1\2\3")
        assert wire.receive_frame()[:4] == struct.pack(">i", 5)

    def test_a_frame_that_arrives_byte_by_byte_is_served(self, wire: Wire) -> None:
        request = ApiVersionsRequest()
        frame = struct.pack(">hhih", 18, 0, 5, -1) + request.encode(0)
        for byte in struct.pack(">i", len(frame)) + frame:
            wire.socket.sendall(bytes([byte]))
        assert wire.receive_frame()[:4] == struct.pack(">i", 5)


def memory_kb(broker: RunningBroker, what: str) -> int:
    with open(f"/proc/{broker.process.pid}/status") as status:
        return int(next(line for line in status if line.startswith(what)).split()[1])


def resident_kb(broker: RunningBroker) -> int:
    return memory_kb(broker, "VmRSS")


def peaks_kb(broker: RunningBroker) -> tuple[int, int]:
    """The most memory that the broker ever had: resident, and reserved."""
    return memory_kb(broker, "VmHWM"), memory_kb(broker, "VmPeak")


class TestProduce:
    def test_offsets_are_given_out_in_order(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        assert [produce(wire, topic, batch(b"a", b"b")).base_offset for _ in range(3)] == [0, 2, 4]

    def test_acks_0_has_no_answer(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        wire.send_frame(_framed(produce_request(topic, batch(b"x"), acks=0)))
        assert wire.ask(MetadataRequest(topics=[]), 9).cluster_id
        assert end_offset_soon(wire, topic, 1) == 1

    def test_acks_0_closes_the_connection_on_an_error(self, broker: RunningBroker, topic: str) -> None:
        with Wire(broker.address) as bad:
            bad.send_frame(_framed(produce_request(f"{topic}-missing", batch(b"x"), acks=0)))
            assert bad.closed()

    @pytest.mark.parametrize("acks", [2, -2, 32767])
    def test_other_acks_are_refused(self, wire: Wire, topic: str, acks: int) -> None:
        create(wire, topic)
        assert produce(wire, topic, batch(b"x"), acks=acks).error_code == ErrorCode.INVALID_REQUIRED_ACKS
        absent = produce(wire, f"{topic}-absent", batch(b"x"), acks=acks)
        assert absent.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert end_offset(wire, topic) == 0

    def test_a_partition_that_is_named_twice_counts_once_with_its_last_records(self, wire: Wire, topic: str) -> None:
        create(wire, topic, partitions=2)
        sent = (0, batch(b"a")), (1, batch(b"b")), (0, batch(b"c", b"d"))
        entries = [produce_request(topic, records, partition=index).topic_data[0] for index, records in sent]
        request = ProduceRequest(acks=-1, timeout_ms=60_000, topic_data=entries)
        (answer,) = wire.ask(request, 9).responses
        assert [(part.index, part.error_code, part.base_offset) for part in answer.partition_responses] == [(0, 0, 0), (1, 0, 0)]
        (stored,) = iter_batches(bytes(fetch(wire, topic, 0).records))
        assert [bytes(record.value) for record in stored.records()] == [b"c", b"d"]

    def test_a_topic_without_partitions_is_not_answered(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        empty = TopicProduceData(name=topic, partition_data=[])
        assert wire.ask(ProduceRequest(acks=1, timeout_ms=60_000, topic_data=[empty]), 9).responses == []

    def test_unknown_topics_and_ids(self, wire: Wire, topic: str) -> None:
        assert produce(wire, topic, batch(b"x")).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        by_id = produce_request("", batch(b"x"))
        by_id.topic_data[0].topic_id = uuid.uuid4()
        answer = wire.ask(by_id, 13).responses[0].partition_responses[0]
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_ID

    def test_a_recreated_topic_has_a_new_id_and_the_old_one_is_unknown(self, wire: Wire, topic: str) -> None:
        old = create(wire, topic)
        assert wire.ask(DeleteTopicsRequest(topic_names=[topic], timeout_ms=10_000), 5).responses[0].error_code == 0
        new = create(wire, topic)
        assert new != old
        for topic_id, code in ((old, ErrorCode.UNKNOWN_TOPIC_ID), (new, ErrorCode.NONE)):
            request = produce_request("", batch(b"x"))
            request.topic_data[0].topic_id = topic_id
            assert wire.ask(request, 13).responses[0].partition_responses[0].error_code == code

    def test_the_batch_limit_is_on_the_batch(self, wire: Wire, topic: str) -> None:
        create(wire, topic, max_message_bytes="1000")
        assert produce(wire, topic, batch(b"x" * 2000)).error_code == ErrorCode.MESSAGE_TOO_LARGE
        assert produce(wire, topic, batch(b"x" * 500)).error_code == 0
        assert end_offset(wire, topic) == 1

    def test_no_more_replicas_have_to_be_in_sync_than_there_are(self, wire: Wire, topic: str) -> None:
        create(wire, topic, min_insync_replicas="2")
        assert produce(wire, topic, batch(b"x")).error_code == 0
        assert end_offset(wire, topic) == 1

    def test_a_compacted_topic_wants_keys(self, wire: Wire, topic: str) -> None:
        create(wire, topic, cleanup_policy="compact")
        for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
            answer = produce(wire, topic, batch(b"a", b"b", key=None, compression=compression))
            assert answer.error_code == ErrorCode.INVALID_RECORD
            assert [error.batch_index for error in answer.record_errors] == [0, 1]
        assert end_offset(wire, topic) == 0

    def test_control_batches_are_not_for_clients(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        forged = batch(b"x", producer_id=5, producer_epoch=0, base_sequence=0, control=True)
        assert produce(wire, topic, forged).error_code == ErrorCode.INVALID_RECORD
        assert end_offset(wire, topic) == 0

    def test_transactional_batches_need_a_transaction(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        forged = batch(b"x", producer_id=5, producer_epoch=0, base_sequence=0, transactional=True)
        request = produce_request(topic, forged)
        request.topic_data.append(produce_request(f"{topic}-absent", batch(b"x")).topic_data[0])
        answer = wire.ask(request, 9)
        refused = [part.error_code for each in answer.responses for part in each.partition_responses]
        assert refused == [ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED] * 2, "nobody's transaction, whatever else is asked"
        request = produce_request(topic, forged)
        request.transactional_id = "somebody"
        assert wire.ask(request, 9).responses[0].partition_responses[0].error_code == ErrorCode.INVALID_TXN_STATE
        assert end_offset(wire, topic) == 0

    def test_every_flipped_byte_is_found(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        good = batch(b"value")
        for position in range(8, len(good)):
            if 12 <= position < 16:
                continue  # the leader epoch, which the broker sets
            bad = bytearray(good)
            bad[position] ^= 0x41
            answer = produce(wire, topic, bytes(bad))
            refused = (ErrorCode.CORRUPT_MESSAGE, ErrorCode.INVALID_RECORD, ErrorCode.MESSAGE_TOO_LARGE)
            assert answer.error_code in refused, position
        assert end_offset(wire, topic) == 0

    def test_every_truncation_is_found(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        good = batch(b"value")
        for size in range(len(good)):
            answer = produce(wire, topic, good[:size])
            assert answer.error_code in (ErrorCode.CORRUPT_MESSAGE, ErrorCode.INVALID_RECORD), size
        assert end_offset(wire, topic) == 0

    @pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
    def test_a_decompression_bomb_is_refused_in_bounded_memory(
        self, broker: RunningBroker, wire: Wire, topic: str, compression: str
    ) -> None:
        create(wire, topic, kafkax_decompressed_max_bytes="1000000")
        before = resident_kb(broker)
        bomb = batch(b"\0" * 15_000_000, compression=compression)
        assert len(bomb) < 1_048_588
        answer = produce(wire, topic, bomb)
        assert answer.error_code in (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.CORRUPT_MESSAGE)
        assert resident_kb(broker) - before < 12_000
        assert end_offset(wire, topic) == 0

    @pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
    def test_compressed_bytes_are_kept_as_they_came(self, wire: Wire, topic: str, compression: str) -> None:
        create(wire, topic)
        sent = batch(b"a" * 100, b"b" * 100, compression=compression)
        assert produce(wire, topic, sent).error_code == 0
        stored = bytes(fetch(wire, topic, 0).records)
        assert stored[21:] == sent[21:], "all but offset, leader epoch and checksum-free prefix is untouched"

    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_a_topic_may_ask_for_its_own_compression(self, wire: Wire, topic: str, compression: str) -> None:
        create(wire, topic, compression_type=compression)
        assert produce(wire, topic, batch(b"a" * 100, b"b" * 100, compression="lz4")).error_code == 0
        (stored,) = iter_batches(bytes(fetch(wire, topic, 0).records))
        assert stored.compression == compression
        assert [bytes(record.value) for record in stored.records()] == [b"a" * 100, b"b" * 100]

    def test_timestamps_out_of_bounds_are_named(self, wire: Wire, topic: str) -> None:
        create(wire, topic, message_timestamp_after_max_ms="1000")
        late = build_batch([Record(b"k", b"v", [], NOW), Record(b"k", b"v", [], NOW + 10_000_000)])
        answer = produce(wire, topic, late)
        assert answer.error_code == ErrorCode.INVALID_TIMESTAMP
        assert [error.batch_index for error in answer.record_errors] == [1]
        assert end_offset(wire, topic) == 0

    def test_log_append_time_is_the_brokers(self, wire: Wire, topic: str) -> None:
        create(wire, topic, message_timestamp_type="LogAppendTime")
        answer = produce(wire, topic, build_batch([Record(b"k", b"v", [], 1000)]))
        assert abs(answer.log_append_time_ms - time.time() * 1000) < 60_000
        (stored,) = iter_batches(bytes(fetch(wire, topic, 0).records))
        assert stored.log_append_time
        stored.check()
        assert [record.timestamp for record in stored.records()] == [answer.log_append_time_ms]


def _framed(request: ProduceRequest) -> bytes:
    from kafkax.protocol.headers import request_header

    return request_header(0, 9, 1, "wire") + request.encode(9)


def end_offset_soon(wire: Wire, topic: str, wanted: int) -> int:
    deadline = time.monotonic() + 60
    while (found := end_offset(wire, topic)) < wanted and time.monotonic() < deadline:
        pass
    return found


class TestIdempotence:
    def producer(self, wire: Wire) -> int:
        answer = wire.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), 4)
        assert answer.error_code == 0
        return answer.producer_id

    def sequenced(self, producer_id: int, sequence: int, *, epoch: int = 0, count: int = 1) -> bytes:
        values = [b"%d" % (sequence + n) for n in range(count)]
        return batch(*values, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)

    def test_duplicates_gaps_and_old_epochs(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        producer = self.producer(wire)
        assert [produce(wire, topic, self.sequenced(producer, n)).base_offset for n in range(6)] == list(range(6))
        for sequence in range(1, 6):
            again = produce(wire, topic, self.sequenced(producer, sequence))
            assert (again.error_code, again.base_offset) == (0, sequence), "the last five are known"
        gap = produce(wire, topic, self.sequenced(producer, 9))
        assert gap.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        assert produce(wire, topic, self.sequenced(producer, 0, epoch=1)).base_offset == 6
        old = produce(wire, topic, self.sequenced(producer, 6))
        assert old.error_code == ErrorCode.INVALID_PRODUCER_EPOCH
        assert end_offset(wire, topic) == 7

    def test_the_sequence_wraps(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        producer = self.producer(wire)
        last = 2**31 - 1
        assert produce(wire, topic, self.sequenced(producer, last - 1, count=2)).error_code == 0
        assert produce(wire, topic, self.sequenced(producer, 0)).error_code == 0
        assert end_offset(wire, topic) == 3

    def test_a_producer_is_known_when_its_records_are_deleted(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        producer = self.producer(wire)
        for sequence in range(3):
            assert produce(wire, topic, self.sequenced(producer, sequence)).error_code == 0
        everything = DeleteRecordsTopic(name=topic, partitions=[DeleteRecordsPartition(partition_index=0, offset=3)])
        (deleted,) = wire.ask(DeleteRecordsRequest(topics=[everything], timeout_ms=10_000), 2).topics[0].partitions
        assert (deleted.error_code, deleted.low_watermark) == (0, 3)
        again = produce(wire, topic, self.sequenced(producer, 2))
        assert (again.error_code, again.base_offset) == (0, 2)
        assert produce(wire, topic, self.sequenced(producer, 4)).error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        assert produce(wire, topic, self.sequenced(producer, 3)).base_offset == 3


class TestFetch:
    def test_the_middle_of_a_batch_is_served_by_the_whole_batch(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        produce(wire, topic, batch(b"a", b"b", b"c"))
        produce(wire, topic, batch(b"d"))
        got = list(iter_batches(bytes(fetch(wire, topic, 1).records)))
        assert [found.base_offset for found in got] == [0, 3]

    def test_a_first_batch_above_the_limit_is_served(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        produce(wire, topic, batch(b"x" * 10_000))
        assert len(fetch(wire, topic, 0, max_bytes=100).records) > 10_000

    @pytest.mark.parametrize("offset", [-1, 2, 2**62])
    def test_offsets_out_of_range(self, wire: Wire, topic: str, offset: int) -> None:
        create(wire, topic)
        produce(wire, topic, batch(b"x"))
        answer = fetch(wire, topic, offset)
        assert answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE

    def test_a_waiting_fetch_is_answered_by_the_next_record(self, broker: RunningBroker, wire: Wire, topic: str) -> None:
        create(wire, topic)
        with Wire(broker.address) as consumer:
            consumer.send(fetch_request(topic, 0, wait_ms=60_000), 12)
            began = time.monotonic()
            produce(wire, topic, batch(b"news"))
            assert len(consumer.receive().responses[0].partitions[0].records) > 0
            assert time.monotonic() - began < 30

    def test_min_bytes_are_waited_for(self, broker: RunningBroker, wire: Wire, topic: str) -> None:
        create(wire, topic)
        with Wire(broker.address) as consumer:
            consumer.send(fetch_request(topic, 0, wait_ms=60_000, min_bytes=1500), 12)
            produce(wire, topic, batch(b"x" * 1000))
            produce(wire, topic, batch(b"y" * 1000))
            got = list(iter_batches(bytes(consumer.receive().responses[0].partitions[0].records)))
            assert len(got) == 2

    def test_a_client_cannot_fetch_as_a_replica(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        request = fetch_request(topic, 0)
        request.replica_id = 1
        answer = wire.ask(request, 12)
        codes = {answer.error_code, *(p.error_code for t in answer.responses for p in t.partitions)}
        assert codes & {ErrorCode.CLUSTER_AUTHORIZATION_FAILED, ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.UNKNOWN_LEADER_EPOCH}

    def test_sessions_answer_with_what_is_new(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        first = wire.ask(fetch_request(topic, 0, session_id=0, session_epoch=0), 12)
        assert first.session_id > 0
        quiet = FetchRequest(max_wait_ms=0, min_bytes=1, session_id=first.session_id, session_epoch=1)
        assert wire.ask(quiet, 12).responses == []
        produce(wire, topic, batch(b"x"))
        quiet.session_epoch = 2
        (news,) = wire.ask(quiet, 12).responses
        assert len(news.partitions[0].records) > 0
        quiet.session_epoch = 9
        assert wire.ask(quiet, 12).error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
        unknown = FetchRequest(max_wait_ms=0, session_id=123456789, session_epoch=5)
        assert wire.ask(unknown, 12).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND

    def test_leader_epochs_are_checked(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        request = fetch_request(topic, 0)
        request.topics[0].partitions[0].current_leader_epoch = 1000
        assert wire.ask(request, 12).responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


class TestListOffsets:
    def test_earliest_latest_maximum_and_times(self, wire: Wire, topic: str) -> None:
        create(wire, topic)
        for timestamp in (5000, 9000, 7000):
            assert produce(wire, topic, build_batch([Record(None, b"x", [], timestamp)])).error_code == 0
        assert list_offset(wire, topic, -2).offset == 0
        assert list_offset(wire, topic, -1).offset == 3
        highest = list_offset(wire, topic, -3)
        assert (highest.offset, highest.timestamp) == (1, 9000)
        found = list_offset(wire, topic, 5001)
        assert (found.offset, found.timestamp) == (1, 9000)
        assert list_offset(wire, topic, 9001).offset == -1

    def test_places_of_tiered_storage_as_the_version_knows_them(self, wire: Wire, topic: str) -> None:
        """As Apache Kafka 4.3 without remote storage."""
        create(wire, topic)
        produce(wire, topic, batch(b"a", b"b"))
        unknown = (ErrorCode.UNSUPPORTED_VERSION, -1, -1)
        for timestamp, since, known in (
            (-4, 8, (ErrorCode.NONE, 0, 0)),
            (-5, 9, (ErrorCode.NONE, -1, -1)),
            (-6, 11, (ErrorCode.NONE, -1, -1)),
            (-7, 99, unknown),
        ):
            for version in range(4, 12):
                found = list_offset(wire, topic, timestamp, version=version)
                expected = known if version >= since else unknown
                assert (found.error_code, found.offset, found.leader_epoch) == expected, (timestamp, version)


class TestTopics:
    @pytest.mark.parametrize("name", ["../x", ".", "..", "", "a" * 250, "nul\0", "ümlaut", "a/b", "a b"])
    def test_names_that_are_not_allowed(self, wire: Wire, name: str) -> None:
        new = CreatableTopic(name=name, num_partitions=1, replication_factor=1)
        (result,) = wire.ask(CreateTopicsRequest(topics=[new], timeout_ms=5000), 7).topics
        assert result.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
        asked = MetadataRequest(topics=[MetadataRequestTopic(name=name)])
        assert wire.ask(asked, 9).topics[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION

    @pytest.mark.parametrize(
        ("partitions", "factor", "configs", "code"),
        [
            (0, 1, {}, ErrorCode.INVALID_PARTITIONS),
            (1, 2, {}, ErrorCode.INVALID_REPLICATION_FACTOR),
            (1, 0, {}, ErrorCode.INVALID_REPLICATION_FACTOR),
            (1, 1, {"no.such.config": "1"}, ErrorCode.INVALID_CONFIG),
            (1, 1, {"retention.ms": "soon"}, ErrorCode.INVALID_CONFIG),
        ],
    )
    def test_what_cannot_be_created_says_why(
        self, wire: Wire, topic: str, partitions: int, factor: int, configs: dict[str, str], code: ErrorCode
    ) -> None:
        settings = [CreatableTopicConfig(name=name, value=value) for name, value in configs.items()]
        new = CreatableTopic(name=topic, num_partitions=partitions, replication_factor=factor, configs=settings)
        (result,) = wire.ask(CreateTopicsRequest(topics=[new], timeout_ms=5000), 7).topics
        assert result.error_code == code
        assert result.error_message

    def test_metadata_does_not_create_where_that_is_not_allowed(self, wire: Wire, topic: str) -> None:
        asked = MetadataRequest(topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False)
        assert wire.ask(asked, 9).topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


class TestConfigs:
    def test_every_config_of_the_broker_is_told_with_its_sources(self, broker: RunningBroker, wire: Wire) -> None:
        (described,) = wire.ask(describe_broker(), 4).results
        configs = {config.name: config for config in described.configs}
        assert configs.keys() == {name for name, config in broker_definitions().items() if not config.internal}
        assert configs["inter.broker.protocol.version"].value
        assert configs["delete.topic.enable"].value == "true"
        assert [(synonym.name, synonym.source) for synonym in configs["log.retention.ms"].synonyms] == [
            ("log.retention.ms", 4),
            ("log.retention.hours", 5),
        ]
        assert configs["log.dirs"].value == str(broker.data)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("metric.reporters", "org.apache.kafka.common.metrics.JmxReporter"),
            ("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer"),
            ("principal.builder.class", "x.Y"),
            ("sasl.oauthbearer.jwks.endpoint.url", "http://127.0.0.1:1/"),
            ("ssl.keystore.location", "/etc/passwd"),
            ("log.dirs", "/tmp"),
        ],
    )
    @pytest.mark.parametrize("resource", ["", "1"])
    def test_what_names_code_files_or_addresses_is_never_altered(self, wire: Wire, name: str, value: str, resource: str) -> None:
        before = [(config.name, config.value) for config in wire.ask(describe_broker(), 4).results[0].configs]
        change = AlterableConfig(name=name, config_operation=0, value=value)
        altered = AlterConfigsResource(resource_type=4, resource_name=resource, configs=[change])
        (answer,) = wire.ask(IncrementalAlterConfigsRequest(resources=[altered]), 1).responses
        assert answer.error_code == ErrorCode.INVALID_REQUEST
        assert name in (answer.error_message or "")
        assert [(config.name, config.value) for config in wire.ask(describe_broker(), 4).results[0].configs] == before


def describe_broker() -> DescribeConfigsRequest:
    """A request for all configs of broker 1."""
    resource = DescribeConfigsResource(resource_type=4, resource_name="1", configuration_keys=None)
    return DescribeConfigsRequest(resources=[resource], include_synonyms=True)
