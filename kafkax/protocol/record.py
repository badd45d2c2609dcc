"""One record, as producers hand it over and readers get it back, whatever the format of the batch around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["NO_TIMESTAMP", "Record"]

NO_TIMESTAMP = -1
"""The timestamp of a record that has none."""


class Record(NamedTuple):
    """A record.

    Attributes:
        key: None is a record without key, which is not the same as an empty one.
        value: None is a tombstone.
        headers: names and values in their order; a name may come more than once. Bytes of a name that are no UTF-8 are kept as
            surrogates.
        timestamp: milliseconds since the epoch, or :data:`NO_TIMESTAMP`.
        offset: place in the partition; -1 before a broker has assigned it.
    """

    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int = NO_TIMESTAMP
    offset: int = -1
