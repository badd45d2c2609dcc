"""``partition.metadata``: the topic id of the partition in a directory (KIP-516).

Two lines, ``version: 0`` and ``topic_id: <id>``, where an id is a uuid in URL-safe base64 without padding.
"""

from __future__ import annotations

import base64
import os
import re
import uuid
from pathlib import Path

from kafkax.storage.files import MalformedFile, write_atomically

__all__ = ["PARTITION_METADATA", "format_uuid", "parse_topic_id", "parse_uuid", "read_topic_id", "write_topic_id"]

PARTITION_METADATA = "partition.metadata"

_PRINTED = re.compile(r"[A-Za-z0-9_-]{22}\Z")


def format_uuid(value: uuid.UUID) -> str:
    """A uuid as Kafka prints it: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(value.bytes).rstrip(b"=").decode("ascii")


def parse_uuid(text: str) -> uuid.UUID:
    """The uuid that Kafka prints as ``text``; raises :class:`ValueError`."""
    if not _PRINTED.match(text):
        raise ValueError(f"{text!r} is not 22 characters of URL-safe base64")
    return uuid.UUID(bytes=base64.urlsafe_b64decode(text + "=="))


def parse_topic_id(path: Path, data: bytes) -> uuid.UUID:
    """The topic id in the file's content ``data``; raises :class:`MalformedFile`."""
    fields: dict[str, str] = {}
    for line in data.decode("ascii", "replace").splitlines():
        name, colon, value = line.partition(": ")
        if not colon:
            raise MalformedFile(path, f"line {line!r} is not 'name: value'")
        fields[name] = value.strip()
    if fields.get("version") != "0":
        raise MalformedFile(path, f"version {fields.get('version')!r} is not known, 0 is")
    try:
        topic_id = parse_uuid(fields.get("topic_id", ""))
    except ValueError as error:
        raise MalformedFile(path, f"no topic id: {error}") from None
    if topic_id.int == 0:
        raise MalformedFile(path, "the topic id is all zero, which names no topic")
    return topic_id


def read_topic_id(directory: str | os.PathLike[str]) -> uuid.UUID | None:
    """The topic id of the partition in ``directory``; None when there is no file.

    Raises :class:`MalformedFile` and :class:`OSError`.
    """
    path = Path(directory) / PARTITION_METADATA
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse_topic_id(path, data)


def write_topic_id(directory: str | os.PathLike[str], topic_id: uuid.UUID, *, sync: bool = True) -> None:
    """Write the topic id of the partition in ``directory``, synced by the caller unless ``sync``; raises :class:`OSError`."""
    content = f"version: 0\ntopic_id: {format_uuid(topic_id)}"
    write_atomically(Path(directory) / PARTITION_METADATA, content.encode("ascii"), sync=sync)
