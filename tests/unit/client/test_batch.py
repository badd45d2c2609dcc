from __future__ import annotations

import gc
from datetime import datetime, timezone

import pytest

from kafkax.client.batch import Batch
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

RECORDS = [
    Record(b"k", b"one", [("a", b"1"), ("b", None)], 1000),
    Record(None, b"two", [], 2000),
    Record(b"", None, [("a", b"")], 3000),
]


def made(position: int = 0) -> Batch:
    data = build_batch(RECORDS, base_offset=10)
    return Batch(data, memoryview(data)[61:], "t", 2, position)


def at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


ROWS = [
    {
        "topic": "t",
        "partition": 2,
        "offset": 10,
        "timestamp": at(1000),
        "key": b"k",
        "value": b"one",
        "headers": [{"name": b"a", "value": b"1"}, {"name": b"b", "value": None}],
    },
    {"topic": "t", "partition": 2, "offset": 11, "timestamp": at(2000), "key": None, "value": b"two", "headers": []},
    {
        "topic": "t",
        "partition": 2,
        "offset": 12,
        "timestamp": at(3000),
        "key": b"",
        "value": None,
        "headers": [{"name": b"a", "value": b""}],
    },
]


def test_a_batch_gives_its_records() -> None:
    assert [message.value() for message in made(11)] == [b"two", None]


def test_arrow() -> None:
    pytest.importorskip("pyarrow")
    table = made().to_arrow()
    table.validate(full=True)
    assert table.to_pylist() == ROWS
    assert made(12).to_arrow().to_pylist() == ROWS[2:]
    assert made(99).to_arrow().num_rows == 0


def test_pandas() -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    frame = made().to_pandas()
    assert list(frame["value"]) == [b"one", b"two", None]
    assert list(frame["topic"]) == ["t", "t", "t"]


def test_polars() -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("polars")
    frame = made().to_polars()
    assert frame["key"].to_list() == [b"k", None, b""]
    assert frame["timestamp"].to_list() == [at(1000), at(2000), at(3000)]
    assert frame["headers"].to_list()[1] == []


def test_a_batch_that_is_garbage_in_a_cycle_goes_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(build_batch(RECORDS))
    batch = Batch(data, memoryview(data)[61:], "t", 0, 0)
    batch.own = [batch, memoryview(data)]  # type: ignore[attr-defined]
    del batch
    gc.collect()
    assert capfd.readouterr().err == ""
    data.append(0)


def test_a_batch_keeps_its_memory() -> None:
    data = bytearray(build_batch(RECORDS))
    batch = Batch(data, memoryview(data)[61:], "t", 0, 0)
    with pytest.raises(BufferError):
        data.append(0)
    assert len(list(batch)) == 3
