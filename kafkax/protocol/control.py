"""Control records: what a broker writes between the data, and consumers never see.

Their key tells the kind: an int16 version and an int16 type.  The value of the two that end a transaction holds the epoch of
the coordinator that decided.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.coordinator_records.markers import EndTxnMarker
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

__all__ = ["ControlType", "end_transaction_batch"]

_KEY = struct.Struct(">hh")


class ControlType(IntEnum):
    """The kind of a control record."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6
    UNKNOWN = -1

    @classmethod
    def of(cls, record: Record) -> ControlType:
        """The kind of a record from a control batch; UNKNOWN when it came later than this list.

        Raises:
            KafkaError: INVALID_RECORD when the key is too short.
        """
        if record.key is None or len(record.key) < _KEY.size:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"the control record at offset {record.offset} has no type in its key")
        number = _KEY.unpack_from(record.key)[1]
        return cls(number) if number in cls._value2member_map_ else cls.UNKNOWN


def end_transaction_batch(
    commit: bool,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    timestamp: int,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytes:
    """The batch that ends a producer's transaction in one partition; ``timestamp`` in milliseconds since the epoch."""
    kind = ControlType.COMMIT if commit else ControlType.ABORT
    marker = EndTxnMarker(coordinator_epoch=coordinator_epoch)
    return build_batch(
        [Record(_KEY.pack(0, kind), marker.to_bytes(), timestamp=timestamp)],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )
