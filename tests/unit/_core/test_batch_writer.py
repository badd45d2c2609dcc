"""Batches that are written record by record are those that the reference builds."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kafkax._core.batch_writer import BatchWriter
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

entries = st.lists(st.tuples(st.binary(max_size=40), st.none() | st.binary(max_size=40)), min_size=1, max_size=10)
MANY = [(b"k" * (n % 130), b"v" * n) for n in range(300)]
"""Lengths and offsets that take more than one byte to say."""


@settings(max_examples=40)
@example(MANY, 0)
@given(entries, st.integers(0, 2**62))
def test_a_batch_is_the_one_that_the_reference_builds(entries: list[tuple[bytes, bytes | None]], timestamp: int) -> None:
    writer = BatchWriter()
    for key, value in entries:
        writer.add(key, value)
    assert writer.count == len(entries)
    expected = build_batch([Record(key, value, (), timestamp) for key, value in entries])
    assert writer.size == len(expected)
    assert writer.finish(timestamp) == expected


def test_a_transactional_batch() -> None:
    writer = BatchWriter()
    writer.add(b"k", b"v")
    expected = build_batch([Record(b"k", b"v", (), 9)], producer_id=7, producer_epoch=3, transactional=True)
    assert writer.finish(9, 7, 3, transactional=True) == expected


def test_a_writer_begins_anew_after_each_batch_however_large() -> None:
    writer = BatchWriter()
    for size in (10, 100_000, 10):
        writer.add(b"k", b"v" * size)
        assert writer.finish(5) == build_batch([Record(b"k", b"v" * size, (), 5)])
        assert (writer.count, writer.size) == (0, 61)
    writer.add(b"dropped", None)
    writer.clear()
    writer.add(b"kept", None)
    assert writer.finish(5) == build_batch([Record(b"kept", None, (), 5)])


def test_an_empty_batch_is_none() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        BatchWriter().finish(5)
