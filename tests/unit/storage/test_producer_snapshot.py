from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.storage.files import MalformedFile
from kafkax.storage.producer_snapshot import ProducerEntry, encode_snapshot, parse_snapshot, read_snapshot, write_snapshot
from tests.reference import reference

INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT16 = st.integers(-(2**15), 2**15 - 1)
PRODUCERS = st.lists(st.builds(ProducerEntry, INT64, INT16, INT32, INT64, INT32, INT64, INT32, INT64), max_size=10)


@given(PRODUCERS)
def test_what_is_encoded_is_parsed(entries: list[ProducerEntry]) -> None:
    assert parse_snapshot(Path("file"), encode_snapshot(entries)) == entries


def test_a_snapshot_goes_through_a_file(tmp_path: Path) -> None:
    entry = ProducerEntry(7, 1, 41, 99, 4, 1_700_000_000_000, 3, 95)
    write_snapshot(tmp_path / "00000000000000000100.snapshot", [entry])
    assert read_snapshot(tmp_path / "00000000000000000100.snapshot") == [entry]


def test_every_flipped_bit_and_every_truncation_is_found() -> None:
    content = encode_snapshot(
        [ProducerEntry(7, 1, 41, 99, 4, 1_700_000_000_000, 3, 95), ProducerEntry(8, 0, -1, -1, 0, 5, -1, -1)]
    )
    for length in range(len(content)):
        with pytest.raises(MalformedFile):
            parse_snapshot(Path("file"), content[:length])
    for position in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(MalformedFile):
            parse_snapshot(Path("file"), bytes(damaged))


def test_kafkas_own_snapshots_are_read_and_written_back_the_same() -> None:
    files = list(reference("logs").glob("*/*/*.snapshot"))
    assert len(files) >= 12
    producers = 0
    for path in files:
        entries = parse_snapshot(path, path.read_bytes())
        assert encode_snapshot(entries) == path.read_bytes()
        producers += len(entries)
    assert producers > 10
