"""The administration client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from kafkax.client.admin import configs, groups, records, topics
from kafkax.client.admin.topics import lacks
from kafkax.client.admin.types import (
    ConfigAlteration,
    ConfigResource,
    GroupListing,
    LogDirectory,
    NewPartitions,
    NewTopic,
    OffsetSpecResult,
    Reassignment,
)
from kafkax.client.base import BaseClient
from kafkax.client.metadata import BrokerMetadata
from kafkax.client.offsets import list_offsets
from kafkax.client.types import TopicPartition
from kafkax.protocol.messages.describe_cluster import DescribeClusterResponse

__all__ = ["AdminClient"]

K = TypeVar("K", bound=Hashable)
Futures = dict[K, "Future[Any]"]


class AdminClient(BaseClient):
    """Creates, describes, alters and deletes what a cluster has.

    Operations on several things give a future for each of them; those on the whole give the result itself. Timeouts are seconds:
    ``operation_timeout`` is how long the broker may take before it answers. Every operation retries what can be retried until
    ``request_timeout`` is over; then the last error stands.

    Args:
        config: names to values; ``bootstrap.servers`` is needed.

    Raises:
        ConfigError: a config is not known or not allowed.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__("A", config)

    def _each(self, keys: Iterable[K], work: Coroutine[Any, Any, Mapping[K, Any]]) -> Futures[K]:
        """A future per key, from work that gives a result or an error per key."""
        futures: Futures[K] = {key: Future() for key in keys}

        def done(whole: Future[Mapping[K, Any]]) -> None:
            failure = whole.exception()
            results = {} if failure is not None else whole.result()
            for key, future in futures.items():
                result = failure if failure is not None else results.get(key, lacks(key))
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

        self._io.submit(work).add_done_callback(done)
        return futures

    def _wait(self, work: Callable[[], Coroutine[Any, Any, Any]], timeout: float, what: str) -> Any:
        return self._io.run(work(), timeout + self._cluster.timeout + 5, what)

    def api_versions(self, *, request_timeout: float = 30.0) -> dict[BrokerMetadata, dict[int, tuple[int, int]]]:
        """Oldest and newest version of each API by number, for every broker."""
        result: dict[BrokerMetadata, dict[int, tuple[int, int]]] = self._wait(
            lambda: records.api_versions(self._cluster, request_timeout), request_timeout, "api_versions"
        )
        return result

    def create_topics(
        self,
        new_topics: Sequence[NewTopic],
        *,
        operation_timeout: float = 30.0,
        request_timeout: float = 30.0,
        validate_only: bool = False,
    ) -> Futures[str]:
        """Create topics; each future gives a :class:`~kafkax.client.admin.types.CreatedTopic`."""
        times = topics.Times(operation_timeout, request_timeout)
        work = topics.create_topics(self._cluster, new_topics, times, validate_only)
        return self._each([each.topic for each in new_topics], work)

    def delete_topics(
        self, names: Sequence[str], *, operation_timeout: float = 30.0, request_timeout: float = 30.0
    ) -> Futures[str]:
        """Delete topics; each future gives None."""
        times = topics.Times(operation_timeout, request_timeout)
        return self._each(names, topics.delete_topics(self._cluster, names, times))

    def create_partitions(
        self,
        new_partitions: Sequence[NewPartitions],
        *,
        operation_timeout: float = 30.0,
        request_timeout: float = 30.0,
        validate_only: bool = False,
    ) -> Futures[str]:
        """Raise the number of partitions; each future gives None."""
        times = topics.Times(operation_timeout, request_timeout)
        work = topics.create_partitions(self._cluster, new_partitions, times, validate_only)
        return self._each([each.topic for each in new_partitions], work)

    def describe_configs(
        self, resources: Sequence[ConfigResource], *, documentation: bool = False, request_timeout: float = 30.0
    ) -> Futures[ConfigResource]:
        """Configs; each future gives a dict from name to :class:`~kafkax.client.admin.types.ConfigEntry`."""
        return self._each(resources, configs.describe_configs(self._cluster, resources, request_timeout, documentation))

    def incremental_alter_configs(
        self,
        changes: Mapping[ConfigResource, Sequence[ConfigAlteration]],
        *,
        validate_only: bool = False,
        request_timeout: float = 30.0,
    ) -> Futures[ConfigResource]:
        """Change single configs and leave the others; each future gives None."""
        return self._each(changes, configs.alter_configs(self._cluster, changes, request_timeout, validate_only))

    def describe_cluster(self, *, request_timeout: float = 30.0) -> DescribeClusterResponse:
        """Brokers, controller and cluster id."""
        result: DescribeClusterResponse = self._wait(
            lambda: records.describe_cluster(self._cluster, request_timeout), request_timeout, "describe_cluster"
        )
        return result

    def list_consumer_groups(
        self, *, states: Iterable[str] = (), types: Iterable[str] = (), request_timeout: float = 30.0
    ) -> list[GroupListing]:
        """Groups of all brokers; empty filters let everything pass."""
        result: list[GroupListing] = self._wait(
            lambda: groups.list_groups(self._cluster, states, types, request_timeout), request_timeout, "list_consumer_groups"
        )
        return result

    def describe_consumer_groups(self, group_ids: Sequence[str], *, request_timeout: float = 30.0) -> Futures[str]:
        """State and members; each future gives a :class:`~kafkax.client.admin.types.GroupDescription`."""
        return self._each(group_ids, groups.describe_groups(self._cluster, group_ids, request_timeout))

    def delete_consumer_groups(self, group_ids: Sequence[str], *, request_timeout: float = 30.0) -> Futures[str]:
        """Delete empty groups with their offsets; each future gives None."""
        return self._each(group_ids, groups.delete_groups(self._cluster, group_ids, request_timeout))

    def list_consumer_group_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None, *, request_timeout: float = 30.0
    ) -> list[TopicPartition]:
        """Committed offsets of a group, of these partitions or of all."""
        keys = None if partitions is None else [each.key for each in partitions]
        result: list[TopicPartition] = self._wait(
            lambda: groups.list_offsets_of_group(self._cluster, group_id, keys, request_timeout),
            request_timeout,
            "list_consumer_group_offsets",
        )
        return result

    def alter_consumer_group_offsets(
        self, group_id: str, offsets: Sequence[TopicPartition], *, request_timeout: float = 30.0
    ) -> Futures[tuple[str, int]]:
        """Set offsets of a group that has no members; each future gives None."""
        work = groups.alter_offsets(self._cluster, group_id, offsets, request_timeout)
        return self._each([each.key for each in offsets], work)

    def delete_consumer_group_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition], *, request_timeout: float = 30.0
    ) -> Futures[tuple[str, int]]:
        """Forget offsets of topics that the group does not subscribe to; each future gives None."""
        keys = [each.key for each in partitions]
        return self._each(keys, groups.delete_offsets(self._cluster, group_id, keys, request_timeout))

    def list_offsets(
        self, wanted: Mapping[tuple[str, int], int], *, isolation_level: int = 0, request_timeout: float = 30.0
    ) -> Futures[tuple[str, int]]:
        """Look up offsets; each future gives an :class:`~kafkax.client.admin.types.OffsetSpecResult`.

        Args:
            wanted: partition to one of :class:`~kafkax.client.admin.types.OffsetSpec` or a timestamp in milliseconds.
            isolation_level: 0 read_uncommitted, 1 read_committed.
        """
        work = list_offsets(self._cluster, wanted, isolation_level, request_timeout, OffsetSpecResult)
        return self._each(wanted, work)

    def delete_records(
        self, offsets: Mapping[tuple[str, int], int], *, request_timeout: float = 30.0
    ) -> Futures[tuple[str, int]]:
        """Delete records before these offsets (-1: all); each future gives the partition's new first offset."""
        return self._each(offsets, records.delete_records(self._cluster, offsets, request_timeout))

    def describe_log_dirs(
        self, brokers: Iterable[int] | None = None, topics: Iterable[str] | None = None, *, request_timeout: float = 30.0
    ) -> list[LogDirectory]:
        """Log directories of these brokers and what they hold of these topics; None stands for all."""
        result: list[LogDirectory] = self._wait(
            lambda: records.describe_log_dirs(self._cluster, brokers, topics, request_timeout),
            request_timeout,
            "describe_log_dirs",
        )
        return result

    def elect_leaders(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, unclean: bool = False, request_timeout: float = 30.0
    ) -> dict[tuple[str, int], Any]:
        """Elect preferred leaders, or any (``unclean``, loses data); gives None or an error for each partition asked about."""
        result: dict[tuple[str, int], Any] = self._wait(
            lambda: topics.elect_leaders(self._cluster, unclean, partitions, request_timeout), request_timeout, "elect_leaders"
        )
        return result

    def alter_partition_reassignments(
        self,
        moves: Mapping[tuple[str, int], Sequence[int] | None],
        *,
        allow_replication_factor_change: bool = True,
        request_timeout: float = 30.0,
    ) -> Futures[tuple[str, int]]:
        """Move partitions to brokers by id, or cancel their move (None); each future gives None once the move has begun.

        ``allow_replication_factor_change``: whether a partition may get more or fewer replicas by it; brokers that are too old
        to know of this (KIP-860) refuse the request where it may not.
        """
        change = allow_replication_factor_change
        return self._each(moves, topics.alter_reassignments(self._cluster, moves, request_timeout, change))

    def list_partition_reassignments(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, request_timeout: float = 30.0
    ) -> list[Reassignment]:
        """Moves that are under way, of these partitions or of all."""
        result: list[Reassignment] = self._wait(
            lambda: topics.list_reassignments(self._cluster, partitions, request_timeout),
            request_timeout,
            "list_partition_reassignments",
        )
        return result

    def describe_client_quotas(
        self, entity: Mapping[str, str | None], *, request_timeout: float = 30.0
    ) -> dict[configs.Entity, dict[str, float]]:
        """Quotas of matching entities, like ``{"user": "*", "client-id": None}``: any user, the default client id."""
        result: dict[configs.Entity, dict[str, float]] = self._wait(
            lambda: configs.describe_quotas(self._cluster, entity, request_timeout), request_timeout, "describe_client_quotas"
        )
        return result

    def alter_client_quotas(
        self,
        entity: Mapping[str, str | None],
        changes: Mapping[str, float | None],
        *,
        validate_only: bool = False,
        request_timeout: float = 30.0,
    ) -> None:
        """Set quotas of one entity (name None: its default) or remove them (value None)."""
        self._wait(
            lambda: configs.alter_quotas(self._cluster, entity, changes, request_timeout, validate_only),
            request_timeout,
            "alter_client_quotas",
        )
