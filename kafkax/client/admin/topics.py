"""Topics and partitions: create, delete, grow, move, elect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafkax.client.admin.types import (
    CreatedTopic,
    NewPartitions,
    NewTopic,
    Reassignment,
    TopicDescription,
    TopicPartitionInfo,
)
from kafkax.client.cluster import Cluster, check
from kafkax.client.connection import network_error
from kafkax.client.types import by_topic
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from kafkax.protocol.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from kafkax.protocol.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from kafkax.protocol.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from kafkax.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics,
)

__all__ = [
    "Times",
    "alter_reassignments",
    "create_partitions",
    "create_topics",
    "delete_topics",
    "describe_topics",
    "elect_leaders",
    "lacks",
    "list_reassignments",
    "outcome",
]


class Times(NamedTuple):
    """Seconds that an operation has: at the broker before it answers, and in all, with what is asked again."""

    operation: float
    request: float

    @property
    def operation_ms(self) -> int:
        """What the broker is told."""
        return int(self.operation * 1000)


def lacks(key: object) -> KafkaError:
    """The error of something that a broker was asked for and did not answer."""
    return KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer lacks {key}")


def outcome(number: int, what: str, message: str | None, result: Any) -> Any:
    """The result of one part of a request, or its error; NOT_CONTROLLER is raised, since the whole is asked again."""
    if not number:
        return result
    code = error_code(number)
    error = KafkaError(code, f"{what}: {message or code.message}")
    if code is ErrorCode.NOT_CONTROLLER:
        raise error
    return error


async def create_topics(cluster: Cluster, topics: Sequence[NewTopic], times: Times, validate_only: bool) -> dict[str, Any]:
    """Create topics; gives a :class:`CreatedTopic` or an error by name."""
    wanted = [
        CreatableTopic(
            name=each.topic,
            num_partitions=-1 if each.replica_assignment else each.num_partitions,
            replication_factor=-1 if each.replica_assignment else each.replication_factor,
            assignments=[
                CreatableReplicaAssignment(partition_index=index, broker_ids=list(brokers))
                for index, brokers in enumerate(each.replica_assignment or ())
            ],
            configs=[CreatableTopicConfig(name=name, value=value) for name, value in each.config.items()],
        )
        for each in topics
    ]
    request = CreateTopicsRequest(topics=wanted, timeout_ms=times.operation_ms, validate_only=validate_only)

    async def attempt() -> dict[str, Any]:
        answer = await cluster.request(
            request, CreateTopicsResponse, await cluster.controller(), times.operation + cluster.timeout
        )
        return {
            each.name: outcome(
                each.error_code,
                f"topic {each.name}",
                each.error_message,
                CreatedTopic(each.name, each.topic_id, each.num_partitions, each.replication_factor),
            )
            for each in answer.topics
        }

    return await cluster.retry(attempt, cluster.deadline(times.request), "creating topics")


async def describe_topics(cluster: Cluster, names: Sequence[str], timeout: float) -> dict[str, Any]:
    """Topics and their partitions; gives a :class:`TopicDescription` or an error by name."""

    async def attempt() -> dict[str, Any]:
        answer = await cluster.refresh(names)
        if missing := set(names) - {each.name for each in answer.topics}:
            raise network_error(f"topic {min(missing)} is not in the answer")
        return {name: _described(cluster, name) for name in names}

    return await cluster.retry(attempt, cluster.deadline(timeout), "describing topics")


def _described(cluster: Cluster, name: str) -> TopicDescription | KafkaError:
    topic, brokers = cluster.metadata.topics[name], cluster.metadata.brokers
    if topic.error is not None:
        return topic.error
    partitions = [
        TopicPartitionInfo(
            each.id,
            brokers.get(each.leader),
            [brokers[node] for node in each.replicas if node in brokers],
            [brokers[node] for node in each.isrs if node in brokers],
        )
        for each in topic.partitions.values()
    ]
    return TopicDescription(name, topic.topic_id, topic.is_internal, partitions)


async def delete_topics(cluster: Cluster, names: Sequence[str], times: Times) -> dict[str, Any]:
    """Delete topics; gives None or an error by name."""
    request = DeleteTopicsRequest(
        topics=[DeleteTopicState(name=name) for name in names], topic_names=list(names), timeout_ms=times.operation_ms
    )

    async def attempt() -> dict[str, Any]:
        connection = await cluster.connection(await cluster.controller())
        version = connection.version(DeleteTopicsRequest)
        if version < 6:
            request.topics = []
        answer = await connection.request(request, DeleteTopicsResponse, times.operation + cluster.timeout, version)
        return {
            each.name or "": outcome(each.error_code, f"topic {each.name}", each.error_message, None) for each in answer.responses
        }

    return await cluster.retry(attempt, cluster.deadline(times.request), "deleting topics")


async def create_partitions(
    cluster: Cluster, topics: Sequence[NewPartitions], times: Times, validate_only: bool
) -> dict[str, Any]:
    """Add partitions; gives None or an error by topic."""
    wanted = [
        CreatePartitionsTopic(
            name=each.topic,
            count=each.new_total_count,
            assignments=None
            if each.replica_assignment is None
            else [CreatePartitionsAssignment(broker_ids=list(brokers)) for brokers in each.replica_assignment],
        )
        for each in topics
    ]
    request = CreatePartitionsRequest(topics=wanted, timeout_ms=times.operation_ms, validate_only=validate_only)

    async def attempt() -> dict[str, Any]:
        answer = await cluster.request(
            request, CreatePartitionsResponse, await cluster.controller(), times.operation + cluster.timeout
        )
        return {each.name: outcome(each.error_code, f"topic {each.name}", each.error_message, None) for each in answer.results}

    return await cluster.retry(attempt, cluster.deadline(times.request), "adding partitions")


async def elect_leaders(
    cluster: Cluster, unclean: bool, partitions: Iterable[tuple[str, int]] | None, timeout: float
) -> dict[tuple[str, int], Any]:
    """Elect leaders, the preferred ones or any; gives None or an error by partition. None stands for all partitions."""
    chosen = None
    if partitions is not None:
        chosen = [TopicPartitions(topic=topic, partitions=numbers) for topic, numbers in by_topic(partitions).items()]
    request = ElectLeadersRequest(election_type=int(unclean), topic_partitions=chosen, timeout_ms=int(timeout * 1000))

    async def attempt() -> dict[tuple[str, int], Any]:
        answer = await cluster.request(request, ElectLeadersResponse, await cluster.controller(), timeout + cluster.timeout)
        check(answer.error_code, "leader election")
        return {
            (topic.topic, each.partition_id): outcome(
                each.error_code, f"{topic.topic}-{each.partition_id}", each.error_message, None
            )
            for topic in answer.replica_election_results
            for each in topic.partition_result
        }

    return await cluster.retry(attempt, cluster.deadline(timeout), "electing leaders")


async def alter_reassignments(
    cluster: Cluster,
    moves: Mapping[tuple[str, int], Sequence[int] | None],
    timeout: float,
    allow_replication_factor_change: bool,
) -> dict[tuple[str, int], Any]:
    """Move partitions to these brokers, or cancel their move (None); gives None or an error by partition."""
    topics = [
        ReassignableTopic(
            name=topic,
            partitions=[
                ReassignablePartition(partition_index=number, replicas=None if brokers is None else list(brokers))
                for number in numbers
                for brokers in (moves[topic, number],)
            ],
        )
        for topic, numbers in by_topic(moves).items()
    ]
    request = AlterPartitionReassignmentsRequest(
        topics=topics, timeout_ms=int(timeout * 1000), allow_replication_factor_change=allow_replication_factor_change
    )

    async def attempt() -> dict[tuple[str, int], Any]:
        node = await cluster.controller()
        answer = await cluster.request(request, AlterPartitionReassignmentsResponse, node, timeout + cluster.timeout)
        check(answer.error_code, "reassignment", answer.error_message)
        return {
            (topic.name, each.partition_index): outcome(
                each.error_code, f"{topic.name}-{each.partition_index}", each.error_message, None
            )
            for topic in answer.responses
            for each in topic.partitions
        }

    return await cluster.retry(attempt, cluster.deadline(timeout), "moving partitions")


async def list_reassignments(
    cluster: Cluster, partitions: Iterable[tuple[str, int]] | None, timeout: float
) -> list[Reassignment]:
    """Moves that are under way, of these partitions or of all (None)."""
    chosen = None
    if partitions is not None:
        chosen = [
            ListPartitionReassignmentsTopics(name=topic, partition_indexes=numbers)
            for topic, numbers in by_topic(partitions).items()
        ]
    request = ListPartitionReassignmentsRequest(topics=chosen, timeout_ms=int(timeout * 1000))

    async def attempt() -> list[Reassignment]:
        node = await cluster.controller()
        answer = await cluster.request(request, ListPartitionReassignmentsResponse, node, timeout + cluster.timeout)
        check(answer.error_code, "reassignments", answer.error_message)
        return [
            Reassignment(topic.name, each.partition_index, each.replicas, each.adding_replicas, each.removing_replicas)
            for topic in answer.topics
            for each in topic.partitions
        ]

    return await cluster.retry(attempt, cluster.deadline(timeout), "listing moves of partitions")
