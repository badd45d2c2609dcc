"""OffsetCommit (key 8): note how far a group has read.

Versions: 2 to 4 carry a retention of the client's own; 6 the leader epoch (KIP-320); 7 static members (KIP-345); 8 is
flexible; 9 may come from members of consumer groups (KIP-848); 10 names topics by id (KIP-848).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kafkax._core.commit_request import CommitRequest
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.coordinator.offsets import topic_id_of
from kafkax.coordinator.promise import Promise
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from kafkax.broker.services import Services
    from kafkax.net.connection import Connection

SPEC = Spec(key=8, min_version=2, max_version=10, overlaps=True)

_TOPIC_IDS_SINCE = 10


def quick(services: Services, connection: Connection, frame: bytes, answer: Callable[[bytes], object]) -> bool:
    """Commit what exists and may be committed as a whole, as nearly all requests ask; the network threads take the next ones."""
    groups, image = services.groups, services.image
    coordinator = groups.coordinator
    commit = CommitRequest.read(frame, coordinator.settings.offset_metadata_max_bytes)
    if commit is None or not commit.find(image.topics, image.names, topic_id_of):
        return False
    if not coordinator.keep_offsets(commit, answer):
        return False
    groups.allow_commits(connection, commit)
    return True


def handle(context: RequestContext, request: OffsetCommitRequest) -> Promise[OffsetCommitResponse]:
    """Commit for the partitions that exist; the others fail by themselves."""
    refused = _take_out_unknown(context, request)
    if not request.topics:
        return Promise.of(OffsetCommitResponse(topics=refused))
    groups = context.services.groups
    return groups.coordinator.commit_offsets(groups.caller(context), request).map(
        lambda response: OffsetCommitResponse(topics=_merged(refused, response.topics)) if refused else response
    )


def _take_out_unknown(context: RequestContext, request: OffsetCommitRequest) -> list[OffsetCommitResponseTopic]:
    """Leave topics and partitions that exist in the request, with both name and id; answers for the rest."""
    image, by_id = context.services.image, context.version >= _TOPIC_IDS_SINCE
    known: list[OffsetCommitRequestTopic] = []
    refused: list[OffsetCommitResponseTopic] = []
    for topic in request.topics:
        found = image.topic_by_id(topic.topic_id) if by_id else image.topics.get(topic.name)
        if found is None:
            code = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            refused.append(_refused(topic, topic.partitions, code))
            continue
        topic.name, topic.topic_id = found.name, found.topic_id
        missing = [each for each in topic.partitions if each.partition_index not in found.partitions]
        if missing:
            refused.append(_refused(topic, missing, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
            topic.partitions = [each for each in topic.partitions if each.partition_index in found.partitions]
        if topic.partitions:
            known.append(topic)
    request.topics = known
    return refused


def _refused(
    topic: OffsetCommitRequestTopic, partitions: list[OffsetCommitRequestPartition], code: ErrorCode
) -> OffsetCommitResponseTopic:
    return OffsetCommitResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code) for partition in partitions
        ],
    )


def _merged(
    refused: list[OffsetCommitResponseTopic], committed: list[OffsetCommitResponseTopic]
) -> list[OffsetCommitResponseTopic]:
    """One entry per topic."""
    merged = {(topic.topic_id, topic.name): topic for topic in refused}
    for topic in committed:
        before = merged.setdefault((topic.topic_id, topic.name), topic)
        if before is not topic:
            before.partitions += topic.partitions
    return list(merged.values())
