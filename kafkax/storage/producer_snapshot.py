"""``<offset>.snapshot``: what a log knows of its producers at an offset, in Kafka's version 1.

int16 version, uint32 CRC32C of all that follows, int32 count, then per producer: int64 id, int16 epoch, int32 last sequence,
int64 last offset, int32 offset delta of that batch, int64 timestamp (ms), int32 coordinator epoch, int64 first offset of the
open transaction (-1: none).  Big-endian.  A snapshot saves recovery from reading the log before it; one that does not
check out is ignored for an older one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kafkax._core.crc32c import crc32c
from kafkax.storage.files import MalformedFile, write_atomically

__all__ = ["ProducerEntry", "encode_snapshot", "parse_snapshot", "read_snapshot", "write_snapshot"]

_HEADER = struct.Struct(">hIi")
_ENTRY = struct.Struct(">qhiqiqiq")
_CRC_START = 6


class ProducerEntry(NamedTuple):
    """The state of one producer id at the snapshot's offset; -1 where nothing is known."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int
    coordinator_epoch: int
    current_transaction_first_offset: int


def encode_snapshot(entries: Sequence[ProducerEntry]) -> bytes:
    """The file's content for ``entries``."""
    body = struct.pack(">i", len(entries)) + b"".join(_ENTRY.pack(*entry) for entry in entries)
    return struct.pack(">hI", 1, crc32c(body)) + body


def parse_snapshot(path: Path, data: bytes) -> list[ProducerEntry]:
    """The producers in ``data``; ``path`` only names them in a :class:`MalformedFile`."""
    if len(data) < _HEADER.size:
        raise MalformedFile(path, f"{len(data)} bytes are less than the header's {_HEADER.size}")
    version, crc, count = _HEADER.unpack_from(data)
    if version != 1:
        raise MalformedFile(path, f"version {version} is not known, 1 is")
    if crc != crc32c(memoryview(data)[_CRC_START:]):
        raise MalformedFile(path, "the checksum does not fit the content")
    if count < 0 or len(data) != _HEADER.size + count * _ENTRY.size:
        raise MalformedFile(path, f"{count} entries do not fill {len(data)} bytes")
    return [ProducerEntry._make(fields) for fields in _ENTRY.iter_unpack(memoryview(data)[_HEADER.size :])]


def read_snapshot(path: str | os.PathLike[str]) -> list[ProducerEntry]:
    """The producers in the file; raises :class:`MalformedFile` and :class:`OSError`."""
    return parse_snapshot(Path(path), Path(path).read_bytes())


def write_snapshot(path: str | os.PathLike[str], entries: Sequence[ProducerEntry]) -> None:
    """Write a snapshot; raises :class:`OSError`."""
    write_atomically(path, encode_snapshot(entries))
