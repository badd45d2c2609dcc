"""OffsetFetch (key 9): how far a group has read.

Versions: 2 lets null ask for all of a group's offsets; 5 adds the leader epoch (KIP-320); 6 is flexible; 7 can insist on
stable offsets (KIP-447); 8 asks for several groups (KIP-709); 9 names a member of a consumer group (KIP-848); 10 names
topics by id (KIP-848).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.coordinator.promise import Promise
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

SPEC = Spec(key=9, min_version=1, max_version=10)

_ERROR_OF_ITS_OWN_SINCE = 2
_GROUPS_SINCE = 8
_TOPIC_IDS_SINCE = 10


async def handle(context: RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Ask for every group at once."""
    if context.version >= _GROUPS_SINCE:
        asked = [(group, _take_out_unknown(context, group)) for group in request.groups]
        fetched = await Promise.all([_fetch(context, group, request.require_stable) for group, _ in asked])
        for response, (_, unknown) in zip(fetched, asked, strict=True):
            _name(context, response)
            if response.error_code == ErrorCode.NONE:
                response.topics += unknown
        return OffsetFetchResponse(groups=fetched)
    topics = None if request.topics is None else [_topics(topic.name, topic.partition_indexes) for topic in request.topics]
    group = OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)
    return _of_one_group(context.version, group, await _fetch(context, group, request.require_stable))


def _fetch(context: RequestContext, group: OffsetFetchRequestGroup, require_stable: bool) -> Promise[OffsetFetchResponseGroup]:
    return context.services.groups.coordinator.fetch_offsets(group, require_stable=require_stable)


def _topics(name: str, partitions: list[int]) -> OffsetFetchRequestTopics:
    return OffsetFetchRequestTopics(name=name, partition_indexes=partitions)


def _take_out_unknown(context: RequestContext, group: OffsetFetchRequestGroup) -> list[OffsetFetchResponseTopics]:
    """Give topics that are named by id their names; answers for ids that nothing has."""
    if context.version < _TOPIC_IDS_SINCE or group.topics is None:
        return []
    known, unknown = [], []
    for topic in group.topics:
        name = context.services.image.names.get(topic.topic_id)
        if name is not None:
            topic.name = name
            known.append(topic)
        else:
            partitions = [_missing(index, ErrorCode.UNKNOWN_TOPIC_ID) for index in topic.partition_indexes]
            unknown.append(OffsetFetchResponseTopics(topic_id=topic.topic_id, partitions=partitions))
    group.topics = known
    return unknown


def _missing(index: int, code: ErrorCode) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(partition_index=index, committed_offset=-1, metadata="", error_code=code)


def _name(context: RequestContext, group: OffsetFetchResponseGroup) -> None:
    """Give topics of an answer for all of a group's offsets their ids; a topic that exists no more cannot be answered by id."""
    if context.version < _TOPIC_IDS_SINCE:
        return
    named = []
    for topic in group.topics:
        found = context.services.image.topics.get(topic.name)
        if found is not None:
            topic.topic_id = found.topic_id
            named.append(topic)
    group.topics = named


def _of_one_group(version: int, asked: OffsetFetchRequestGroup, group: OffsetFetchResponseGroup) -> OffsetFetchResponse:
    """The answer in the form that knows one group; version 1 tells an error of the group at each partition."""
    if group.error_code != ErrorCode.NONE and version < _ERROR_OF_ITS_OWN_SINCE:
        topics = [
            OffsetFetchResponseTopics(
                name=topic.name, partitions=[_missing(index, ErrorCode(group.error_code)) for index in topic.partition_indexes]
            )
            for topic in asked.topics or []
        ]
        group = OffsetFetchResponseGroup(topics=topics)
    return OffsetFetchResponse(
        error_code=group.error_code,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=partition.partition_index,
                        committed_offset=partition.committed_offset,
                        committed_leader_epoch=partition.committed_leader_epoch,
                        metadata=partition.metadata,
                        error_code=partition.error_code,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in group.topics
        ],
    )
