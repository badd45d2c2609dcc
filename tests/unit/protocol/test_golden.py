"""Bytes that must never change their meaning: what the codec wrote when the files in ``tests/golden`` were made.

``messages.jsonl`` has a message, a version, the bytes, and the values in them; ``batches.jsonl`` a batch and its records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kafkax.protocol.message import Message
from kafkax.protocol.records import RecordBatch, iter_batches
from kafkax.protocol.schema import Struct
from tests.messages import all_messages

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
MESSAGES: dict[str, type[Message]] = {cls.__name__: cls for cls in all_messages()}


def lines(name: str) -> list[Any]:
    rows = [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]
    return [pytest.param(row, id=f"{row.get('message') or row['compression']}-{row.get('version', 2)}") for row in rows]


def plain(value: Any) -> Any:
    """A message as JSON knows it: bytes in hex, uuids as text."""
    if isinstance(value, Struct):
        return {field.name: plain(getattr(value, field.name)) for field in value.__fields__}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return str(value) if isinstance(value, UUID) else value


@pytest.mark.parametrize("row", lines("messages.jsonl"))
def test_messages(row: dict[str, Any]) -> None:
    message = MESSAGES[row["message"]].decode(bytes.fromhex(row["bytes"]), row["version"])
    shown = {name: value for name, value in plain(message).items() if name in row["value"]}
    assert shown == row["value"]
    assert message.encode(row["version"]).hex() == row["bytes"]


@pytest.mark.parametrize("row", lines("batches.jsonl"))
def test_batches(row: dict[str, Any]) -> None:
    (batch,) = iter_batches(bytes.fromhex(row["bytes"]))
    assert isinstance(batch, RecordBatch)
    batch.check()
    assert batch.compression == row["compression"]
    records = [
        [r.offset, r.timestamp, plain(r.key), plain(r.value), [[name, plain(value)] for name, value in r.headers]]
        for r in batch.records()
    ]
    assert records == row["records"]
