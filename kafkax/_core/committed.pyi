"""Committed offsets as they stand in ``__consumer_offsets``, read by the million while a coordinator loads."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

def gather_commits(
    data: bytes,
    position: int,
    gathered: dict[str, list[bytes]],
    begin: Callable[[str], object],
    other: Callable[[bytes, bytes | None], object],
) -> int:
    """Sort the offset commits of plain batches (magic 2, neither compressed, transactional nor control) by group.

    Args:
        data: batches, from ``position`` on; the last one may be cut short.
        position: where to begin.
        gathered: gets the records of each group, in order.
        begin: told each group that comes and is not in ``gathered``.
        other: gets key and value of every record that is no offset commit of value version 3 or 4, in its place.

    Returns:
        The position of the first batch that is not plain or not whole; the length of ``data`` when there is none.

    Raises:
        KafkaError: CORRUPT_MESSAGE, INVALID_RECORD.
    """

def unpack_commits(
    gathered: list[bytes],
    offsets: dict[tuple[str, int], Any],
    make: type[tuple[Any, ...]],
    make_id: Callable[[bytes], UUID],
    none: UUID,
) -> None:
    """Apply records of one group that were gathered to its offsets.

    Args:
        gathered: the records, in order.
        offsets: by topic and partition.
        make: the tuple of a committed offset: offset, leader epoch, metadata, commit timestamp, expiry (-1), topic id.
        make_id: makes an id of 16 bytes.
        none: the id of a topic that is not known.
    """
