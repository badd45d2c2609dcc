"""Ordinary offset commits, from the request's bytes to the log's and the answer's, are those of the declared messages."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkax._core.batch_writer import BatchWriter
from kafkax._core.commit_request import CommitRequest
from kafkax.coordinator.offset_records import CommittedOffset, encode_key, encode_value
from kafkax.coordinator.offsets import topic_id_of
from kafkax.protocol.headers import request_header, response_header
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

VERSIONS = range(5, 11)


def framed(request: OffsetCommitRequest, version: int) -> bytes:
    """A request with its header."""
    return request_header(8, version, 7, "c") + request.encode(version)


class Topic(NamedTuple):
    name: str
    topic_id: UUID
    partitions: range


def image(request: OffsetCommitRequest, partitions: int = 2**31) -> tuple[dict[str, Topic], dict[UUID, str]]:
    """Topics of a request by name, and their names by id."""
    topics = {topic.name: Topic(topic.name, topic.topic_id, range(partitions)) for topic in request.topics}
    return topics, {topic.topic_id: topic.name for topic in topics.values()}


parts = st.builds(
    OffsetCommitRequestPartition,
    partition_index=st.integers(0, 2**31 - 1),
    committed_offset=st.integers(-(2**63), 2**63 - 1),
    committed_leader_epoch=st.integers(-(2**31), 2**31 - 1),
    committed_metadata=st.none() | st.text(max_size=200),
)
topics = st.builds(
    OffsetCommitRequestTopic,
    name=st.text("abc._-", min_size=1, max_size=20),
    topic_id=st.uuids(),
    partitions=st.lists(parts, min_size=1, max_size=5),
)
requests = st.builds(
    OffsetCommitRequest,
    group_id=st.text(min_size=1, max_size=30),
    generation_id_or_member_epoch=st.integers(-(2**31), 2**31 - 1),
    member_id=st.text(max_size=30),
    group_instance_id=st.none() | st.text(max_size=10),
    topics=st.lists(topics, min_size=1, max_size=4, unique_by=(lambda topic: topic.name, lambda topic: topic.topic_id)),
)


@settings(max_examples=60)
@given(requests, st.sampled_from(VERSIONS), st.integers(0, 2**62))
def test_what_is_asked_is_applied_written_and_answered(request: OffsetCommitRequest, version: int, now: int) -> None:
    if version < 7:
        request.group_instance_id = None
    commit = CommitRequest.read(framed(request, version), 4096)
    assert commit is not None
    assert commit.find(*image(request), topic_id_of)
    assert commit.group_id == request.group_id
    assert commit.generation_id_or_member_epoch == request.generation_id_or_member_epoch
    assert (commit.member_id, commit.version) == (request.member_id, version)
    assert commit.group_instance_id == request.group_instance_id

    committed = [
        (topic.name, part.partition_index, CommittedOffset(
            part.committed_offset, part.committed_leader_epoch if version >= 6 else -1, part.committed_metadata or "", now, -1,
            topic.topic_id,
        ))
        for topic in request.topics
        for part in topic.partitions
    ]  # fmt: skip
    offsets: dict[tuple[str, int], Any] = {}
    commit.apply(offsets, CommittedOffset, now)
    assert offsets == {(name, index): offset for name, index, offset in committed}
    assert {type(offset) for offset in offsets.values()} == {CommittedOffset}

    batch = BatchWriter()
    commit.write(batch)
    assert batch.size - 61 <= commit.size
    entries = [(encode_key(request.group_id, name, index), encode_value(offset)) for name, index, offset in committed]
    assert batch.finish(now) == build_batch([Record(key, value, (), now) for key, value in entries])

    for code in (0, 16):
        declared = OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    partitions=[
                        OffsetCommitResponsePartition(partition_index=part.partition_index, error_code=code)
                        for part in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )
        assert commit.answer(code) == response_header(8, version, 7) + declared.encode(version)


def ordinary(**more: Any) -> OffsetCommitRequest:
    part = OffsetCommitRequestPartition(partition_index=1, committed_offset=5, committed_metadata=more.pop("metadata", "m"))
    topic = OffsetCommitRequestTopic(name="t", topic_id=UUID(int=7), partitions=more.pop("partitions", [part]))
    return OffsetCommitRequest(**{"group_id": "g", "topics": [topic], **more})


@pytest.mark.parametrize(
    "request_",
    [
        ordinary(group_id=""),
        ordinary(topics=[]),
        ordinary(partitions=[]),
        ordinary(metadata="m" * 11),
    ],
    ids=["no group", "no topics", "no partitions", "long metadata"],
)
def test_what_is_out_of_the_ordinary_is_left_alone(request_: OffsetCommitRequest) -> None:
    assert CommitRequest.read(framed(request_, 9), 10) is None


@pytest.mark.parametrize("version", [2, 3, 4, 11])
def test_other_versions_are_left_alone(version: int) -> None:
    assert CommitRequest.read(request_header(8, version, 7, "c") + ordinary().encode(min(version, 10)), 10) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_that_do_not_parse_are_left_alone(version: int) -> None:
    whole = framed(ordinary(), version)
    assert CommitRequest.read(whole, 10) is not None
    assert CommitRequest.read(whole + b"\0", 10) is None
    for end in range(len(whole)):
        assert CommitRequest.read(whole[:end], 10) is None
    broken = whole.replace(b"m", b"\xff")
    assert broken != whole
    assert CommitRequest.read(broken, 10) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_topics_and_partitions_that_do_not_exist_are_not_found(version: int) -> None:
    request = ordinary()
    commit = CommitRequest.read(framed(request, version), 10)
    assert commit is not None
    assert not commit.find({}, {}, topic_id_of)
    assert not commit.find(*image(request, partitions=1), topic_id_of)
    assert commit.find(*image(request, partitions=2), topic_id_of)


def test_a_topic_without_an_id_is_written_without_one() -> None:
    request = ordinary()
    request.topics[0].topic_id = UUID(int=0)
    commit = CommitRequest.read(framed(request, 9), 10)
    assert commit is not None
    assert commit.find(*image(request), topic_id_of)
    commit.apply({}, CommittedOffset, 3)
    batch = BatchWriter()
    commit.write(batch)
    value = encode_value(CommittedOffset(5, -1, "m", 3))
    assert batch.finish(3) == build_batch([Record(encode_key("g", "t", 1), value, (), 3)])
