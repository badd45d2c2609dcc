"""Offset commits as they stand in ``__consumer_offsets``: a quick way for records that are written and read by the million.

The same bytes as :mod:`kafkax.protocol.coordinator_records.classic_group` declares (keys of kind 0 and 1, values of
versions 0 to 4), which a test holds it to.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import NamedTuple
from uuid import UUID

from kafkax.errors import ProtocolError
from kafkax.protocol.coordinator_records.classic_group import LegacyOffsetCommitValue, OffsetCommitValue
from kafkax.protocol.schema import ZERO_UUID
from kafkax.protocol.varint import uvarint

__all__ = ["NO_EXPIRY", "CommittedOffset", "OffsetRecord", "decode_key", "decode_value", "encode_key", "encode_value"]

NO_EXPIRY = -1

_KEY_KIND = 1
_NEWEST = 4
_SHORT = Struct(">h")
_KEY_HEAD = Struct(">hh")
_INT32 = Struct(">i")
_V4_HEAD = Struct(">hqi")
_INT64 = Struct(">q")
_TOPIC_ID = b"\x01\x00\x10"
"""One tagged field, tag 0, 16 bytes."""


class CommittedOffset(NamedTuple):
    """A committed offset.

    Attributes:
        offset: the next offset to read.
        leader_epoch: of the last record read; -1 unknown.
        metadata: the committer's own note.
        commit_timestamp_ms: wall time of the commit.
        expire_timestamp_ms: when it expires whatever the retention; -1 unless an old client asked so.
        topic_id: of the topic; the zero uuid unknown.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    commit_timestamp_ms: int = -1
    expire_timestamp_ms: int = NO_EXPIRY
    topic_id: UUID = ZERO_UUID


class OffsetRecord(NamedTuple):
    """An offset commit to append; None deletes the offset."""

    group: str
    topic: str
    partition: int
    committed: CommittedOffset | None


def encode_key(group: str, topic: str, partition: int) -> bytes:
    """The key of a committed offset."""
    group_bytes, topic_bytes = group.encode(), topic.encode()
    return b"%b%b%b%b%b" % (
        _KEY_HEAD.pack(_KEY_KIND, len(group_bytes)),
        group_bytes,
        _SHORT.pack(len(topic_bytes)),
        topic_bytes,
        _INT32.pack(partition),
    )


def decode_key(key: bytes) -> tuple[str, str, int]:
    """Group, topic and partition of a key of kind 0 or 1.

    Raises:
        ProtocolError: the bytes do not parse.
    """
    try:
        topic_at = 4 + _SHORT.unpack_from(key, 2)[0]
        partition_at = topic_at + 2 + _SHORT.unpack_from(key, topic_at)[0]
        if topic_at < 4 or partition_at < topic_at + 2 or partition_at + 4 != len(key):
            raise ProtocolError(f"the key of an offset commit does not fit into its {len(key)} bytes")
        partition: int = _INT32.unpack_from(key, partition_at)[0]
        return str(key[4:topic_at], "utf-8"), str(key[topic_at + 2 : partition_at], "utf-8"), partition
    except (StructError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the key of an offset commit does not parse: {error}") from None


def encode_value(committed: CommittedOffset) -> bytes:
    """The value of a committed offset: version 4, or 1 when it has its own expiry as only old versions carry one."""
    if committed.expire_timestamp_ms != NO_EXPIRY:
        return OffsetCommitValue(
            offset=committed.offset,
            metadata=committed.metadata,
            commit_timestamp=committed.commit_timestamp_ms,
            expire_timestamp=committed.expire_timestamp_ms,
        ).to_bytes(1)
    metadata = committed.metadata.encode()
    return b"%b%b%b%b%b" % (
        _V4_HEAD.pack(_NEWEST, committed.offset, committed.leader_epoch),
        uvarint(len(metadata) + 1),
        metadata,
        _INT64.pack(committed.commit_timestamp_ms),
        _TOPIC_ID + committed.topic_id.bytes if committed.topic_id.int else b"\x00",
    )


def decode_value(key_kind: int, value: bytes) -> CommittedOffset:
    """A committed offset from its value; ``key_kind`` is 0 for records of Kafka before 0.8.2, else 1.

    Raises:
        ProtocolError: the bytes do not parse.
        KafkaError: UNSUPPORTED_VERSION when the value is of an unknown version.
    """
    if key_kind == 0:
        legacy = LegacyOffsetCommitValue.from_bytes(value)
        return CommittedOffset(legacy.offset, -1, legacy.metadata, legacy.commit_timestamp)
    decoded = OffsetCommitValue.from_bytes(value)
    return CommittedOffset(
        decoded.offset,
        decoded.leader_epoch,
        decoded.metadata,
        decoded.commit_timestamp,
        decoded.expire_timestamp,
        decoded.topic_id,
    )
