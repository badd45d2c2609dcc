"""Records and where they lie: deleting them, and the log directories of brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from kafkax.client.admin.types import LogDirectory, ReplicaInLogDirectory
from kafkax.client.cluster import Cluster, check
from kafkax.client.metadata import BrokerMetadata
from kafkax.client.offsets import on_leaders
from kafkax.client.types import by_topic
from kafkax.errors import KafkaError, error_code
from kafkax.protocol.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from kafkax.protocol.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from kafkax.protocol.messages.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
)

__all__ = ["api_versions", "delete_records", "describe_cluster", "describe_log_dirs"]


async def delete_records(cluster: Cluster, offsets: Mapping[tuple[str, int], int], timeout: float) -> dict[tuple[str, int], Any]:
    """Delete what lies before these offsets (-1: before the high watermark); gives the new log start offset or an error."""

    async def ask(node: int, keys: list[tuple[str, int]]) -> dict[tuple[str, int], Any]:
        topics = [
            DeleteRecordsTopic(
                name=topic,
                partitions=[DeleteRecordsPartition(partition_index=each, offset=offsets[topic, each]) for each in numbers],
            )
            for topic, numbers in by_topic(keys).items()
        ]
        request = DeleteRecordsRequest(topics=topics, timeout_ms=int(timeout * 1000))
        answer = await cluster.request(request, DeleteRecordsResponse, node, timeout + cluster.timeout)
        results: dict[tuple[str, int], Any] = {}
        for topic in answer.topics:
            for each in topic.partitions:
                key = (topic.name, each.partition_index)
                results[key] = each.low_watermark
                if each.error_code:
                    code = error_code(each.error_code)
                    results[key] = KafkaError(code, f"{topic.name}-{each.partition_index}: {code.message}")
        return results

    return await on_leaders(cluster, offsets, timeout, ask)


async def describe_log_dirs(
    cluster: Cluster, brokers: Iterable[int] | None, topics: Iterable[str] | None, timeout: float
) -> list[LogDirectory]:
    """Log directories of these brokers (None: all) and what they hold of these topics (None: all)."""
    await cluster.retry(lambda: cluster.refresh(topics), cluster.deadline(timeout), "metadata")
    wanted = None
    if topics is not None:
        known = [cluster.metadata.topics[name] for name in topics if name in cluster.metadata.topics]
        wanted = [DescribableLogDirTopic(topic=each.topic, partitions=list(each.partitions)) for each in known]
    nodes = sorted(cluster.metadata.brokers if brokers is None else brokers)

    async def ask(node: int) -> list[LogDirectory]:
        answer = await cluster.request(DescribeLogDirsRequest(topics=wanted), DescribeLogDirsResponse, node)
        check(answer.error_code, f"log directories of broker {node}")
        return [_directory(node, each) for each in answer.results]

    lists = await asyncio.gather(
        *(
            cluster.retry(lambda node=node: ask(node), cluster.deadline(timeout), "describing log directories")  # type: ignore[misc]
            for node in nodes
        )
    )
    return [each for directories in lists for each in directories]


def _directory(node: int, found: DescribeLogDirsResult) -> LogDirectory:
    code = error_code(found.error_code)
    error = KafkaError(code, f"{found.log_dir}: {code.message}") if found.error_code else None
    replicas = [
        ReplicaInLogDirectory(topic.name, each.partition_index, each.partition_size, each.offset_lag, each.is_future_key)
        for topic in found.topics
        for each in topic.partitions
    ]
    return LogDirectory(node, found.log_dir, error, found.total_bytes, found.usable_bytes, replicas)


async def api_versions(cluster: Cluster, timeout: float) -> dict[BrokerMetadata, dict[int, tuple[int, int]]]:
    """Versions of the APIs that each broker serves."""
    await cluster.retry(lambda: cluster.refresh([]), cluster.deadline(timeout), "metadata")
    brokers = sorted(cluster.metadata.brokers.items())
    return {broker: (await cluster.connection(node)).versions for node, broker in brokers}


async def describe_cluster(cluster: Cluster, timeout: float) -> DescribeClusterResponse:
    """Brokers, controller and cluster id."""

    async def attempt() -> DescribeClusterResponse:
        answer = await cluster.request(DescribeClusterRequest(), DescribeClusterResponse)
        check(answer.error_code, "cluster", answer.error_message)
        return answer

    return await cluster.retry(attempt, cluster.deadline(timeout), "describing the cluster")
