"""What Produce checks inside a batch that the core hands over: compressed records, and topics with their own compression.

The core validates everything that can be seen without decompression; here the records are unpacked under a limit, checked,
and packed again only where the topic's ``compression.type`` asks for another codec than the producer used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS
from kafkax.protocol.records import RecordBatch, build_batch

if TYPE_CHECKING:
    from kafkax.config import TopicConfig
    from kafkax.protocol.record import Record

__all__ = ["NO_KEY", "OUT_OF_BOUNDS", "RecordProblem", "validated_batch"]

PRODUCER = "producer"
UNCOMPRESSED = "uncompressed"
NO_KEY = "a record of a compacted topic needs a key"
OUT_OF_BOUNDS = "the timestamp is outside the bounds that the topic sets"


class RecordProblem(KafkaError):
    """Some records of a batch are not acceptable (KIP-467).

    Attributes:
        records: (index in the batch, what is wrong with it), ascending.
    """

    def __init__(self, code: ErrorCode, records: list[tuple[int, str]]) -> None:
        super().__init__(code, records[0][1])
        self.records = records


def validated_batch(data: memoryview | bytes, config: TopicConfig, now_ms: int) -> bytes | memoryview:
    """Check the records of one batch and return what is to be appended: the same bytes wherever possible.

    Args:
        data: one batch whose header and checksum the core has checked.
        config: the topic's configs.
        now_ms: wall clock, milliseconds since the epoch.

    Raises:
        KafkaError: CORRUPT_MESSAGE, MESSAGE_TOO_LARGE or INVALID_RECORD for the batch as a whole.
        RecordProblem: INVALID_RECORD or INVALID_TIMESTAMP for single records.
    """
    batch = RecordBatch(memoryview(data))
    records = list(batch.records(config["kafkax.decompressed.max.bytes"]))
    _check_offsets(batch, records)
    if "compact" in config["cleanup.policy"]:
        _refuse(ErrorCode.INVALID_RECORD, NO_KEY, [r.key is None for r in records])
    if config["message.timestamp.type"] == "CreateTime":
        _check_timestamps(records, config, now_ms)
    wanted = str(config["compression.type"])
    if wanted == UNCOMPRESSED:
        wanted = CODECS[0]
    if wanted in (PRODUCER, batch.compression):
        return data
    return build_batch(
        records,
        compression=wanted,
        level=config[f"compression.{wanted}.level"] if f"compression.{wanted}.level" in tuple(config) else None,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        transactional=batch.transactional,
    )


def _check_offsets(batch: RecordBatch, records: list[Record]) -> None:
    """Offsets within a producer's batch count up from its base without gaps."""
    if any(record.offset - batch.base_offset != index for index, record in enumerate(records)):
        raise KafkaError(ErrorCode.INVALID_RECORD, "the offsets within the batch do not count up from 0")
    if batch.last_offset_delta != len(records) - 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"the batch claims a last offset delta of {batch.last_offset_delta} for {len(records)} records",
        )


def _check_timestamps(records: list[Record], config: TopicConfig, now_ms: int) -> None:
    before, after = config["message.timestamp.before.max.ms"], config["message.timestamp.after.max.ms"]
    outside = [
        record.timestamp >= 0 and (now_ms - record.timestamp > before or record.timestamp - now_ms > after) for record in records
    ]
    _refuse(ErrorCode.INVALID_TIMESTAMP, OUT_OF_BOUNDS, outside)


def _refuse(code: ErrorCode, reason: str, found: list[bool]) -> None:
    problems = [(index, reason) for index, bad in enumerate(found) if bad]
    if problems:
        raise RecordProblem(code, problems)
    return
