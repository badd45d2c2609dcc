"""Checkpoint files: one offset per partition, in Kafka's text format.

A file is ``0`` (the version), the number of entries, then ``topic partition offset`` lines.  Four of them stand in every log
directory: what recovery may skip, up to where followers had committed, where logs begin, and how far the cleaner came.
An empty file, which Kafka creates before it has anything to write, has no entries.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from kafkax.model import TopicPartition
from kafkax.storage.files import MalformedFile, write_atomically

__all__ = [
    "CLEANER_OFFSET",
    "LOG_START_OFFSET",
    "RECOVERY_POINT",
    "REPLICATION_OFFSET",
    "OffsetCheckpoint",
    "encode_offsets",
    "parse_entries",
    "parse_offsets",
]

RECOVERY_POINT = "recovery-point-offset-checkpoint"
REPLICATION_OFFSET = "replication-offset-checkpoint"
LOG_START_OFFSET = "log-start-offset-checkpoint"
CLEANER_OFFSET = "cleaner-offset-checkpoint"

_VERSION = "0"
_MAX_INT64 = 2**63 - 1


class OffsetCheckpoint:
    """One checkpoint file of a log directory.

    Not locked: each file has one writer (the log manager, the replica manager, or the cleaner).
    """

    __slots__ = ("path",)

    def __init__(self, directory: str | os.PathLike[str], name: str) -> None:
        self.path = Path(directory) / name

    def read(self) -> dict[TopicPartition, int]:
        """The entries; none when the file does not exist.  Raises :class:`MalformedFile` and :class:`OSError`."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return parse_offsets(self.path, data)

    def write(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Replace the file's entries; raises :class:`OSError`."""
        write_atomically(self.path, encode_offsets(offsets))


def encode_offsets(offsets: Mapping[TopicPartition, int]) -> bytes:
    """A checkpoint file's content for ``offsets``."""
    lines = [_VERSION, str(len(offsets))]
    lines.extend(f"{topic} {partition} {offset}" for (topic, partition), offset in offsets.items())
    return ("\n".join(lines) + "\n").encode("ascii")


def parse_entries(path: Path, data: bytes) -> list[str]:
    """The entry lines of a version-0 checkpoint file, whose count is checked; raises :class:`MalformedFile`."""
    if not data:
        return []
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedFile(path, f"byte {error.start} is not ASCII") from None
    if lines.pop() != "":
        raise MalformedFile(path, "the last line is not complete")
    if lines[0] != _VERSION:
        raise MalformedFile(path, f"version {lines[0]!r} is not known, {_VERSION} is")
    if len(lines) < 2 or not _is_number(lines[1]) or int(lines[1]) != len(lines) - 2:
        claimed = lines[1] if len(lines) > 1 else "nothing"
        raise MalformedFile(path, f"the second line says {claimed!r} entries, there are {max(len(lines) - 2, 0)}")
    return lines[2:]


def parse_offsets(path: Path, data: bytes) -> dict[TopicPartition, int]:
    """The entries of a checkpoint file's content; raises :class:`MalformedFile`."""
    offsets: dict[TopicPartition, int] = {}
    for number, line in enumerate(parse_entries(path, data), start=3):
        fields = line.split(" ")
        if len(fields) != 3 or not fields[0] or not _is_number(fields[1]) or not _is_number(fields[2]):
            raise MalformedFile(path, f"line {number} is {line!r}, not 'topic partition offset'")
        partition, offset = int(fields[1]), int(fields[2])
        key = TopicPartition(fields[0], partition)
        if offset > _MAX_INT64 or partition >= 2**31 or key in offsets:
            raise MalformedFile(path, f"line {number}, {line!r}, is out of range or named twice")
        offsets[key] = offset
    return offsets


def _is_number(text: str) -> bool:
    """Whether the text is a plain non-negative decimal of at most 19 digits."""
    return text.isdigit() and len(text) <= 19
