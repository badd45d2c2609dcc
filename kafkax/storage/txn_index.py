"""``<base offset>.txnindex``: the aborted transactions that end in a segment, in Kafka's version 0.

Per transaction 34 bytes, big-endian: int16 version, int64 producer id, int64 first offset, int64 last offset (its marker),
int64 last stable offset when the marker was written.  Appended to, in the order of the markers.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

from kafkax.storage.files import MalformedFile

__all__ = ["AbortedTransaction", "encode_transaction", "parse_transactions", "read_transactions"]

_ENTRY = struct.Struct(">hqqqq")


class AbortedTransaction(NamedTuple):
    """A transaction that was aborted: the offsets of its first record and of its marker."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


def encode_transaction(transaction: AbortedTransaction) -> bytes:
    """The index entry of an aborted transaction."""
    return _ENTRY.pack(0, *transaction)


def parse_transactions(path: Path, data: bytes, base_offset: int = 0) -> list[AbortedTransaction]:
    """The transactions in ``data``, oldest marker first; ``path`` only names them in a :class:`MalformedFile`."""
    if len(data) % _ENTRY.size:
        raise MalformedFile(path, f"{len(data)} bytes are not a whole number of {_ENTRY.size}-byte entries")
    transactions: list[AbortedTransaction] = []
    previous = base_offset - 1
    for version, *fields in _ENTRY.iter_unpack(data):
        entry = AbortedTransaction._make(fields)
        if version != 0:
            raise MalformedFile(path, f"version {version} of entry {len(transactions)} is not known, 0 is")
        if not 0 <= entry.first_offset <= entry.last_offset or entry.last_offset <= previous:
            raise MalformedFile(path, f"entry {len(transactions)} is out of order: {entry} after offset {previous}")
        previous = entry.last_offset
        transactions.append(entry)
    return transactions


def read_transactions(path: str | os.PathLike[str]) -> list[AbortedTransaction]:
    """The transactions in the file, oldest marker first; none when it does not exist.

    Raises :class:`MalformedFile` and :class:`OSError`.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    return parse_transactions(Path(path), data)
