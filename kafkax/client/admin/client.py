"""The administration client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar, overload

from kafkax.client.admin import acls as acl_requests
from kafkax.client.admin import configs, groups, records, scram
from kafkax.client.admin import topics as topic_requests
from kafkax.client.admin.topics import lacks
from kafkax.client.admin.types import (
    AclBinding,
    AclBindingFilter,
    ConfigAlteration,
    ConfigResource,
    ConsumerGroupTopicPartitions,
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
P = TypeVar("P", tuple[str, int], TopicPartition)
Futures = dict[K, "Future[Any]"]


def _key(partition: tuple[str, int] | TopicPartition) -> tuple[str, int]:
    return partition.key if isinstance(partition, TopicPartition) else partition


async def _under(named: Mapping[tuple[str, int], P], work: Coroutine[Any, Any, Mapping[tuple[str, int], Any]]) -> dict[P, Any]:
    """Results under the keys that the caller knows them by."""
    return {named[key]: result for key, result in (await work).items() if key in named}


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
        times = topic_requests.Times(operation_timeout, request_timeout)
        work = topic_requests.create_topics(self._cluster, new_topics, times, validate_only)
        return self._each([each.topic for each in new_topics], work)

    def delete_topics(
        self, topics: Sequence[str], *, operation_timeout: float = 30.0, request_timeout: float = 30.0
    ) -> Futures[str]:
        """Delete topics; each future gives None."""
        times = topic_requests.Times(operation_timeout, request_timeout)
        return self._each(topics, topic_requests.delete_topics(self._cluster, topics, times))

    def describe_topics(self, topics: Sequence[str], *, request_timeout: float = 30.0) -> Futures[str]:
        """Topics and their partitions; each future gives a :class:`~kafkax.client.admin.types.TopicDescription`."""
        return self._each(topics, topic_requests.describe_topics(self._cluster, topics, request_timeout))

    def create_partitions(
        self,
        new_partitions: Sequence[NewPartitions],
        *,
        operation_timeout: float = 30.0,
        request_timeout: float = 30.0,
        validate_only: bool = False,
    ) -> Futures[str]:
        """Raise the number of partitions; each future gives None."""
        times = topic_requests.Times(operation_timeout, request_timeout)
        work = topic_requests.create_partitions(self._cluster, new_partitions, times, validate_only)
        return self._each([each.topic for each in new_partitions], work)

    def describe_configs(
        self, resources: Sequence[ConfigResource], *, documentation: bool = False, request_timeout: float = 30.0
    ) -> Futures[ConfigResource]:
        """Configs; each future gives a dict from name to :class:`~kafkax.client.admin.types.ConfigEntry`."""
        return self._each(resources, configs.describe_configs(self._cluster, resources, request_timeout, documentation))

    def alter_configs(
        self, resources: Sequence[ConfigResource], *, validate_only: bool = False, request_timeout: float = 30.0
    ) -> Futures[ConfigResource]:
        """Leave each resource with its ``set_config``, and nothing else of its own; each future gives None."""
        return self._each(resources, configs.replace_configs(self._cluster, resources, request_timeout, validate_only))

    def incremental_alter_configs(
        self,
        resources: Mapping[ConfigResource, Sequence[ConfigAlteration]] | Sequence[ConfigResource],
        *,
        validate_only: bool = False,
        request_timeout: float = 30.0,
    ) -> Futures[ConfigResource]:
        """Change single configs and leave the others; each future gives None.

        Args:
            resources: what to change of each, or resources with their ``incremental_configs``.
            validate_only: have them checked and leave all as it is.
        """
        changes = resources if isinstance(resources, Mapping) else {each: each.incremental_configs for each in resources}
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

    @overload
    def list_consumer_group_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None, *, request_timeout: float = 30.0
    ) -> list[TopicPartition]: ...

    @overload
    def list_consumer_group_offsets(
        self, group_id: Sequence[ConsumerGroupTopicPartitions], *, request_timeout: float = 30.0
    ) -> Futures[str]: ...

    def list_consumer_group_offsets(
        self,
        group_id: str | Sequence[ConsumerGroupTopicPartitions],
        partitions: Sequence[TopicPartition] | None = None,
        *,
        request_timeout: float = 30.0,
    ) -> list[TopicPartition] | Futures[str]:
        """Committed offsets of a group, of these partitions or of all; of several groups, each future gives a
        :class:`~kafkax.client.admin.types.ConsumerGroupTopicPartitions`."""
        if not isinstance(group_id, str):
            work = groups.list_offsets_of_groups(self._cluster, group_id, request_timeout)
            return self._each([each.group_id for each in group_id], work)
        keys = None if partitions is None else [each.key for each in partitions]
        result: list[TopicPartition] = self._wait(
            lambda: groups.list_offsets_of_group(self._cluster, group_id, keys, request_timeout),
            request_timeout,
            "list_consumer_group_offsets",
        )
        return result

    @overload
    def alter_consumer_group_offsets(
        self, group_id: str, offsets: Sequence[TopicPartition], *, request_timeout: float = 30.0
    ) -> Futures[tuple[str, int]]: ...

    @overload
    def alter_consumer_group_offsets(
        self, group_id: Sequence[ConsumerGroupTopicPartitions], *, request_timeout: float = 30.0
    ) -> Futures[str]: ...

    def alter_consumer_group_offsets(
        self,
        group_id: str | Sequence[ConsumerGroupTopicPartitions],
        offsets: Sequence[TopicPartition] = (),
        *,
        request_timeout: float = 30.0,
    ) -> Futures[tuple[str, int]] | Futures[str]:
        """Set offsets of a group that has no members; each future gives None. Of several groups, each future gives a
        :class:`~kafkax.client.admin.types.ConsumerGroupTopicPartitions`, with an ``error`` at each partition that failed."""
        if not isinstance(group_id, str):
            several = groups.alter_offsets_of_groups(self._cluster, group_id, request_timeout)
            return self._each([each.group_id for each in group_id], several)
        work = groups.alter_offsets(self._cluster, group_id, offsets, request_timeout)
        return self._each([each.key for each in offsets], work)

    def delete_consumer_group_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition], *, request_timeout: float = 30.0
    ) -> Futures[tuple[str, int]]:
        """Forget offsets of topics that the group does not subscribe to; each future gives None."""
        keys = [each.key for each in partitions]
        return self._each(keys, groups.delete_offsets(self._cluster, group_id, keys, request_timeout))

    def list_offsets(
        self, topic_partition_offsets: Mapping[P, int], *, isolation_level: int = 0, request_timeout: float = 30.0
    ) -> Futures[P]:
        """Look up offsets; each future gives an :class:`~kafkax.client.admin.types.OffsetSpecResult`.

        Args:
            topic_partition_offsets: partition (topic and number, or a TopicPartition) to one of
                :class:`~kafkax.client.admin.types.OffsetSpec` or a timestamp in milliseconds.
            isolation_level: 0 read_uncommitted, 1 read_committed.
        """
        named = {_key(each): each for each in topic_partition_offsets}
        by_key = {key: int(topic_partition_offsets[each]) for key, each in named.items()}
        work = list_offsets(self._cluster, by_key, isolation_level, request_timeout, OffsetSpecResult)
        return self._each(topic_partition_offsets, _under(named, work))

    def delete_records(
        self, topic_partition_offsets: Mapping[P, int] | Sequence[TopicPartition], *, request_timeout: float = 30.0
    ) -> Futures[P]:
        """Delete records before these offsets (-1: all); each future gives the partition's new first offset.

        Args:
            topic_partition_offsets: partition to offset, or partitions with their ``offset``.
        """
        given = topic_partition_offsets
        wanted: Any = given if isinstance(given, Mapping) else {each: each.offset for each in given}
        named = {_key(each): each for each in wanted}
        by_key = {key: wanted[each] for key, each in named.items()}
        return self._each(wanted, _under(named, records.delete_records(self._cluster, by_key, request_timeout)))

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
            lambda: topic_requests.elect_leaders(self._cluster, unclean, partitions, request_timeout),
            request_timeout,
            "elect_leaders",
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
        return self._each(moves, topic_requests.alter_reassignments(self._cluster, moves, request_timeout, change))

    def list_partition_reassignments(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, request_timeout: float = 30.0
    ) -> list[Reassignment]:
        """Moves that are under way, of these partitions or of all."""
        result: list[Reassignment] = self._wait(
            lambda: topic_requests.list_reassignments(self._cluster, partitions, request_timeout),
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

    def create_acls(self, acls: Sequence[AclBinding], *, request_timeout: float = 30.0) -> Futures[AclBinding]:
        """Add access control entries; each future gives None."""
        return self._each(acls, acl_requests.create_acls(self._cluster, acls, request_timeout))

    def describe_acls(self, acl_binding_filter: AclBindingFilter, *, request_timeout: float = 30.0) -> list[AclBinding]:
        """Access control entries that a filter matches."""
        result: list[AclBinding] = self._wait(
            lambda: acl_requests.describe_acls(self._cluster, acl_binding_filter, request_timeout),
            request_timeout,
            "describe_acls",
        )
        return result

    def delete_acls(
        self, acl_binding_filters: Sequence[AclBindingFilter], *, request_timeout: float = 30.0
    ) -> Futures[AclBindingFilter]:
        """Delete access control entries; each future gives a list of those that a filter matched."""
        work = acl_requests.delete_acls(self._cluster, acl_binding_filters, request_timeout)
        return self._each(acl_binding_filters, work)

    def describe_user_scram_credentials(
        self, users: Sequence[str] | None = None, *, request_timeout: float = 30.0
    ) -> Futures[str] | dict[str, Any]:
        """SCRAM credentials, without their secrets: of these users, each future gives a
        :class:`~kafkax.client.admin.types.UserScramCredentialsDescription`; of all users (None), the descriptions themselves."""
        if users is not None:
            return self._each(users, scram.describe_credentials(self._cluster, users, request_timeout))
        result: dict[str, Any] = self._wait(
            lambda: scram.describe_credentials(self._cluster, None, request_timeout),
            request_timeout,
            "describe_user_scram_credentials",
        )
        return result

    def alter_user_scram_credentials(
        self, alterations: Sequence[scram.Alteration], *, request_timeout: float = 30.0
    ) -> Futures[str]:
        """Set and delete SCRAM credentials; each future, by user, gives None."""
        users = list(dict.fromkeys(each.user for each in alterations))
        return self._each(users, scram.alter_credentials(self._cluster, alterations, request_timeout))
