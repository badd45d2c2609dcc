"""The quick way through ordinary records, which an append takes, and the general one say the same of any bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.batch import validate_records
from kafkax._core.crc32c import crc32c
from kafkax._core.log import Log, LogSettings
from kafkax.errors import KafkaError
from kafkax.protocol.record import Record
from kafkax.protocol.records import HEADER_SIZE, build_batch

SIZES = st.sampled_from([0, 1, 2, 55, 62, 63, 64, 65, 120, 8180, 8191, 8192, 8200])
FIELD = st.none() | SIZES.map(bytes)
HEADERS = st.lists(st.tuples(st.sampled_from(["", "name"]), FIELD), max_size=2)
STAMPS = st.sampled_from([0, 63, 64, 8191, 8192, 10**6])
RECORD = st.builds(Record, key=FIELD, value=FIELD, headers=HEADERS, timestamp=STAMPS, offset=st.just(-1))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    directory: Path = tmp_path_factory.mktemp("walk")
    opened = Log.open(str(directory), LogSettings(max_message_bytes=1 << 30))
    yield opened
    opened.close()


def parses(call: object, *arguments: object) -> bool:
    try:
        call(*arguments)  # type: ignore[operator]
    except KafkaError:
        return False
    return True


def sealed(batch: bytes) -> bytes:
    """The batch with the checksum and the length that go with its bytes."""
    batch = batch[:8] + struct.pack(">i", len(batch) - 12) + batch[12:]
    return batch[:17] + struct.pack(">I", crc32c(batch[21:])) + batch[21:]


@given(st.lists(RECORD, min_size=1, max_size=130))
def test_right_records_are_taken(log: Log, records: list[Record]) -> None:
    batch = build_batch(records)
    assert validate_records(batch) == []
    log.append(batch)


@given(st.lists(RECORD, min_size=1, max_size=5), st.data())
def test_changed_records_are_judged_alike(log: Log, records: list[Record], data: st.DataObject) -> None:
    batch = bytearray(build_batch(records))
    for _ in range(data.draw(st.integers(1, 3))):
        # Near its ends a record has its lengths; in between nothing can go wrong.
        near = min(HEADER_SIZE + 12, len(batch) - 1)
        place = data.draw(st.integers(HEADER_SIZE, near) | st.integers(HEADER_SIZE, len(batch) - 1))
        batch[place] = data.draw(st.integers(0, 255))
    changed = sealed(bytes(batch))
    assert parses(log.append, changed) is parses(validate_records, changed)


@given(st.lists(RECORD, min_size=1, max_size=3), st.integers(1, 20))
def test_cut_and_lengthened_batches_are_refused(log: Log, records: list[Record], amount: int) -> None:
    batch = build_batch(records)
    for wrong in (batch[: max(HEADER_SIZE, len(batch) - amount)], batch + bytes(amount)):
        assert not parses(log.append, sealed(wrong))
        assert not parses(validate_records, sealed(wrong))
