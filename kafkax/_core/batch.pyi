"""Record batches of magic 2, for tests and tools: what the core's validation says about bytes."""

from typing import NamedTuple

from typing_extensions import Buffer

class BatchHeader(NamedTuple):
    """Header of a record batch; ``size`` is the whole batch's in bytes, timestamps are milliseconds since the epoch."""

    base_offset: int
    last_offset: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    size: int
    leader_epoch: int
    base_sequence: int
    count: int  # type: ignore[assignment]  # the tuple method of that name is of no use here
    crc: int
    attributes: int
    producer_epoch: int

def read_header(data: Buffer) -> BatchHeader:
    """Header of the batch at the start of ``data``. Raises KafkaError CORRUPT_MESSAGE when its size or checksum is wrong."""

def end_of(data: Buffer) -> tuple[int, int] | None:
    """Offset behind the last whole batch of ``data``, and that batch's leader epoch; None where what is there is not batches.

    A piece of a batch may follow.  Checksums are not looked at.
    """

def validate_records(
    data: Buffer,
    *,
    need_key: bool = False,
    min_timestamp: int | None = None,
    max_timestamp: int | None = None,
    limit: int = 256 << 20,
) -> list[tuple[int, str]]:
    """Walk the records of one batch, of which at most ``limit`` bytes are decompressed.

    Returns (index of the record in the batch, ``"key"`` or ``"timestamp"``) for each record that breaks a rule: no key although
    ``need_key``, a timestamp outside the bounds. Raises KafkaError INVALID_RECORD when the records do not parse, and
    what decompression raises.
    """

class Walk(NamedTuple):
    """What the walk before an append found: the largest timestamp, the first record that has it, and what breaks the rules.

    ``error_kind``, and that of each of the first ``errors`` beside the record's index: 1 for no key, 2 for a timestamp.
    """

    max_timestamp: int
    max_timestamp_index: int
    error_count: int
    error_kind: int
    errors: list[tuple[int, int]]

def walk(
    data: Buffer,
    *,
    need_key: bool = False,
    min_timestamp: int | None = None,
    max_timestamp: int | None = None,
    room: int = 8,
) -> Walk:
    """Walk the records of one uncompressed batch as an append does. Of those that break a rule the first ``room`` are named.

    Raises KafkaError INVALID_RECORD when the records do not parse. ``room`` is 64 at most.
    """
