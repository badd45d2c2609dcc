from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.storage.files import MalformedFile
from kafkax.storage.meta_properties import MetaProperties, parse_meta_properties, read_meta_properties, write_meta_properties
from kafkax.storage.partition_metadata import parse_uuid
from tests.reference import reference


def test_a_new_directory_gets_zookeeper_modes_version(tmp_path: Path) -> None:
    write_meta_properties(tmp_path, MetaProperties("W-UhtWP8Qbym_H25kpX01w", 3))
    assert (tmp_path / "meta.properties").read_bytes() == b"version=0\nbroker.id=3\ncluster.id=W-UhtWP8Qbym_H25kpX01w\n"
    assert read_meta_properties(tmp_path) == MetaProperties("W-UhtWP8Qbym_H25kpX01w", 3)


def test_kafkas_files_of_both_modes_are_read() -> None:
    zookeeper = read_meta_properties(reference("logs", "kafka-3.9.2"))
    kraft = read_meta_properties(reference("logs", "kafka-4.3.1"))
    assert zookeeper == MetaProperties("W-UhtWP8Qbym_H25kpX01w", 1)
    assert kraft == MetaProperties("C9irkALHQY2l1RB19Y_vTw", 1, parse_uuid("zraF8vV5EcepsYXrjkQmLg"), version=1)


def test_a_kraft_file_is_written_as_one(tmp_path: Path) -> None:
    properties = MetaProperties("c", 1, parse_uuid("zraF8vV5EcepsYXrjkQmLg"), version=1)
    write_meta_properties(tmp_path, properties)
    assert b"node.id=1" in (tmp_path / "meta.properties").read_bytes()
    assert read_meta_properties(tmp_path) == properties


def test_comments_spaces_and_escapes_are_javas() -> None:
    content = b"#comment\n! another\n\n version = 0 \nbroker.id=1\ncluster.id=a\\:b\\=c\nunknown=kept out\n"
    assert parse_meta_properties(Path("file"), content) == MetaProperties("a:b=c", 1)


def test_what_a_file_does_not_name_is_none() -> None:
    assert parse_meta_properties(Path("file"), b"version=0\n") == MetaProperties(None, None)


def test_no_file_no_properties(tmp_path: Path) -> None:
    assert read_meta_properties(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version=2\n",
        b"version=0\nbroker.id=x\n",
        b"version=0\nbroker.id=2147483648\n",
        b"version=0\nnonsense\n",
        b"version=1\ndirectory.id=short\n",
        b"\xff\xfe",
        b"\x00" * 80,
    ],
)
def test_what_is_malformed_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedFile):
        parse_meta_properties(Path("file"), content)
