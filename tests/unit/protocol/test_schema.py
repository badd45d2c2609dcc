"""Declarations: ranges, defaults, and how the instances behave."""

from __future__ import annotations

from typing import Any

import pytest

from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData, ReplicaState
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from kafkax.protocol.schema import ZERO_UUID, Struct, Versions, int32
from tests.messages import all_messages, structs


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("3+", [3, 4, 999], [0, 2]), ("2-5", [2, 5], [1, 6]), ("1", [1], [0, 2]), ("none", [], [0, 1, -1])],
)
def test_ranges_of_versions(text: str, inside: list[int], outside: list[int]) -> None:
    parsed = Versions.parse(text)
    assert all(parsed.covers(version) for version in inside)
    assert not any(parsed.covers(version) for version in outside)


def test_the_constructor_takes_keywords_and_has_kafkas_defaults() -> None:
    request = FetchRequest(max_wait_ms=500)
    assert (request.max_wait_ms, request.max_bytes, request.session_epoch, request.cluster_id) == (500, 0x7FFFFFFF, -1, None)
    assert request.replica_state == ReplicaState(replica_id=-1, replica_epoch=-1)
    assert FetchTopic().topic_id == ZERO_UUID
    unknown: dict[str, Any] = {"max_wait": 1}
    with pytest.raises(TypeError, match="max_wait"):
        FetchRequest(**unknown)


def test_instances_share_no_list_and_no_struct() -> None:
    one, other = FetchRequest(), FetchRequest()
    one.topics.append(FetchTopic())
    one.replica_state.replica_id = 7
    assert (other.topics, other.replica_state.replica_id) == ([], -1)
    decoded = FetchRequest.decode(other.encode(4), 4)
    decoded.forgotten_topics_data.append(decoded)  # type: ignore[arg-type]
    assert FetchRequest.decode(other.encode(4), 4).forgotten_topics_data == []


def test_instances_compare_by_value_and_type() -> None:
    assert MetadataRequestTopic(name="a") == MetadataRequestTopic(name="a")
    assert MetadataRequestTopic(name="a") != MetadataRequestTopic(name="b")
    assert MetadataRequestTopic(name="a") != MetadataRequestTopic(name="a", unknown_tags={1: b""})
    assert FetchPartition() != FetchTopic()
    with pytest.raises(TypeError):
        hash(MetadataRequestTopic())


def test_instances_have_slots() -> None:
    request = MetadataRequest()
    with pytest.raises(AttributeError):
        request.topic = []  # type: ignore[attr-defined]


def test_the_repr_names_every_field_and_hides_record_bytes() -> None:
    assert repr(MetadataRequestTopic(name="a")) == f"MetadataRequestTopic(topic_id={ZERO_UUID!r}, name='a')"
    assert "records=<9 bytes>" in repr(PartitionData(records=memoryview(bytes(9))))
    assert repr(MetadataRequestTopic(unknown_tags={5: b"x"})).endswith("unknown_tags={5: b'x'})")


def test_a_field_may_not_hide_what_its_class_offers() -> None:
    with pytest.raises(TypeError, match=r"Bad\.unknown_tags: the name is taken"):

        class Bad(Struct):
            unknown_tags: int = int32("0+")


def test_tags_are_numbered_once() -> None:
    for message in all_messages():
        for cls in structs(message):
            tags = [field.tag for field in cls.__fields__ if field.tag is not None]
            assert len(tags) == len(set(tags)), cls
