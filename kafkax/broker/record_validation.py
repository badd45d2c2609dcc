"""What Produce checks inside a batch that the core hands over: compressed records, and topics with their own compression.

The core validates everything that can be seen without decompression; here the records are unpacked under a limit, checked,
and packed again only where the topic's ``compression.type`` asks for another codec than the producer used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax._core.log import AppendError, RecordErrors
from kafkax._core.record_errors import MOST
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import CODECS
from kafkax.protocol.records import RecordBatch, build_batch, first_size

if TYPE_CHECKING:
    from kafkax.config import TopicConfig
    from kafkax.protocol.record import Record

__all__ = ["validated_batch"]

PRODUCER = "producer"
UNCOMPRESSED = "uncompressed"
_NO_TIMESTAMP = -1


def validated_batch(
    data: memoryview | bytes, config: TopicConfig, now_ms: int, *, log_start_offset: int = -1
) -> bytes | memoryview:
    """Check the records of one batch and return what is to be appended: the same bytes wherever possible.

    Args:
        data: one batch whose header and checksum the core has checked.
        config: the topic's configs.
        now_ms: wall clock, milliseconds since the epoch.
        log_start_offset: of the log that the batch is for; errors carry it as the core's do.

    Raises:
        KafkaError: CORRUPT_MESSAGE or MESSAGE_TOO_LARGE for the batch as a whole.
        AppendError: INVALID_RECORD for the batch as a whole.
        RecordErrors: INVALID_RECORD or INVALID_TIMESTAMP for single records.
    """
    # What is cut off behind the batch is none of its bytes.
    data = data[: first_size(data)]
    batch = RecordBatch(memoryview(data))
    try:
        records = list(batch.records(config["kafkax.decompressed.max.bytes"]))
        _check_offsets(batch, records)
    except KafkaError as error:
        if error.code is not ErrorCode.INVALID_RECORD:
            raise
        raise AppendError(error.code, log_start_offset) from error
    errors = _record_errors(records, config, now_ms)
    if errors:
        late = any(what == "timestamp" for _, what in errors)
        code = ErrorCode.INVALID_TIMESTAMP if late else ErrorCode.INVALID_RECORD
        raise RecordErrors(code, errors[:MOST], log_start_offset)
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


def _record_errors(records: list[Record], config: TopicConfig, now_ms: int) -> list[tuple[int, str]]:
    """(index, what is wrong with it) of each record that breaks a rule of the topic; a missing key is told before the time."""
    need_key = "compact" in config["cleanup.policy"]
    bounded = config["message.timestamp.type"] == "CreateTime"
    earliest = now_ms - config["message.timestamp.before.max.ms"]
    latest = now_ms + config["message.timestamp.after.max.ms"]
    errors = []
    for index, record in enumerate(records):
        if need_key and record.key is None:
            errors.append((index, "key"))
        elif bounded and record.timestamp != _NO_TIMESTAMP and not earliest <= record.timestamp <= latest:
            errors.append((index, "timestamp"))
    return errors
