from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.storage.files import MalformedFile
from kafkax.storage.partition_metadata import format_uuid, parse_topic_id, parse_uuid, read_topic_id, write_topic_id
from tests.reference import reference


@given(st.uuids())
def test_a_uuid_is_printed_as_22_characters_and_read_again(value: uuid.UUID) -> None:
    assert len(format_uuid(value)) == 22
    assert parse_uuid(format_uuid(value)) == value


def test_the_topic_id_is_written_as_kafka_does(tmp_path: Path) -> None:
    topic_id = parse_uuid("jI6XDITsRlWZ8pdhfsjH_g")
    write_topic_id(tmp_path, topic_id)
    assert (tmp_path / "partition.metadata").read_bytes() == b"version: 0\ntopic_id: jI6XDITsRlWZ8pdhfsjH_g"
    assert read_topic_id(tmp_path) == topic_id


def test_no_file_no_topic_id(tmp_path: Path) -> None:
    assert read_topic_id(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version: 1\ntopic_id: jI6XDITsRlWZ8pdhfsjH_g",
        b"version: 0\n",
        b"version: 0\ntopic_id: jI6XDITsRlWZ8pdhfsjH",
        b"version: 0\ntopic_id: jI6XDITsRlWZ8pdhfsjH+g",
        b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        b"\x00" * 43,
        b"version: 0\ntopic_id jI6XDITsRlWZ8pdhfsjH_g",
    ],
)
def test_what_is_malformed_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedFile):
        parse_topic_id(Path("file"), content)


def test_kafkas_own_files_are_read_and_written_back_the_same(tmp_path: Path) -> None:
    files = list(reference("logs").glob("*/*/partition.metadata"))
    assert len(files) >= 9
    for path in files:
        write_topic_id(tmp_path, parse_topic_id(path, path.read_bytes()))
        assert (tmp_path / "partition.metadata").read_bytes() == path.read_bytes()
