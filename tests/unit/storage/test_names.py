from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.model import TopicPartition
from kafkax.storage.names import FolderKind, FolderName, marked_name, offset_of, parse_folder, segment_file

TOPICS = st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True).filter(lambda name: name not in (".", ".."))
PARTITIONS = st.builds(TopicPartition, TOPICS, st.integers(0, 2**31 - 1))


@given(PARTITIONS)
def test_a_partitions_folder_is_recognized(partition: TopicPartition) -> None:
    assert parse_folder(str(partition)) == FolderName(partition, FolderKind.LIVE)


@given(PARTITIONS, st.sampled_from([FolderKind.DELETE, FolderKind.STRAY]), st.uuids())
def test_a_marked_folder_is_recognized_and_fits_the_file_system(
    partition: TopicPartition, kind: FolderKind, unique: uuid.UUID
) -> None:
    name = marked_name(partition, kind, unique)
    found = parse_folder(name)
    assert len(name) <= 255
    assert found is not None
    assert found.kind is kind
    assert found.partition.partition == partition.partition
    assert partition.topic.startswith(found.partition.topic)


def test_kafkas_marks() -> None:
    unique = uuid.UUID("0123456789abcdef0123456789abcdef")
    partition = TopicPartition("my.topic-x", 3)
    assert marked_name(partition, FolderKind.DELETE, unique) == "my.topic-x-3.0123456789abcdef0123456789abcdef-delete"
    assert marked_name(partition, FolderKind.FUTURE, unique) == "my.topic-x-3.0123456789abcdef0123456789abcdef-future"
    assert marked_name(partition, FolderKind.STRAY, unique) == "my.topic-x-3.0123456789abcdef0123456789abcdef-stray"


def test_a_name_too_long_to_be_moved_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        marked_name(TopicPartition("x" * 249, 0), FolderKind.FUTURE, uuid.uuid4())


@pytest.mark.parametrize(
    "name", ["", "t", "t-", "-1", "t-x", "t-01", "t-2147483648", "lost+found", "..-0", "a b-0", "t-0.x-delete", "tö-1"]
)
def test_other_names_are_no_partitions(name: str) -> None:
    assert parse_folder(name) is None


def test_segment_files_are_named_by_twenty_digits() -> None:
    assert segment_file(42, ".log") == "00000000000000000042.log"
    assert offset_of("00000000000000000042.timeindex") == 42
    assert offset_of("00000000000000000042.log.deleted") == 42
    assert offset_of("leader-epoch-checkpoint") is None
    assert offset_of("0000000000000000042.log") is None
