"""``meta.properties``: to which cluster and broker a log directory belongs.

Version 0 is ZooKeeper mode's (``broker.id``), version 1 KRaft's (``node.id``, ``directory.id``).  Both are read, so that a
directory of either kind opens; a new directory gets version 0, which Kafka 3.9 opens in ZooKeeper mode.
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from kafkax.storage.files import MalformedFile, write_atomically
from kafkax.storage.partition_metadata import format_uuid, parse_uuid

__all__ = ["META_PROPERTIES", "MetaProperties", "encode_meta_properties", "read_meta_properties", "write_meta_properties"]

META_PROPERTIES = "meta.properties"

_ESCAPE = re.compile(r"\\(.)")
_ID_KEY = {0: "broker.id", 1: "node.id"}


@dataclass(frozen=True)
class MetaProperties:
    """The content of ``meta.properties``; what a file does not name is None."""

    cluster_id: str | None
    broker_id: int | None
    directory_id: uuid.UUID | None = None
    version: int = 0


def encode_meta_properties(properties: MetaProperties) -> bytes:
    """The file's content for ``properties``."""
    lines = [f"version={properties.version}"]
    if properties.broker_id is not None:
        lines.append(f"{_ID_KEY[properties.version]}={properties.broker_id}")
    if properties.cluster_id is not None:
        lines.append(f"cluster.id={properties.cluster_id}")
    if properties.directory_id is not None:
        lines.append(f"directory.id={format_uuid(properties.directory_id)}")
    return ("\n".join(lines) + "\n").encode("ascii")


def parse_meta_properties(path: Path, data: bytes) -> MetaProperties:
    """The properties in ``data``; ``path`` only names them in a :class:`MalformedFile`."""
    fields = _parse_properties(path, data)
    version = fields.get("version")
    if version not in ("0", "1"):
        raise MalformedFile(path, f"version {version!r} is not known, 0 and 1 are")
    id_key = _ID_KEY[int(version)]
    broker_id = fields.get(id_key)
    if broker_id is not None and not (broker_id.isdigit() and int(broker_id) < 2**31):
        raise MalformedFile(path, f"{id_key}={broker_id} is not a broker id")
    directory_id = None
    if "directory.id" in fields:
        try:
            directory_id = parse_uuid(fields["directory.id"])
        except ValueError as error:
            raise MalformedFile(path, f"directory.id: {error}") from None
    return MetaProperties(
        cluster_id=fields.get("cluster.id") or None,
        broker_id=None if broker_id is None else int(broker_id),
        directory_id=directory_id,
        version=int(version),
    )


def _parse_properties(path: Path, data: bytes) -> dict[str, str]:
    """Java's properties format as far as Kafka writes it: comments, ``key=value``, backslash before a separator."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedFile(path, f"byte {error.start} is not ASCII") from None
    fields: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise MalformedFile(path, f"line {number} is {line!r}, not 'key=value'")
        fields[key.strip()] = _ESCAPE.sub(r"\1", value.strip())
    return fields


def read_meta_properties(directory: str | os.PathLike[str]) -> MetaProperties | None:
    """The properties of a log directory; None when it has none yet.  Raises :class:`MalformedFile` and :class:`OSError`."""
    path = Path(directory) / META_PROPERTIES
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse_meta_properties(path, data)


def write_meta_properties(directory: str | os.PathLike[str], properties: MetaProperties) -> None:
    """Write the properties of a log directory; raises :class:`OSError`."""
    write_atomically(Path(directory) / META_PROPERTIES, encode_meta_properties(properties))
