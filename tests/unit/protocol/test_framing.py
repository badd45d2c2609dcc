"""The int16 in front of messages that stand inside records."""

from __future__ import annotations

import pytest

from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.coordinator_records.classic_group import (
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolSubscription
from kafkax.protocol.coordinator_records.framing import CoordinatorKey, CoordinatorValue, VersionedMessage, leading_int16
from kafkax.protocol.coordinator_records.transaction import TransactionLogKey, TransactionLogValue
from kafkax.protocol.records import RecordBatch, iter_batches
from tests.messages import example, record_messages, versions
from tests.reference import needs_reference, reference


def test_every_message_within_a_record_survives_a_round_trip() -> None:
    for cls in record_messages():
        if issubclass(cls, CoordinatorKey):
            key = example(cls, cls.max_version)
            assert leading_int16(key.to_bytes()) == cls.api_key
            assert cls.from_bytes(memoryview(key.to_bytes())) == key
        elif issubclass(cls, VersionedMessage):
            for version in versions(cls):
                value = example(cls, version)
                assert cls.from_bytes(value.to_bytes(version)) == value
                assert leading_int16(value.to_bytes(version)) == version
            assert leading_int16(cls().to_bytes()) == cls.max_version


def test_keys_and_values_come_in_pairs() -> None:
    keys = {c.__name__.removesuffix("Key") for c in record_messages() if issubclass(c, CoordinatorKey)}
    values = {c.__name__.removesuffix("Value") for c in record_messages() if issubclass(c, CoordinatorValue)}
    assert keys == values


def test_the_bytes_of_a_committed_offset() -> None:
    assert OffsetCommitKey(group="g", topic="t", partition=2).to_bytes().hex() == "0001" "000167" "000174" "00000002"
    value = OffsetCommitValue(offset=9, leader_epoch=3, metadata="m", commit_timestamp=4)
    assert value.to_bytes(3).hex() == "0003" "0000000000000009" "00000003" "00016d" "0000000000000004"


def test_a_key_of_another_kind_or_a_version_of_the_future() -> None:
    for act in (
        lambda: GroupMetadataKey.from_bytes(OffsetCommitKey().to_bytes()),
        lambda: GroupMetadataValue.from_bytes(bytes.fromhex("0063") + bytes(40)),
    ):
        with pytest.raises(KafkaError) as caught:
            act()
        assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\1\0\1g"])
def test_too_few_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        OffsetCommitKey.from_bytes(data)


def test_a_subscription_of_the_future_is_read_as_far_as_it_is_known() -> None:
    now = ConsumerProtocolSubscription(topics=["a"], generation_id=4, rack_id="r")
    future = bytes.fromhex("0009") + now.to_bytes(3)[2:] + b"more"
    assert ConsumerProtocolSubscription.from_bytes(future) == now
    with pytest.raises(ProtocolError):
        ConsumerProtocolSubscription.from_bytes(future[:-8])
    with pytest.raises(ProtocolError, match="4 bytes are left over"):
        ConsumerProtocolSubscription.from_bytes(now.to_bytes(3) + b"more")


KINDS: dict[str, dict[int, tuple[type[CoordinatorKey], type[CoordinatorValue]]]] = {
    "__consumer_offsets-29": {1: (OffsetCommitKey, OffsetCommitValue), 2: (GroupMetadataKey, GroupMetadataValue)},
    "__transaction_state-20": {0: (TransactionLogKey, TransactionLogValue)},
    "__transaction_state-45": {0: (TransactionLogKey, TransactionLogValue)},
}


@needs_reference
@pytest.mark.parametrize("partition", KINDS)
def test_records_that_kafkas_coordinators_wrote(partition: str) -> None:
    segment = reference("logs", "kafka-4.3.1", partition, "00000000000000000000.log").read_bytes()
    kinds = set()
    for batch in iter_batches(segment):
        assert isinstance(batch, RecordBatch)
        for record in () if batch.control else batch.records():
            assert record.key is not None
            kinds.add(leading_int16(record.key))
            key, value = KINDS[partition][leading_int16(record.key)]
            assert key.from_bytes(record.key).to_bytes() == record.key
            if record.value is not None:
                assert value.from_bytes(record.value).to_bytes(leading_int16(record.value)) == record.value
    assert kinds == set(KINDS[partition])
