"""What a version can't carry is refused by name, unless Kafka lets it be dropped."""

from __future__ import annotations

import pytest

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.message import Message
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from kafkax.protocol.messages.describe_topic_partitions import Cursor, DescribeTopicPartitionsRequest
from kafkax.protocol.messages.fetch import FetchRequest, FetchTopic, ReplicaState
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse


def test_a_version_that_does_not_exist() -> None:
    for act in (lambda: MetadataRequest().encode(14), lambda: MetadataRequest.decode(b"", -1)):
        with pytest.raises(KafkaError, match=r"MetadataRequest has no version -?1.*0 to 13 are known") as caught:
            act()
        assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    ("message", "version", "named"),
    [
        (MetadataRequest(allow_auto_topic_creation=False), 3, "allow_auto_topic_creation = False"),
        (MetadataRequest(topics=None), 0, "topics = None"),
        (MetadataRequest(topics=[MetadataRequestTopic(name=None)]), 9, r"topics\[0\].name = None"),
        (FetchRequest(replica_state=ReplicaState(replica_id=3)), 14, "replica_state = "),
        (FetchRequest(replica_id=3), 15, "replica_id = 3"),
        (JoinGroupRequest(group_instance_id="a"), 4, "group_instance_id = 'a'"),
    ],
)
def test_a_value_that_the_version_cannot_carry(message: Message, version: int, named: str) -> None:
    with pytest.raises(KafkaError, match=f"version {version} cannot carry {type(message).__name__}.{named}") as caught:
        message.encode(version)
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


def test_an_ignorable_value_is_dropped() -> None:
    assert MetadataResponse(cluster_id="c", throttle_time_ms=9).encode(1) == MetadataResponse().encode(1)
    assert FetchRequest(rack_id="r").encode(10) == FetchRequest().encode(10)


@pytest.mark.parametrize(
    ("message", "error", "named"),
    [
        (FetchRequest(min_bytes=1 << 31), ValueError, "FetchRequest.min_bytes: 2147483648 is no int32"),
        (FetchRequest(max_wait_ms="soon"), ValueError, "FetchRequest.max_wait_ms: 'soon' is no int32"),  # type: ignore[arg-type]
        (FetchRequest(rack_id=None), TypeError, "FetchRequest.rack_id: None is not allowed"),  # type: ignore[arg-type]
        (FetchRequest(rack_id=b"r"), TypeError, "FetchRequest.rack_id: a str wanted"),  # type: ignore[arg-type]
        (FetchRequest(rack_id="\ud800"), ValueError, "FetchRequest.rack_id: .*surrogates"),
        (FetchRequest(rack_id="x" * 32768), ValueError, "FetchRequest.rack_id: 32768 bytes"),
        (FetchRequest(topics=[FetchTopic(topic=None)]), TypeError, r"topics\[0\].topic: None"),  # type: ignore[arg-type]
        (FetchRequest(topics=[None]), TypeError, r"topics\[0\]: None"),  # type: ignore[list-item]
        (JoinGroupRequest(protocols=[JoinGroupRequestProtocol(metadata="x")]), TypeError, "metadata: bytes"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("version", [11, 12])
def test_a_value_that_does_not_fit_is_named(message: Message, error: type[Exception], named: str, version: int) -> None:
    with pytest.raises(error, match=named):
        message.encode(min(version, message.max_version))


def test_numbers_of_enums_are_numbers() -> None:
    assert MetadataResponse(error_code=ErrorCode.UNKNOWN_TOPIC_ID).encode(13) == MetadataResponse(error_code=100).encode(13)


def test_a_null_struct_takes_one_byte() -> None:
    absent = DescribeTopicPartitionsRequest().encode(0)
    assert absent == bytes.fromhex("01" "000007d0" "ff" "00")
    present = DescribeTopicPartitionsRequest(cursor=Cursor(topic_name="a")).encode(0)
    assert DescribeTopicPartitionsRequest.decode(present, 0).cursor == Cursor(topic_name="a", partition_index=0)


def test_null_lists_and_empty_lists_differ() -> None:
    unchanged, nothing = ConsumerGroupHeartbeatRequest(), ConsumerGroupHeartbeatRequest(topic_partitions=[])
    assert unchanged.topic_partitions is None
    assert ConsumerGroupHeartbeatRequest.decode(unchanged.encode(0), 0).topic_partitions is None
    assert ConsumerGroupHeartbeatRequest.decode(nothing.encode(0), 0).topic_partitions == []


def test_flexible_versions() -> None:
    assert not MetadataRequest.flexible(8)
    assert MetadataRequest.flexible(9)
