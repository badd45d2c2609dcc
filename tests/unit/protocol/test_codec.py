"""The compiled codec says, byte for byte, what the oracle says; about values, and about bytes that are no message."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kafkax.errors import ProtocolError
from kafkax.protocol import codec, oracle
from kafkax.protocol.message import Message
from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from kafkax.protocol.messages.fetch import FetchRequest, FetchResponse
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataResponse
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.messages import all_messages, example, record_messages, requests_and_responses, values, versions

MESSAGES = [pytest.param(cls, id=cls.__name__) for cls in all_messages()]
QUICK = settings(
    max_examples=4,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def decode_or_reason(cls: type[Message], data: bytes, version: int) -> Any:
    """The message, or the class of what was raised; anything but ProtocolError fails the test."""
    try:
        return cls.decode(data, version)
    except ProtocolError:
        return ProtocolError


def oracle_decode_or_reason(cls: type[Message], data: bytes, version: int) -> Any:
    try:
        return oracle.decode(cls, data, version)
    except ProtocolError:
        return ProtocolError


@pytest.mark.parametrize("cls", MESSAGES)
def test_compiled_code_and_oracle_agree_on_values(cls: type[Message]) -> None:
    for version in versions(cls):
        encode, decode = codec.compile_encoder(cls, version), codec.compile_decoder(cls, version)

        @QUICK
        @given(values(cls, version, cls.flexible(version)))
        def agree(message: Message) -> None:
            data = b"".join(encode(message))  # noqa: B023
            assert data == oracle.encode(message, version)  # noqa: B023
            assert decode(data) == message  # noqa: B023
            assert oracle.decode(cls, data, version) == message  # noqa: B023

        agree()


@pytest.mark.parametrize("cls", MESSAGES)
def test_a_message_cut_off_anywhere_is_refused(cls: type[Message]) -> None:
    for version in versions(cls):
        data = example(cls, version).encode(version)
        assert cls.decode(data, version).encode(version) == data
        for size in range(len(data)):
            with pytest.raises(ProtocolError):
                cls.decode(data[:size], version)
        with pytest.raises(ProtocolError):
            cls.decode(data + b"\0", version)


@pytest.mark.parametrize("cls", MESSAGES)
def test_damaged_and_random_bytes_raise_nothing_but_protocol_error(cls: type[Message]) -> None:
    source = random.Random(cls.__name__)
    for version in versions(cls):
        data = example(cls, version).encode(version)
        for _ in range(8):
            damaged = bytearray(data)
            for _ in range(source.choice((1, 1, 2, 8))):
                if damaged:
                    damaged[source.randrange(len(damaged))] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
            noise = source.randbytes(source.randrange(60))
            for attempt in (bytes(damaged), noise):
                assert decode_or_reason(cls, attempt, version) == oracle_decode_or_reason(cls, attempt, version)


CLAIMS = [
    pytest.param(MetadataRequest, 1, "7fffffff", id="an array"),
    pytest.param(MetadataRequest, 9, "ffffffff07", id="a compact array"),
    pytest.param(MetadataRequest, 1, "00000001" "7fff", id="a string"),
    pytest.param(ApiVersionsRequest, 3, "ffffffff07", id="a compact string"),
    pytest.param(ProduceRequest, 3, "ffff" "ffff" "00000000" "00000001" "000161" "00000001" "00000000" "7fffffff", id="records"),
    pytest.param(FetchRequest, 12, "00" * 24 + "01" + "ffffffff07" + "01", id="a compact array after the fixed fields"),
    pytest.param(ApiVersionsRequest, 3, "0101" "ffffffff07", id="tagged fields"),
    pytest.param(ApiVersionsRequest, 3, "0101" "01" "00" "ffffffff07", id="a tagged field"),
    pytest.param(MetadataRequest, 9, "808080808001", id="a length of six bytes"),
]


@pytest.mark.parametrize(("cls", "version", "claim"), CLAIMS)
def test_a_claim_beyond_what_remains_is_refused_without_allocating_for_it(cls: type[Message], version: int, claim: str) -> None:
    cls.decode(example(cls, version).encode(version), version)  # compiled before memory is watched
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=f"{cls.__name__} v{version}, byte"):
            cls.decode(bytes.fromhex(claim), version)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_null_where_it_is_not_allowed_is_refused() -> None:
    with pytest.raises(ProtocolError, match="topics: null is not allowed"):
        MetadataRequest.decode(bytes.fromhex("ffffffff"), 0)
    assert MetadataRequest.decode(bytes.fromhex("ffffffff"), 1).topics is None


def test_a_string_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not UTF-8"):
        MetadataRequest.decode(bytes.fromhex("00000001" "0002" "fffe"), 0)


def test_a_known_tagged_field_must_fill_its_size() -> None:
    good = FetchRequest(cluster_id="ab").encode(12)
    assert good.endswith(bytes.fromhex("0100" "03" "036162"))
    with pytest.raises(ProtocolError, match="cluster_id: its size is wrong"):
        FetchRequest.decode(good[:-6] + bytes.fromhex("0100" "04" "036162" "00"), 12)


def test_unknown_tagged_fields_are_kept_and_written_in_order() -> None:
    message = FetchRequest(cluster_id="c", unknown_tags={900: b"late", 7: b"early"})
    decoded = FetchRequest.decode(message.encode(12), 12)
    assert decoded.unknown_tags == {900: b"late", 7: b"early"}
    assert message.encode(12).endswith(bytes.fromhex("03" "0002" "0263" "0705") + b"early" + bytes.fromhex("840704") + b"late")


def test_records_are_a_view_into_the_frame() -> None:
    batch = bytes(1000)
    topic = TopicProduceData(name="t", partition_data=[PartitionProduceData(index=3, records=batch)])
    frame = ProduceRequest(acks=-1, timeout_ms=5, topic_data=[topic]).encode(9)
    records = ProduceRequest.decode(frame, 9).topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    assert records.obj is frame
    assert records == batch


def test_records_are_a_part_of_their_own_and_may_be_anything_with_a_length() -> None:
    class Slice:
        def __len__(self) -> int:
            return 70_000

    response = example(FetchResponse, 11)
    slices = [Slice() for topic in response.responses for _ in topic.partitions]
    for partition, piece in zip((p for t in response.responses for p in t.partitions), slices, strict=True):
        partition.records = piece
    parts = response.encode_parts(11)
    assert [part for part in parts if isinstance(part, Slice)] == slices


@pytest.mark.parametrize("cls", [MetadataResponse, FetchRequest])
def test_decoding_takes_any_buffer(cls: type[Message]) -> None:
    message = example(cls, 9)
    data = message.encode(9)
    assert cls.decode(memoryview(b"x" + data)[1:], 9) == cls.decode(bytearray(data), 9) == message


def test_every_message_is_among_the_tested() -> None:
    assert len(requests_and_responses()) == 168
    assert len(record_messages()) == 53
