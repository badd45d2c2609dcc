"""Topics on behalf of clients: create, delete, grow.

What is asked for is validated and written to the coordination store, from any broker; the controller sees it there and acts.
Answers wait until this broker's own image shows the result.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

from kafkax.cluster import znodes
from kafkax.cluster.controller.placement import place_replicas
from kafkax.cluster.image import MetadataCache, MetadataImage, has_leaders
from kafkax.cluster.store import BadVersionError, CoordinationStore, Create, MultiError, NodeExistsError, Op, SetData, Stat
from kafkax.cluster.znodes import ReplicaAssignment, TopicAssignment
from kafkax.config import BrokerConfig, TopicConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition, valid_topic_name

__all__ = [
    "GROUP_METADATA_TOPIC",
    "INTERNAL_TOPICS",
    "TRANSACTION_STATE_TOPIC",
    "CreatedTopic",
    "NewTopic",
    "TopicAdmin",
]

GROUP_METADATA_TOPIC = "__consumer_offsets"
TRANSACTION_STATE_TOPIC = "__transaction_state"
INTERNAL_TOPICS = frozenset({GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC})

MAX_NEW_PARTITIONS = 10_000
"""Partitions that one request may create, as in Kafka's KRaft mode."""

_DEFAULT = -1
_AUTO_CREATE_WAIT_S = 2.0
_DELETE_GRACE_S = 2.0
_Outcome = TypeVar("_Outcome")
_log = logging.getLogger(__name__)


def _unlimited(_: int) -> None:
    """Whoever asks may create and delete as many partitions as he wants."""


@dataclass(frozen=True)
class NewTopic:
    """A topic to create.

    Attributes:
        partitions: how many, -1 for ``num.partitions``.
        replication_factor: replicas of each, -1 for ``default.replication.factor``.
        assignments: broker ids by partition, instead of both.
        configs: as text; None as a value is refused.
    """

    name: str
    partitions: int = _DEFAULT
    replication_factor: int = _DEFAULT
    assignments: Mapping[int, Sequence[int]] = field(default_factory=dict)
    configs: Mapping[str, str | None] = field(default_factory=dict)


class CreatedTopic(NamedTuple):
    """What became, or with ``validate_only`` would become, of a :class:`NewTopic`."""

    topic_id: UUID
    replicas: Mapping[int, tuple[int, ...]]
    config: TopicConfig

    @property
    def replication_factor(self) -> int:
        """Replicas of the first partition."""
        return len(self.replicas[0])


class TopicAdmin:
    """Creates, deletes and grows topics.

    Args:
        random: places replicas.
        standalone: whether there can never be another broker, so that internal topics have to do with one replica
            unless their replication factor is set.
    """

    def __init__(
        self, store: CoordinationStore, cache: MetadataCache, config: BrokerConfig, random: Random, *, standalone: bool = False
    ) -> None:
        self._store = store
        self._cache = cache
        self._config = config
        self._random = random
        self._standalone = standalone

    # Creation

    async def create_topics(
        self,
        topics: Sequence[NewTopic],
        *,
        timeout_ms: int,
        validate_only: bool = False,
        take: Callable[[int], None] = _unlimited,
    ) -> list[CreatedTopic | KafkaError]:
        """Create topics, each for itself; answers in the order asked.

        ``take`` is called with the number of partitions of each, and may refuse it.

        Errors: INVALID_REQUEST, INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR,
        INVALID_REPLICA_ASSIGNMENT, INVALID_CONFIG, POLICY_VIOLATION, and REQUEST_TIMED_OUT for a topic that was created but
        had no leaders in time.
        """
        count = Counter(topic.name for topic in topics)
        merged = {_merged(name): name for name in self._cache.image.topics}
        outcomes = [self._validated(topic, count[topic.name], merged) for topic in topics]
        self._bound(outcomes)
        await self._refuse_existing(topics, outcomes)
        _take_for_each(outcomes, lambda created: take(len(created.replicas)))
        if validate_only:
            return outcomes
        await self._write(topics, outcomes)
        created = [
            (topic.name, outcome) for topic, outcome in zip(topics, outcomes, strict=True) if isinstance(outcome, CreatedTopic)
        ]
        partitions = [TopicPartition(name, index) for name, outcome in created for index in outcome.replicas]
        if partitions and not await self._wait(lambda image: has_leaders(image, partitions), timeout_ms):
            image = self._cache.image
            return [
                _timed_out(topic.name, "its leaders are not elected yet; it will appear soon")
                if isinstance(outcome, CreatedTopic)
                and not has_leaders(image, [TopicPartition(topic.name, index) for index in outcome.replicas])
                else outcome
                for topic, outcome in zip(topics, outcomes, strict=True)
            ]
        return outcomes

    async def _wait(self, condition: Callable[[MetadataImage], bool], timeout_ms: int) -> bool:
        return timeout_ms > 0 and await self._cache.wait_for(condition, timeout_ms / 1000)

    def _validated(self, topic: NewTopic, count: int, merged: Mapping[str, str]) -> CreatedTopic | KafkaError:
        try:
            if count > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"topic {topic.name!r} stands twice in the request")
            self._check_name(topic.name, merged)
            return CreatedTopic(uuid4(), self._replicas(topic), self._topic_config(topic.configs))
        except KafkaError as error:
            return error

    def _check_name(self, name: str, merged: Mapping[str, str]) -> None:
        if not valid_topic_name(name):
            raise KafkaError(
                ErrorCode.INVALID_TOPIC_EXCEPTION,
                f"topic name {name[:260]!r} is not allowed: 1 to 249 ASCII letters, digits, '.', '_' and '-', not '.' or '..'",
            )
        if name in self._cache.image.topics:
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {name!r} exists already")
        clash = merged.get(_merged(name))
        if clash is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"topic {name!r} collides with {clash!r}: '.' counts as '_'")

    def _replicas(self, topic: NewTopic) -> dict[int, tuple[int, ...]]:
        brokers = self._cache.image.brokers
        if topic.assignments:
            if topic.partitions != _DEFAULT or topic.replication_factor != _DEFAULT:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    f"topic {topic.name!r}: give either assignments or partitions and replication factor",
                )
            if sorted(topic.assignments) != list(range(len(topic.assignments))):
                raise KafkaError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"topic {topic.name!r}: partitions must be numbered from 0 without gaps"
                )
            replicas = [topic.assignments[index] for index in range(len(topic.assignments))]
            return dict(enumerate(_checked_assignment(replicas, brokers)))
        partitions = self._config["num.partitions"] if topic.partitions == _DEFAULT else topic.partitions
        factor = self._config["default.replication.factor"] if topic.replication_factor == _DEFAULT else topic.replication_factor
        if partitions > MAX_NEW_PARTITIONS:
            raise _too_many(partitions)
        return place_replicas(self._racks(), partitions, factor, self._random)

    def _racks(self) -> dict[int, str | None]:
        return {broker_id: broker.rack for broker_id, broker in self._cache.image.brokers.items()}

    def _topic_config(self, configs: Mapping[str, str | None]) -> TopicConfig:
        texts: dict[str, str] = {}
        for name, text in configs.items():
            if text is None:
                raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name}: the value is null; leave the config out for its default")
            texts[name] = text
        return TopicConfig(texts, self._config)

    def _bound(self, outcomes: list[CreatedTopic | KafkaError]) -> None:
        total = 0
        for at, outcome in enumerate(outcomes):
            if isinstance(outcome, CreatedTopic):
                total += len(outcome.replicas)
                if total > MAX_NEW_PARTITIONS:
                    outcomes[at] = _too_many(total)

    async def _refuse_existing(self, topics: Sequence[NewTopic], outcomes: list[CreatedTopic | KafkaError]) -> None:
        wanted = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, CreatedTopic)]
        for at, found in zip(
            wanted, await self._store.get_many([znodes.topic_path(topics[at].name) for at in wanted]), strict=True
        ):
            if found is not None:
                outcomes[at] = KafkaError(
                    ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {topics[at].name!r} exists, or is being deleted"
                )

    async def _write(self, topics: Sequence[NewTopic], outcomes: list[CreatedTopic | KafkaError]) -> None:
        wanted = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, CreatedTopic)]
        configs = await self._store.get_many([znodes.config_path("topics", topics[at].name) for at in wanted])
        transactions = []
        for at, left_over in zip(wanted, configs, strict=True):
            outcome = outcomes[at]
            assert isinstance(outcome, CreatedTopic)
            transactions.append(_creation(topics[at].name, outcome, None if left_over is None else left_over[1]))
        for at, result in zip(wanted, await self._store.multi_all(transactions), strict=True):
            if isinstance(result, MultiError):
                if not isinstance(result.error, NodeExistsError | BadVersionError):
                    raise result.error
                outcomes[at] = KafkaError(
                    ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {topics[at].name!r} was just created by another"
                )

    async def auto_create(self, names: Sequence[str], take: Callable[[int], None] = _unlimited) -> dict[str, KafkaError | None]:
        """Create topics that a client merely named (``auto.create.topics.enable``), internal ones as their configs say.

        Waits a little for leaders; None for a topic that exists then, otherwise the error for the client, which is
        LEADER_NOT_AVAILABLE when it was created and will have a leader soon.
        """
        topics = [self._named(name) for name in dict.fromkeys(names)]
        outcomes = await self.create_topics(topics, timeout_ms=int(_AUTO_CREATE_WAIT_S * 1000), take=take)
        errors: dict[str, KafkaError | None] = {}
        for topic, outcome in zip(topics, outcomes, strict=True):
            error = outcome if isinstance(outcome, KafkaError) else None
            if error is not None and error.code is ErrorCode.TOPIC_ALREADY_EXISTS:
                # Somebody else was first, which is as good.
                error = None if await self._appears(topic.name) else KafkaError(ErrorCode.LEADER_NOT_AVAILABLE)
            elif error is not None and error.code is ErrorCode.REQUEST_TIMED_OUT:
                error = KafkaError(ErrorCode.LEADER_NOT_AVAILABLE)
            errors[topic.name] = error
        return errors

    async def _appears(self, name: str) -> bool:
        return await self._cache.wait_for(lambda image: name in image.topics, _AUTO_CREATE_WAIT_S)

    def _named(self, name: str) -> NewTopic:
        config = self._config
        if name == GROUP_METADATA_TOPIC:
            configs = {
                "cleanup.policy": "compact",
                "compression.type": "producer",
                "segment.bytes": str(config["offsets.topic.segment.bytes"]),
            }
            factor = self._internal_factor("offsets.topic.replication.factor")
            return NewTopic(name, config["offsets.topic.num.partitions"], factor, configs=configs)
        if name == TRANSACTION_STATE_TOPIC:
            configs = {
                "cleanup.policy": "compact",
                "compression.type": "uncompressed",
                "unclean.leader.election.enable": "false",
                "min.insync.replicas": str(1 if self._standalone else config["transaction.state.log.min.isr"]),
                "segment.bytes": str(config["transaction.state.log.segment.bytes"]),
            }
            factor = self._internal_factor("transaction.state.log.replication.factor")
            return NewTopic(name, config["transaction.state.log.num.partitions"], factor, configs=configs)
        return NewTopic(name)

    def _internal_factor(self, key: str) -> int:
        return 1 if self._standalone and not self._config.is_set(key) else int(self._config[key])

    # Deletion

    async def delete_topics(
        self, topics: Sequence[str | UUID], *, timeout_ms: int, take: Callable[[int], None] = _unlimited
    ) -> list[tuple[str, UUID] | KafkaError]:
        """Delete topics given by name or id; answers with name and id of each in the order asked.

        ``take`` is called with the number of partitions of each, and may refuse it.

        Errors: TOPIC_DELETION_DISABLED, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, REQUEST_TIMED_OUT when it was marked for
        deletion but not gone in time.
        """
        if not self._config["delete.topic.enable"]:
            disabled = KafkaError(ErrorCode.TOPIC_DELETION_DISABLED, "topics cannot be deleted: delete.topic.enable is false")
            return [disabled for _ in topics]
        image = self._cache.image
        outcomes: list[tuple[str, UUID] | KafkaError] = []
        for asked in topics:
            found = image.topic_by_id(asked) if isinstance(asked, UUID) else image.topics.get(asked)
            unknown = ErrorCode.UNKNOWN_TOPIC_ID if isinstance(asked, UUID) else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            outcomes.append(
                KafkaError(unknown, f"topic {asked} does not exist") if found is None else (found.name, found.topic_id)
            )
        _take_for_each(outcomes, lambda found: take(len(image.topics[found[0]].partitions)))
        doomed = {outcome[0]: outcome[1] for outcome in outcomes if not isinstance(outcome, KafkaError)}
        marks = [[Create(znodes.delete_topic_path(name))] for name in doomed]
        for result in await self._store.multi_all(marks):
            if isinstance(result, MultiError) and not isinstance(result.error, NodeExistsError):
                raise result.error
        gone = await self._wait(lambda image: image.names.keys().isdisjoint(doomed.values()), timeout_ms)
        if gone:
            await self._wait_for_nodes([znodes.topic_path(name) for name in doomed])
            return outcomes
        left = self._cache.image.names
        return [
            outcome
            if isinstance(outcome, KafkaError) or outcome[1] not in left
            else _timed_out(outcome[0], "it is marked for deletion and will go when its brokers answer")
            for outcome in outcomes
        ]

    async def _wait_for_nodes(self, paths: Sequence[str]) -> None:
        """Wait a little for nodes to be deleted, so that whoever was answered may create the topic again."""
        changed = asyncio.Event()

        def hint(_: str) -> None:
            changed.set()

        async def all_gone() -> None:
            while any(found is not None for found in await self._store.get_many(paths)):
                await changed.wait()
                changed.clear()

        await self._store.watch_nodes(paths, hint)
        try:
            await asyncio.wait_for(all_gone(), _DELETE_GRACE_S)
        except asyncio.TimeoutError:
            _log.info("%s: replicas of a deleted topic are on brokers that are down", ", ".join(paths))
        finally:
            self._store.unwatch(paths, hint)

    # Growth

    async def create_partitions(
        self,
        name: str,
        count: int,
        assignments: Sequence[Sequence[int]] | None = None,
        *,
        timeout_ms: int,
        validate_only: bool = False,
        take: Callable[[int], None] = _unlimited,
    ) -> None:
        """Raise a topic's number of partitions to ``count``; ``assignments`` gives broker ids of the new ones in order.

        ``take`` is called with the number of new partitions, and may refuse them.

        Raises:
            KafkaError: UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT, REASSIGNMENT_IN_PROGRESS,
                POLICY_VIOLATION, REQUEST_TIMED_OUT when the new partitions had no leaders in time.
        """
        path = znodes.topic_path(name)
        taken = False
        while True:
            found = await self._store.find(path) if valid_topic_name(name) else None
            if found is None or await self._store.exists(znodes.delete_topic_path(name)) is not None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {name!r} does not exist")
            current = TopicAssignment.decode(name, found[0])
            added = self._added(name, current, count, assignments)
            if not taken:
                take(len(added))
                taken = True
            if validate_only:
                return
            partitions = current.partitions | {index: ReplicaAssignment(replicas) for index, replicas in added.items()}
            try:
                await self._store.set(path, current._replace(partitions=partitions).encode(), found[1].version)
                break
            except BadVersionError:
                _log.debug("topic %s changed while it was to grow; trying again", name)
        new = [TopicPartition(name, index) for index in added]
        if not await self._wait(lambda image: has_leaders(image, new), timeout_ms):
            raise _timed_out(name, "the new partitions' leaders are not elected yet")

    def _added(
        self, name: str, current: TopicAssignment, count: int, assignments: Sequence[Sequence[int]] | None
    ) -> dict[int, tuple[int, ...]]:
        existing = len(current.partitions)
        if any(assignment.reassigning for assignment in current.partitions.values()):
            raise KafkaError(ErrorCode.REASSIGNMENT_IN_PROGRESS, f"topic {name!r}: wait until its reassignment is done")
        if count <= existing:
            raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"topic {name!r} has {existing} partitions, {count} is not higher")
        if count - existing > MAX_NEW_PARTITIONS:
            raise _too_many(count - existing)
        first = current.partitions[0].replicas
        brokers = self._cache.image.brokers
        if assignments is not None:
            if len(assignments) != count - existing:
                raise KafkaError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"topic {name!r}: {count - existing} partitions are added, {len(assignments)} assignments given",
                )
            return dict(enumerate(_checked_assignment(assignments, brokers, len(first)), existing))
        order = sorted(brokers)
        start = next((at for at, broker in enumerate(order) if broker >= first[0]), 0)
        return place_replicas(self._racks(), count - existing, len(first), self._random, first_partition=existing, start=start)


def _take_for_each(outcomes: list[_Outcome | KafkaError], take: Callable[[_Outcome], None]) -> None:
    """Refuse those that ``take`` refuses."""
    for at, outcome in enumerate(outcomes):
        if not isinstance(outcome, KafkaError):
            try:
                take(outcome)
            except KafkaError as error:
                outcomes[at] = error


def _merged(name: str) -> str:
    """A topic's name as metrics write it, where two topics must not become one."""
    return name.replace(".", "_")


def _creation(name: str, created: CreatedTopic, config_stat: Stat | None) -> list[Op]:
    config = created.config.overrides
    path, data = znodes.config_path("topics", name), znodes.encode_config(config)
    # What a former topic of the name left behind is replaced.
    ops: list[Op] = [Create(path, data) if config_stat is None else SetData(path, data, config_stat.version)]
    if config or config_stat is not None:
        ops.append(Create(znodes.CONFIG_CHANGE_PREFIX, znodes.encode_config_change("topics", name), sequence=True))
    partitions = {index: ReplicaAssignment(replicas) for index, replicas in created.replicas.items()}
    ops.append(Create(znodes.topic_path(name), TopicAssignment(created.topic_id, partitions).encode()))
    return ops


def _checked_assignment(
    assignments: Sequence[Sequence[int]], brokers: Mapping[int, object], factor: int | None = None
) -> list[tuple[int, ...]]:
    checked = []
    for replicas in assignments:
        if not replicas or len(set(replicas)) < len(replicas):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"replicas {list(replicas)} must be distinct, and at least one"
            )
        unknown = sorted(set(replicas) - brokers.keys())
        if unknown:
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"brokers {unknown} are not registered")
        factor = len(replicas) if factor is None else factor
        if len(replicas) != factor:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"replicas {list(replicas)}: every partition must have {factor}"
            )
        checked.append(tuple(replicas))
    if len(checked) > MAX_NEW_PARTITIONS:
        raise _too_many(len(checked))
    return checked


def _too_many(count: int) -> KafkaError:
    return KafkaError(
        ErrorCode.POLICY_VIOLATION, f"one request may create {MAX_NEW_PARTITIONS} partitions, {count} are asked for; use several"
    )


def _timed_out(name: str, why: str) -> KafkaError:
    return KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"topic {name!r}: {why}")
