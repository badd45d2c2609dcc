"""Offsets: looking them up in partitions, and those that groups commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from kafkax.client.cluster import Cluster, check, sole
from kafkax.client.connection import network_error
from kafkax.client.types import OFFSET_INVALID, TopicPartition, by_topic
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from kafkax.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)

__all__ = ["MOST_NAMED_COMMIT", "commit_offsets", "fetch_offsets", "list_offsets", "on_leaders", "to_commit"]

T = TypeVar("T")
Key = tuple[str, int]
MOST_NAMED_COMMIT = 9
"""Newest versions of OffsetCommit and OffsetFetch that name topics; later ones take ids."""
_GROUPS_SINCE = 8
_NOTHING = object()
_NO_COORDINATOR = frozenset(
    {ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}
)
"""Errors of the coordinator, which it says of every partition."""


async def on_leaders(
    cluster: Cluster, keys: Iterable[Key], timeout: float, ask: Callable[[int, list[Key]], Awaitable[dict[Key, Any]]]
) -> dict[Key, Any]:
    """Ask the leader of every partition, and the new one where it moved; partitions that keep failing have their error.

    Args:
        timeout: seconds.
        ask: gets a broker id and its partitions, gives a result or an error for each.
    """
    results: dict[Key, Any] = {}
    open_keys = set(keys)
    for topic in {topic for topic, _ in open_keys}:
        await cluster.topic(topic, cluster.deadline(timeout))

    async def attempt() -> None:
        by_leader: dict[int, list[Key]] = {}
        for key in sorted(open_keys):
            by_leader.setdefault(_leader(cluster, key, results), []).append(key)
        by_leader.pop(-1, None)
        answers = await asyncio.gather(*(ask(node, each) for node, each in by_leader.items()), return_exceptions=True)
        for (node, asked), answer in zip(by_leader.items(), answers, strict=True):
            for key in asked:
                given = answer if isinstance(answer, BaseException) else answer.get(key, _NOTHING)
                results[key] = _missing(key, f"broker {node}") if given is _NOTHING else given
        again = {key for key in open_keys if isinstance(results.get(key), KafkaError) and results[key].retriable}
        open_keys.intersection_update(again)
        if again:
            await cluster.refresh(sorted({topic for topic, _ in again}))
            raise results[min(again)]

    try:
        await cluster.retry(attempt, cluster.deadline(timeout), "asking leaders")
    except KafkaError as error:
        for key in open_keys:
            results.setdefault(key, error)
    return results


def _leader(cluster: Cluster, key: Key, results: dict[Key, Any]) -> int:
    topic = cluster.metadata.topics.get(key[0])
    if topic is not None and topic.error is None and key[1] not in topic.partitions:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        results[key] = KafkaError(code, f"{key[0]} has {len(topic.partitions)} partitions, no partition {key[1]}")
        return -1
    leader = cluster.metadata.leader(*key)
    if leader < 0:
        results[key] = KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"{key[0]}-{key[1]} has no leader at the moment")
    return leader


async def list_offsets(
    cluster: Cluster, wanted: Mapping[Key, int], isolation: int, timeout: float, result: Callable[[int, int, int], T]
) -> dict[Key, T | KafkaError]:
    """Look up offsets by timestamp (milliseconds, or one of ListOffsets' negative ones).

    Args:
        isolation: 0 read_uncommitted, 1 read_committed.
        result: gets offset, timestamp and leader epoch.
    """

    async def ask(node: int, keys: list[Key]) -> dict[Key, Any]:
        topics = [
            ListOffsetsTopic(
                name=topic,
                partitions=[ListOffsetsPartition(partition_index=each, timestamp=wanted[topic, each]) for each in numbers],
            )
            for topic, numbers in by_topic(keys).items()
        ]
        request = ListOffsetsRequest(replica_id=-1, isolation_level=isolation, topics=topics, timeout_ms=int(timeout * 1000))
        answer = await cluster.request(request, ListOffsetsResponse, node)
        return {
            (topic.name, each.partition_index): _failure(each.error_code, topic.name, each.partition_index)
            or result(each.offset, each.timestamp, each.leader_epoch)
            for topic in answer.topics
            for each in topic.partitions
        }

    return await on_leaders(cluster, wanted, timeout, ask)


def _failure(number: int, topic: str, partition: int) -> KafkaError | None:
    if not number:
        return None
    code = error_code(number)
    return KafkaError(code, f"{topic}-{partition}: {code.message}")


def to_commit(topic: Callable[..., T], partition: Callable[..., object], offsets: Sequence[TopicPartition]) -> list[T]:
    """Offsets by topic, in the structures ``topic`` and ``partition`` of a request that commits."""
    by_key = {each.key: each for each in offsets}
    return [
        topic(
            name=name,
            partitions=[
                partition(
                    partition_index=number,
                    committed_offset=by_key[name, number].offset,
                    committed_leader_epoch=by_key[name, number].leader_epoch,
                    committed_metadata=by_key[name, number].metadata or "",
                )
                for number in numbers
            ],
        )
        for name, numbers in by_topic(by_key).items()
    ]


async def commit_offsets(
    cluster: Cluster,
    node: int,
    group: str,
    offsets: Sequence[TopicPartition],
    generation: int = -1,
    member_id: str = "",
    instance_id: str | None = None,
) -> dict[Key, KafkaError | None]:
    """Commit offsets with the coordinator ``node``; gives None or an error by partition."""
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        group_instance_id=instance_id,
        topics=to_commit(OffsetCommitRequestTopic, OffsetCommitRequestPartition, offsets),
    )
    connection = await cluster.connection(node)
    version = connection.version(OffsetCommitRequest, MOST_NAMED_COMMIT)
    answer = await connection.request(request, OffsetCommitResponse, cluster.timeout, version)
    results = {
        (topic.name, each.partition_index): _failure(each.error_code, topic.name, each.partition_index)
        for topic in answer.topics
        for each in topic.partitions
    }
    if missing := {each.key for each in offsets} - results.keys():
        raise _missing(min(missing), connection.address)
    for error in results.values():
        if error is not None and error.code in _NO_COORDINATOR:
            raise error
    return results


async def fetch_offsets(
    cluster: Cluster,
    node: int,
    group: str,
    partitions: Sequence[Key] | None,
    *,
    stable: bool,
    member_id: str | None = None,
    member_epoch: int = -1,
) -> list[TopicPartition]:
    """Committed offsets from the coordinator ``node``; OFFSET_INVALID where there is none.

    Args:
        partitions: None for all that the group has committed.
        stable: fail with UNSTABLE_OFFSET_COMMIT while a transaction's commit is open.

    Raises:
        KafkaError: of the group.
    """
    topics = None if partitions is None else by_topic(partitions)
    connection = await cluster.connection(node)
    version = connection.version(OffsetFetchRequest, MOST_NAMED_COMMIT)
    request: Any = OffsetFetchRequest(require_stable=stable and version >= 7)
    if version >= _GROUPS_SINCE:
        wanted = None
        if topics is not None:
            wanted = [OffsetFetchRequestTopics(name=name, partition_indexes=numbers) for name, numbers in topics.items()]
        one = OffsetFetchRequestGroup(group_id=group, topics=wanted, member_id=member_id, member_epoch=member_epoch)
        request.groups = [one]
    else:
        request.group_id = group
        request.topics = None
        if topics is not None:
            request.topics = [OffsetFetchRequestTopic(name=name, partition_indexes=numbers) for name, numbers in topics.items()]
    answer = await connection.request(request, OffsetFetchResponse, cluster.timeout, version)
    found: Any = sole(answer.groups, f"offsets of group {group}") if version >= _GROUPS_SINCE else answer
    check(found.error_code, f"offsets of group {group}")
    offsets = []
    for topic in found.topics:
        for each in topic.partitions:
            check(each.error_code, f"offset of {topic.name}-{each.partition_index} in group {group}")
            offset = each.committed_offset if each.committed_offset >= 0 else OFFSET_INVALID
            offsets.append(TopicPartition(topic.name, each.partition_index, offset, each.metadata, each.committed_leader_epoch))
    if missing := set(partitions or ()) - {each.key for each in offsets}:
        raise _missing(min(missing), connection.address)
    return offsets


def _missing(key: Key, who: str) -> KafkaError:
    return network_error(f"{key[0]}-{key[1]} is not in the answer of {who}")
