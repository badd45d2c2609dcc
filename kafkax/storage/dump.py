"""What a file of a log directory holds, as plain objects: the substance of ``kafkax dump-log``.

Every file yields dicts whose ``kind`` tells what they are (``file``, ``batch``, ``record``, ``offsetIndex``, ...); the other keys
carry Kafka's names.  What does not parse ends its file with a dict of kind ``damage``, and the next file goes on.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafkax.errors import KafkaError, ProtocolError
from kafkax.protocol.control import ControlType
from kafkax.protocol.record import Record
from kafkax.protocol.records import AnyBatch, RecordBatch
from kafkax.storage.checkpoints import parse_offsets
from kafkax.storage.coordinator_decoder import INTERNAL_TOPICS, decode_internal
from kafkax.storage.directory import CLEAN_SHUTDOWN_MARKER
from kafkax.storage.epoch_checkpoint import LEADER_EPOCH_CHECKPOINT, parse_epochs
from kafkax.storage.files import MalformedFile
from kafkax.storage.meta_properties import META_PROPERTIES, parse_meta_properties
from kafkax.storage.names import (
    CLEANED_SUFFIX,
    DELETED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    SNAPSHOT_SUFFIX,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    offset_of,
    parse_folder,
)
from kafkax.storage.partition_metadata import PARTITION_METADATA, format_uuid, parse_topic_id
from kafkax.storage.producer_snapshot import parse_snapshot
from kafkax.storage.reader import UnwrittenRoom, read_segment
from kafkax.storage.txn_index import parse_transactions

__all__ = ["DumpOptions", "Entry", "dump_file", "files_below", "parse_index", "parse_time_index"]

Entry = dict[str, Any]

_OFFSET_ENTRY = struct.Struct(">ii")
_TIME_ENTRY = struct.Struct(">qi")
_LOG_LIKE = (LOG_SUFFIX, ".checkpoint")


@dataclass(frozen=True)
class DumpOptions:
    """What to show.

    Attributes:
        deep: records as well as batches.
        payload: keys, values and headers of records too.
        decode: the internal topic whose records are decoded; None: told by the folder's name.
        max_bytes: of each log file; None: all.
    """

    deep: bool = False
    payload: bool = False
    decode: str | None = None
    max_bytes: int | None = None


def files_below(path: Path) -> list[Path]:
    """The file itself, or the files of a partition's folder or of a whole log directory, in a readable order."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found.extend(Path(folder, name) for name in sorted(names) if _dumper(name) is not None)
    return found


def dump_file(path: Path, options: DumpOptions) -> Iterator[Entry]:
    """What one file holds, first the file itself; a file of no known name is said to be that."""
    yield {"kind": "file", "path": str(path), "size": path.stat().st_size}
    dumper = _dumper(path.name)
    if dumper is None:
        yield {"kind": "damage", "path": str(path), "problem": "no file of a log directory has such a name"}
        return
    try:
        yield from dumper(path, options)
    except UnwrittenRoom:
        return
    except (KafkaError, ProtocolError) as error:
        yield {"kind": "damage", "path": str(path), "problem": str(error)}


def _dumper(name: str) -> Callable[[Path, DumpOptions], Iterator[Entry]] | None:
    """What reads a file of this name."""
    for mark in (DELETED_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX):
        name = name.removesuffix(mark)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.endswith("-offset-checkpoint"):
        return _dump_offsets
    return next((dumper for suffix, dumper in _BY_SUFFIX.items() if name.endswith(suffix)), None)


def _dump_log(path: Path, options: DumpOptions) -> Iterator[Entry]:
    folder = parse_folder(path.parent.name)
    topic = options.decode or (folder.partition.topic if folder is not None else "")
    for position, batch in read_segment(path):
        if options.max_bytes is not None and position >= options.max_bytes:
            return
        yield _batch(position, batch)
        if options.deep or options.payload:
            for record in batch.records():
                yield _record(record, batch, topic, options)


def _batch(position: int, batch: AnyBatch) -> Entry:
    if not isinstance(batch, RecordBatch):
        return {
            "kind": "message",
            "position": position,
            "offset": batch.offset,
            "magic": batch.magic,
            "size": len(batch.data),
            "crc": batch.crc,
            "compresscodec": batch.compression,
            "createTime": batch.timestamp,
        }
    return {
        "kind": "batch",
        "position": position,
        "baseOffset": batch.base_offset,
        "lastOffset": batch.last_offset,
        "count": batch.count,
        "baseSequence": batch.base_sequence,
        "lastSequence": _last_sequence(batch),
        "producerId": batch.producer_id,
        "producerEpoch": batch.producer_epoch,
        "partitionLeaderEpoch": batch.leader_epoch,
        "isTransactional": batch.transactional,
        "isControl": batch.control,
        "deleteHorizonMs": batch.delete_horizon_ms,
        "timestampType": "LogAppendTime" if batch.log_append_time else "CreateTime",
        "baseTimestamp": batch.base_timestamp,
        "maxTimestamp": batch.max_timestamp,
        "size": len(batch.data),
        "magic": batch.magic,
        "compresscodec": batch.compression,
        "crc": batch.crc,
    }


def _last_sequence(batch: RecordBatch) -> int:
    """Sequence of the batch's last record; sequences wrap after 2^31-1."""
    if batch.base_sequence < 0:
        return -1
    return int((batch.base_sequence + batch.last_offset_delta) & 0x7FFFFFFF)


def _record(record: Record, batch: AnyBatch, topic: str, options: DumpOptions) -> Entry:
    entry: Entry = {
        "kind": "record",
        "offset": record.offset,
        "timestamp": record.timestamp,
        "keySize": -1 if record.key is None else len(record.key),
        "valueSize": -1 if record.value is None else len(record.value),
        "headerKeys": [name for name, _ in record.headers],
    }
    if isinstance(batch, RecordBatch) and batch.control:
        entry["controlType"] = ControlType.of(record).name
    elif options.payload and topic in INTERNAL_TOPICS:
        entry["payload"] = decode_internal(topic, record)
    elif options.payload:
        entry["key"], entry["value"] = _readable(record.key), _readable(record.value)
        entry["headers"] = [[name, _readable(content)] for name, content in record.headers]
    return entry


def _readable(data: bytes | None) -> Any:
    """UTF-8 as text, anything else as an object that says its encoding."""
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def parse_index(path: Path, data: bytes, base_offset: int) -> list[tuple[int, int]]:
    """An offset index: (last offset of a batch, byte where the batch begins); zeroes behind the last entry are room."""
    entries: list[tuple[int, int]] = []
    for relative, position in _OFFSET_ENTRY.iter_unpack(_whole_entries(path, data, _OFFSET_ENTRY.size)):
        if entries and relative == 0 and position == 0:
            break
        offset, before = base_offset + relative, entries[-1] if entries else (-1, -1)
        if relative < 0 or offset <= before[0] or position <= before[1]:
            raise MalformedFile(path, f"entry {len(entries)} ({offset}, {position}) is not after the one before")
        entries.append((offset, position))
    return entries if entries != [(base_offset, 0)] else []


def parse_time_index(path: Path, data: bytes, base_offset: int) -> list[tuple[int, int]]:
    """A time index: (largest timestamp so far in ms, offset up to which that holds)."""
    entries: list[tuple[int, int]] = []
    for timestamp, relative in _TIME_ENTRY.iter_unpack(_whole_entries(path, data, _TIME_ENTRY.size)):
        if timestamp == 0 and relative == 0:
            break
        if relative < 0 or (entries and (timestamp <= entries[-1][0] or base_offset + relative < entries[-1][1])):
            raise MalformedFile(path, f"entry {len(entries)} ({timestamp}, {base_offset + relative}) is not after the one before")
        entries.append((timestamp, base_offset + relative))
    return entries


def _whole_entries(path: Path, data: bytes, size: int) -> bytes:
    if len(data) % size:
        raise MalformedFile(path, f"{len(data)} bytes are not a whole number of {size}-byte entries")
    return data


def _base_offset(path: Path) -> int:
    offset = offset_of(path.name)
    if offset is None:
        raise MalformedFile(path, "its name is no offset")
    return offset


def _dump_index(path: Path, _: DumpOptions) -> Iterator[Entry]:
    for offset, position in parse_index(path, path.read_bytes(), _base_offset(path)):
        yield {"kind": "offsetIndex", "offset": offset, "position": position}


def _dump_time_index(path: Path, _: DumpOptions) -> Iterator[Entry]:
    for timestamp, offset in parse_time_index(path, path.read_bytes(), _base_offset(path)):
        yield {"kind": "timeIndex", "timestamp": timestamp, "offset": offset}


def _dump_transactions(path: Path, _: DumpOptions) -> Iterator[Entry]:
    for entry in parse_transactions(path, path.read_bytes(), _base_offset(path)):
        yield {
            "kind": "abortedTransaction",
            "producerId": entry.producer_id,
            "firstOffset": entry.first_offset,
            "lastOffset": entry.last_offset,
            "lastStableOffset": entry.last_stable_offset,
        }


def _dump_snapshot(path: Path, _: DumpOptions) -> Iterator[Entry]:
    for entry in parse_snapshot(path, path.read_bytes()):
        yield {
            "kind": "producer",
            "producerId": entry.producer_id,
            "producerEpoch": entry.producer_epoch,
            "lastSequence": entry.last_sequence,
            "lastOffset": entry.last_offset,
            "offsetDelta": entry.offset_delta,
            "lastTimestamp": entry.timestamp,
            "coordinatorEpoch": entry.coordinator_epoch,
            "currentTxnFirstOffset": entry.current_transaction_first_offset,
        }


def _dump_offsets(path: Path, _: DumpOptions) -> Iterator[Entry]:
    for (topic, partition), offset in parse_offsets(path, path.read_bytes()).items():
        yield {"kind": "checkpoint", "topic": topic, "partition": partition, "offset": offset}


def _dump_epochs(path: Path, _: DumpOptions) -> Iterator[Entry]:
    for epoch, start in parse_epochs(path, path.read_bytes()):
        yield {"kind": "leaderEpoch", "epoch": epoch, "startOffset": start}


def _dump_topic_id(path: Path, _: DumpOptions) -> Iterator[Entry]:
    yield {"kind": "partitionMetadata", "version": 0, "topicId": format_uuid(parse_topic_id(path, path.read_bytes()))}


def _dump_meta_properties(path: Path, _: DumpOptions) -> Iterator[Entry]:
    found = parse_meta_properties(path, path.read_bytes())
    directory = None if found.directory_id is None else format_uuid(found.directory_id)
    yield {
        "kind": "metaProperties",
        "version": found.version,
        "clusterId": found.cluster_id,
        "brokerId": found.broker_id,
        "directoryId": directory,
    }


def _dump_marker(path: Path, _: DumpOptions) -> Iterator[Entry]:
    try:
        content = json.loads(path.read_bytes() or b"{}")
    except ValueError as error:
        raise MalformedFile(path, f"it is not JSON: {error}") from None
    yield {"kind": "cleanShutdown", "brokerEpoch": content.get("brokerEpoch", -1) if isinstance(content, dict) else -1}


_BY_NAME = {
    LEADER_EPOCH_CHECKPOINT: _dump_epochs,
    PARTITION_METADATA: _dump_topic_id,
    META_PROPERTIES: _dump_meta_properties,
    CLEAN_SHUTDOWN_MARKER: _dump_marker,
}
_BY_SUFFIX = {
    **dict.fromkeys(_LOG_LIKE, _dump_log),
    INDEX_SUFFIX: _dump_index,
    TIME_INDEX_SUFFIX: _dump_time_index,
    TXN_INDEX_SUFFIX: _dump_transactions,
    SNAPSHOT_SUFFIX: _dump_snapshot,
}
