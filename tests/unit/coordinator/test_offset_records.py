"""Offset commits in ``__consumer_offsets``: the quick way writes and reads the same bytes as the declared messages."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.coordinator.offset_records import CommittedOffset, decode_key, decode_value, encode_key, encode_value
from kafkax.errors import ProtocolError
from kafkax.protocol.coordinator_records.classic_group import (
    LegacyOffsetCommitValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from kafkax.protocol.schema import ZERO_UUID

INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)


@given(st.text(max_size=40), st.text(max_size=40), INT32)
def test_keys(group: str, topic: str, partition: int) -> None:
    key = encode_key(group, topic, partition)
    assert key == OffsetCommitKey(group=group, topic=topic, partition=partition).to_bytes()
    assert decode_key(key) == (group, topic, partition)


@given(INT64, INT32, st.text(max_size=300), INT64, st.uuids() | st.just(ZERO_UUID))
def test_values_of_version_4(offset: int, epoch: int, metadata: str, timestamp: int, topic_id: UUID) -> None:
    value = encode_value(CommittedOffset(offset, epoch, metadata, timestamp, -1, topic_id))
    declared = OffsetCommitValue(
        offset=offset, leader_epoch=epoch, metadata=metadata, commit_timestamp=timestamp, topic_id=topic_id
    )
    assert value == declared.to_bytes(4)
    assert decode_value(1, value) == CommittedOffset(offset, epoch, metadata, timestamp, -1, topic_id)


def test_an_expiry_of_its_own_is_written_in_version_1() -> None:
    value = encode_value(CommittedOffset(5, 3, "m", 10, 99))
    assert value[:2] == b"\0\1"
    assert decode_value(1, value) == CommittedOffset(5, -1, "m", 10, 99)


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4])
def test_every_version_is_read(version: int) -> None:
    value = OffsetCommitValue(offset=7, metadata="m", commit_timestamp=8).to_bytes(version)
    assert decode_value(1, value) == CommittedOffset(7, -1, "m", 8)


def test_values_from_before_0_8_2_are_read() -> None:
    value = LegacyOffsetCommitValue(offset=7, metadata="m", commit_timestamp=8).to_bytes(0)
    assert decode_value(0, value) == CommittedOffset(7, -1, "m", 8)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_key_are_refused(junk: bytes) -> None:
    try:
        group, topic, partition = decode_key(junk)
    except ProtocolError:
        return
    assert encode_key(group, topic, partition)[2:] == junk[2:]


def test_a_cut_key_is_refused() -> None:
    key = encode_key("group", "topic", 1)
    for end in range(len(key)):
        with pytest.raises(ProtocolError):
            decode_key(key[:end])
    with pytest.raises(ProtocolError):
        decode_key(key + b"\0")
