"""Committed offsets as they stand in ``__consumer_offsets``, read by the million while a coordinator loads."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

def replay_commits(
    data: bytes,
    position: int,
    committed: dict[str, Any],
    begin: Callable[[str], dict[tuple[str, int], Any]],
    make: type[tuple[Any, ...]],
    topic_id: Callable[[bytes], UUID],
    none: UUID,
    other: Callable[[bytes, bytes | None], object],
) -> int:
    """Apply the records of plain batches (magic 2, neither compressed, transactional nor control) to committed offsets.

    Args:
        data: batches, from ``position`` on; the last one may be cut short.
        position: where to begin.
        committed: by group and then by (topic, partition).
        begin: makes the offsets of a group that has none yet, and puts them into ``committed``.
        make: the tuple of a committed offset: offset, leader epoch, metadata, commit timestamp, expiry (-1), topic id.
        topic_id: makes an id of 16 bytes.
        none: the id of a topic that is not known.
        other: gets key and value of every record that is no offset commit of value version 3 or 4, in its place.

    Returns:
        The position of the first batch that is not plain or not whole; the length of ``data`` when there is none.

    Raises:
        KafkaError: CORRUPT_MESSAGE, INVALID_RECORD.
    """
