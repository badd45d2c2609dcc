"""Columns of a fetched batch: what Arrow is given must be exactly the records, or an error."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkax._core.fetched import Columns, FetchedBatch
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

HEADER = 61


def fetched(batch: bytes, position: int = 0) -> FetchedBatch:
    return FetchedBatch(batch, memoryview(batch)[HEADER:], "t", 3, position)


def field(valid: bytes, ends: bytes, data: bytes, index: int) -> bytes | None:
    if not valid[index >> 3] >> (index & 7) & 1:
        return None
    begin, end = struct.unpack_from("<2i", ends, 4 * index)
    return data[begin:end]


def rows(c: Columns) -> list[tuple[int, int, bytes | None, bytes | None, list[tuple[bytes | None, bytes | None]]]]:
    found = []
    for index in range(c.rows):
        first, last = struct.unpack_from("<2i", c.headers_ends, 4 * index)
        headers = [
            (
                field(c.names_valid, c.names_ends, c.names, each),
                field(c.header_values_valid, c.header_values_ends, c.header_values, each),
            )
            for each in range(first, last)
        ]
        found.append(
            (
                memoryview(c.offsets).cast("q")[index],
                memoryview(c.timestamps).cast("q")[index],
                field(c.keys_valid, c.keys_ends, c.keys, index),
                field(c.values_valid, c.values_ends, c.values, index),
                headers,
            )
        )
    return found


def expected(records: Sequence[Record], base: int, position: int) -> list[object]:
    return [
        (base + n, r.timestamp, r.key, r.value, [(name.encode(), value) for name, value in r.headers])
        for n, r in enumerate(records)
        if base + n >= position
    ]


blobs = st.none() | st.binary(max_size=300)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
headers = st.lists(st.tuples(texts, blobs), max_size=3)
records = st.lists(st.builds(Record, blobs, blobs, headers, st.integers(0, 1 << 50), st.just(-1)), min_size=1, max_size=20)
few = settings(max_examples=max(settings().max_examples // 4, 25))


@few
@given(records, st.integers(0, 25))
def test_columns_are_the_records_from_the_position_on(given_records: list[Record], position: int) -> None:
    batch = fetched(build_batch(given_records, base_offset=5), position)
    columns = batch.columns()
    assert rows(columns) == expected(given_records, 5, position)
    assert columns.null_keys == sum(row[2] is None for row in rows(columns))
    assert columns.null_values == sum(row[3] is None for row in rows(columns))
    assert batch.next() is None


def test_what_was_read_before_is_not_in_the_columns() -> None:
    batch = fetched(build_batch([Record(None, b"%d" % n, (), n) for n in range(4)]))
    assert batch.next() is not None
    assert [row[3] for row in rows(batch.columns())] == [b"1", b"2", b"3"]
    assert batch.position == 4


def test_the_brokers_time_stands_for_all_records() -> None:
    data = bytearray(build_batch([Record(None, b"v", (), n) for n in range(3)]))
    struct.pack_into(">h", data, 21, 8)
    struct.pack_into(">q", data, 35, 77)
    assert [row[1] for row in rows(fetched(bytes(data)).columns())] == [77, 77, 77]


@few
@given(records, st.data())
def test_damage_is_an_error_and_never_read_past_the_end(given_records: list[Record], data: st.DataObject) -> None:
    whole = bytearray(build_batch(given_records))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    # A copy of exact size, so that a sanitizer sees a read behind it.
    cut = bytes(whole[: data.draw(st.integers(HEADER, len(whole)))])
    outcomes = [outcome(lambda: len(rows(FetchedBatch(cut, cut[HEADER:], "t", 0, 0).columns()))), outcome(lambda: touch_all(cut))]
    assert outcomes[0] == outcomes[1]


def outcome(read: Callable[[], int]) -> int | ErrorCode:
    try:
        return read()
    except KafkaError as error:
        return error.code


def touch_all(data: bytes) -> int:
    batch = FetchedBatch(data, data[HEADER:], "t", 0, 0)
    count = 0
    while (message := batch.next()) is not None:
        assert (message.key(), message.value(), message.headers()) is not None
        count += 1
    return count


@pytest.mark.parametrize("count", [-1, 0, 1 << 30, (1 << 31) - 1, -(1 << 31)])
def test_a_count_that_lies_allocates_nothing(count: int) -> None:
    data = bytearray(build_batch([Record(None, b"v", (), 1)]))
    struct.pack_into(">i", data, 57, count)
    batch = fetched(bytes(data))
    if count <= 0:
        assert batch.columns().rows == 0
    else:
        with pytest.raises(KafkaError):
            batch.columns()
