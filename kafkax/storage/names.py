"""The names of folders and files in a log directory, as Kafka gives them.

A partition's folder is ``topic-partition``.  A folder that is on its way out, not yet in use, or no longer wanted carries a
unique id (32 hex digits) and a mark behind a dot: ``topic-partition.<id>-delete``, ``-future``, ``-stray``.  Within a folder a
segment's files are named by its base offset, 20 digits, and a suffix.
"""

from __future__ import annotations

import enum
import re
import uuid
from typing import NamedTuple

from kafkax.model import TopicPartition, valid_topic_name

__all__ = [
    "CLEANED_SUFFIX",
    "DELETED_SUFFIX",
    "INDEX_SUFFIX",
    "LOG_SUFFIX",
    "SNAPSHOT_SUFFIX",
    "SWAP_SUFFIX",
    "TIME_INDEX_SUFFIX",
    "TXN_INDEX_SUFFIX",
    "FolderKind",
    "FolderName",
    "marked_name",
    "offset_of",
    "parse_folder",
    "segment_file",
]

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TXN_INDEX_SUFFIX = ".txnindex"
SNAPSHOT_SUFFIX = ".snapshot"
DELETED_SUFFIX = ".deleted"
CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"

_OFFSET_DIGITS = 20
_OFFSET = re.compile(r"([0-9]{20})[.-]")
_MAX_NAME = 255


class FolderKind(enum.Enum):
    """What the folder of a partition is for."""

    LIVE = ""
    DELETE = "-delete"
    """Deleted; its files go once ``file.delete.delay.ms`` is over."""
    FUTURE = "-future"
    """The copy that a move between log directories fills."""
    STRAY = "-stray"
    """No topic of the cluster owns it; kept for the operator."""


class FolderName(NamedTuple):
    """A parsed folder name."""

    partition: TopicPartition
    kind: FolderKind


def marked_name(partition: TopicPartition, kind: FolderKind, unique: uuid.UUID) -> str:
    """The folder name of ``partition`` with a mark; a topic too long for the file system is cut, except in ``-future``."""
    tail = f"-{partition.partition}.{unique.hex}{kind.value}"
    if kind is FolderKind.FUTURE and len(partition.topic) + len(tail) > _MAX_NAME:
        raise ValueError(f"the topic name of {partition} is too long for a folder that is still to be filled")
    return partition.topic[: _MAX_NAME - len(tail)] + tail


def parse_folder(name: str) -> FolderName | None:
    """What a folder in a log directory is; None when the name is no partition's.

    Topic names may contain dots and dashes, so the mark is read from the end.
    """
    kind = FolderKind.LIVE
    for candidate in (FolderKind.DELETE, FolderKind.FUTURE, FolderKind.STRAY):
        stem, dot, unique = name.removesuffix(candidate.value).rpartition(".")
        if name.endswith(candidate.value) and dot and len(unique) == 32 and _is_hex(unique):
            name, kind = stem, candidate
            break
    topic, dash, number = name.rpartition("-")
    if not dash or not valid_topic_name(topic) or not _is_partition(number):
        return None
    return FolderName(TopicPartition(topic, int(number)), kind)


def segment_file(base_offset: int, suffix: str) -> str:
    """The name of a segment's file."""
    return f"{base_offset:0{_OFFSET_DIGITS}d}{suffix}"


def offset_of(file_name: str) -> int | None:
    """The offset that a segment's file or a snapshot is named by; None when the name starts with no offset."""
    match = _OFFSET.match(file_name)
    return None if match is None else int(match[1])


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)


def _is_partition(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 2**31
