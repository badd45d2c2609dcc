from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.model import TopicPartition
from kafkax.storage.checkpoints import RECOVERY_POINT, OffsetCheckpoint, encode_offsets, parse_offsets
from kafkax.storage.files import MalformedFile
from tests.reference import reference

TOPICS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,30}", fullmatch=True)
ENTRIES = st.dictionaries(st.builds(TopicPartition, TOPICS, st.integers(0, 2**31 - 1)), st.integers(0, 2**63 - 1), max_size=20)


@given(entries=ENTRIES)
def test_what_is_encoded_is_parsed(entries: dict[TopicPartition, int]) -> None:
    assert parse_offsets(Path("file"), encode_offsets(entries)) == entries


def test_the_text_is_kafkas(tmp_path: Path) -> None:
    checkpoint = OffsetCheckpoint(tmp_path, RECOVERY_POINT)
    checkpoint.write({TopicPartition("a.b-c", 7): 12, TopicPartition("t", 0): 0})
    assert checkpoint.path.read_bytes() == b"0\n2\na.b-c 7 12\nt 0 0\n"


def test_no_file_and_an_empty_one_have_no_entries(tmp_path: Path) -> None:
    checkpoint = OffsetCheckpoint(tmp_path, RECOVERY_POINT)
    assert checkpoint.read() == {}
    checkpoint.path.touch()
    assert checkpoint.read() == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"1\n0\n", "version '1'"),
        (b"0\n", "entries, there are 0"),
        (b"0\n2\nt 0 1\n", "'2' entries, there are 1"),
        (b"0\n1\nt 0 1", "not complete"),
        (b"0\n1\nt 0\n", "not 'topic partition offset'"),
        (b"0\n1\nt 0 -1\n", "not 'topic partition offset'"),
        (b"0\n1\nt 0 9999999999999999999\n", "out of range"),
        (b"0\n1\nt 2147483648 1\n", "out of range"),
        (b"0\n2\nt 0 1\nt 0 2\n", "named twice"),
        (b"0\n1\nt\xff 0 1\n", "not ASCII"),
        (b"\x00" * 64, "not complete"),
    ],
)
def test_what_is_malformed_is_said(content: bytes, problem: str) -> None:
    with pytest.raises(MalformedFile, match=problem):
        parse_offsets(Path("file"), content)


def test_every_truncation_and_every_flipped_bit_is_refused_or_read_as_numbers() -> None:
    content = b"0\n2\nabc 0 105\nlonger.name 12 99\n"
    for length in range(1, len(content)):
        with pytest.raises(MalformedFile):
            parse_offsets(Path("file"), content[:length])
    for position in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        try:
            entries = parse_offsets(Path("file"), bytes(damaged))
        except MalformedFile:
            continue
        assert all(offset >= 0 for offset in entries.values())


@pytest.mark.parametrize("broker", ["kafka-3.9.2", "kafka-4.3.1"])
def test_kafkas_own_files_are_read_and_written_back_the_same(tmp_path: Path, broker: str) -> None:
    found = 0
    for path in reference("logs", broker).glob("*-checkpoint"):
        entries = parse_offsets(path, path.read_bytes())
        again = OffsetCheckpoint(tmp_path, path.name)
        again.write(entries)
        assert again.path.read_bytes() == (path.read_bytes() or b"0\n0\n")
        found += len(entries)
    assert found > 50
