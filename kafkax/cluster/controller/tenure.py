"""One tenure of the active controller: from its election until it is replaced or loses its session.

Everything known is read anew at the beginning (:meth:`Tenure.load`) and dropped with the tenure.  Event handlers read the
coordination store when they run, so that several hints make no more work than one, and none is too late.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kafkax.cluster import znodes
from kafkax.cluster.controller.channels import Channels
from kafkax.cluster.controller.context import Context, LiveBroker, Topic
from kafkax.cluster.controller.election import Choice, elect_live, elect_preferred, shrink
from kafkax.cluster.controller.ledger import Ledger
from kafkax.cluster.controller.requests import RequestBatch
from kafkax.cluster.store import CoordinationStore, Delete, NodeError, SetData, Stat, WatchCallback
from kafkax.cluster.znodes import NO_LEADER, BrokerRegistration, PartitionState, ReplicaAssignment, TopicAssignment
from kafkax.model import TopicPartition

__all__ = ["Settings", "Tenure"]

_log = logging.getLogger(__name__)
_DEFAULT_IMBALANCE = 0.1
_NO_PARTITIONS: frozenset[TopicPartition] = frozenset()


class Settings(NamedTuple):
    """What the broker's configuration says about its controller."""

    inter_broker_listener: str = "PLAINTEXT"
    """``inter.broker.listener.name``."""
    unclean_elections: bool = False
    """``unclean.leader.election.enable`` for topics that don't set it."""
    delete_topics: bool = True
    """``delete.topic.enable``."""
    auto_rebalance: bool = True
    """``auto.leader.rebalance.enable``."""
    rebalance_interval_s: float = 300.0
    """``leader.imbalance.check.interval.seconds``."""
    imbalance: float = _DEFAULT_IMBALANCE
    """``leader.imbalance.per.broker.percentage`` as a fraction."""


class Hints(NamedTuple):
    """Watch callbacks by what they hint at; the controller queues the handler of the same name."""

    brokers: WatchCallback
    broker: WatchCallback
    topics: WatchCallback
    topic: WatchCallback
    deletions: WatchCallback
    preferred: WatchCallback
    reassignments: WatchCallback
    isr_changes: WatchCallback
    log_dirs: WatchCallback


class Tenure:
    """The facts, the hands and the event handlers of an active controller.

    Raises from every handler: ControllerMovedError, ConnectionLostError and SessionLostError, after which the tenure is over.
    """

    def __init__(self, store: CoordinationStore, context: Context, channels: Channels, settings: Settings, hints: Hints) -> None:
        self.store = store
        self.context = context
        self.channels = channels
        self.settings = settings
        self.ledger = Ledger(store, context)
        self._hints = hints
        self._restarted_leaders: list[TopicPartition] = []

    @contextmanager
    def batch(self) -> Iterator[RequestBatch]:
        """Collect what brokers must hear; sent when the block ends without an error."""
        batch = RequestBatch(self.context, self.settings.inter_broker_listener)
        yield batch
        for broker_id, request in batch.build():
            self.channels.put(broker_id, request)

    # Beginning

    async def load(self) -> None:
        """Watch and read everything."""
        hints = self._hints
        await self.store.watch_children([znodes.BROKER_IDS], hints.brokers)
        await self.store.watch_children([znodes.TOPICS], hints.topics)
        await self.store.watch_children([znodes.ADMIN_DELETE_TOPICS], hints.deletions)
        await self.store.watch_children([znodes.ISR_CHANGES], hints.isr_changes)
        await self.store.watch_children([znodes.LOG_DIR_EVENTS], hints.log_dirs)
        await self.store.watch_nodes([znodes.PREFERRED_ELECTION], hints.preferred)
        await self.store.watch_nodes([znodes.REASSIGN_PARTITIONS], hints.reassignments)
        self.context.brokers = await self.read_brokers()
        await self.read_topics(await self.store.children(znodes.TOPICS))
        self.context.deleting = set(await self.store.children(znodes.ADMIN_DELETE_TOPICS)) & self.context.topics.keys()
        self.channels.update(self.context.brokers)

    def _led_by_a_former_life(self, partition: TopicPartition, stat: Stat) -> bool:
        """Whether the leader restarted after the state was written, unseen by any controller, and has followers.

        What it had not flushed may be lost, while followers hold it under the same leader epoch: the epoch has to grow, so
        that they truncate.
        """
        leader = self.context.brokers.get(self.context.leader(partition))
        assignment = self.context.assignment(partition)
        return leader is not None and assignment is not None and len(assignment.replicas) > 1 and leader.epoch > stat.mzxid

    async def begin(self) -> None:
        """Let every broker know the state of everything, and elect leaders where they are missing."""
        with self.batch() as batch:
            batch.metadata(self.context.brokers)
        await self.create_partitions(self.context.new_partitions())
        await self._elect_again(self._restarted_leaders)
        with self.batch() as batch:
            for partition, assignment in self.context.partitions():
                if partition in self.context.leaderships and partition.topic not in self.context.deleting:
                    batch.lead(partition, assignment.replicas)
            batch.full_metadata(self.context.brokers)
        await self.elect_leaderless()
        await self.drop_dead_replicas()

    async def _elect_again(self, partitions: list[TopicPartition]) -> None:
        """Begin a new leader epoch."""
        context = self.context

        def choose(partition: TopicPartition, assignment: ReplicaAssignment, state: PartitionState) -> Choice | None:
            return elect_live(assignment, state.isr, lambda replica: context.is_online(replica, partition))

        await self.ledger.elect(partitions, choose)

    async def read_brokers(self) -> dict[int, LiveBroker]:
        """The registered brokers, their nodes watched."""
        ids = sorted(int(name) for name in await self.store.children(znodes.BROKER_IDS))
        paths = [znodes.broker_id_path(broker_id) for broker_id in ids]
        await self.store.watch_nodes(paths, self._hints.broker)
        brokers = {}
        for broker_id, found in zip(ids, await self.store.get_many(paths), strict=True):
            if found is not None:
                brokers[broker_id] = LiveBroker(BrokerRegistration.decode(broker_id, found[0]), found[1].czxid)
        return brokers

    async def read_topics(self, names: Iterable[str]) -> list[str]:
        """Take over new topics with their partitions' states, giving ids where they lack; returns the topics' names."""
        wanted = sorted(names)
        paths = [znodes.topic_path(name) for name in wanted]
        await self.store.watch_nodes(paths, self._hints.topic)
        added: list[str] = []
        nameless: list[tuple[str, SetData]] = []
        for name, path, found in zip(wanted, paths, await self.store.get_many(paths), strict=True):
            if found is None:
                continue
            assignment, version = TopicAssignment.decode(name, found[0]), found[1].version
            topic_id = assignment.topic_id
            if topic_id is None:
                topic_id = uuid.uuid4()
                nameless.append((name, SetData(path, assignment._replace(topic_id=topic_id).encode(), version)))
                version += 1
            self.context.put_topic(Topic(name, topic_id, assignment.partitions, version))
            added.append(name)
        for (name, _), outcome in zip(nameless, await self.ledger.commit_all([op] for _, op in nameless), strict=True):
            if isinstance(outcome, NodeError):
                # Somebody else just wrote the node: the watch brings it back.
                self.context.forget_topic(name)
        stats = await self.ledger.refresh([TopicPartition(name, index) for name in added for index in self._indexes(name)])
        self._restarted_leaders += [p for p, stat in stats.items() if self._led_by_a_former_life(p, stat)]
        return [name for name in added if name in self.context.topics]

    def _indexes(self, name: str) -> Iterable[int]:
        topic = self.context.topics.get(name)
        return () if topic is None else topic.partitions

    # Leaders

    async def create_partitions(self, partitions: Iterable[TopicPartition]) -> None:
        """Give new partitions a leader and an ISR of all living replicas; those without a living replica wait."""
        states: dict[TopicPartition, PartitionState] = {}
        for partition in partitions:
            assignment = self.context.assignment(partition)
            assert assignment is not None
            living = tuple(replica for replica in assignment.replicas if self.context.is_online(replica, partition))
            if living:
                states[partition] = PartitionState(living[0], 0, living, self.context.epoch)
        await self.ledger.create_states(states)
        with self.batch() as batch:
            for partition in states:
                self.lead(batch, partition, is_new=True)

    def lead(self, batch: RequestBatch, partition: TopicPartition, *, is_new: bool = False) -> None:
        """Tell a partition's replicas who leads."""
        assignment = self.context.assignment(partition)
        if assignment is not None:
            batch.lead(partition, assignment.replicas, is_new=is_new)

    async def elect_leaderless(self, *, forced: frozenset[TopicPartition] = _NO_PARTITIONS) -> set[TopicPartition]:
        """Elect a leader for every partition that lacks one; returns those that got one.

        Args:
            forced: partitions for which an unclean election was asked for (KIP-460).
        """
        context = self.context
        leaderless = [partition for partition in context.leaderless() if partition in context.leaderships]
        unclean = await self._unclean_topics(leaderless)

        def choose(partition: TopicPartition, assignment: ReplicaAssignment, state: PartitionState) -> Choice | None:
            allowed = partition.topic in unclean or partition in forced
            return elect_live(assignment, state.isr, lambda replica: context.is_online(replica, partition), unclean=allowed)

        elected = await self.ledger.elect(leaderless, choose)
        with self.batch() as batch:
            for partition in sorted(elected):
                self.lead(batch, partition)
        return elected

    async def _unclean_topics(self, partitions: list[TopicPartition]) -> set[str]:
        """Of partitions without a living replica in sync, the topics that allow an unclean election."""
        context = self.context
        stuck = sorted(
            {p.topic for p in partitions if not any(context.is_online(r, p) for r in context.leaderships[p].state.isr)}
        )
        paths = [znodes.config_path("topics", name) for name in stuck]
        allowed = set()
        for name, path, found in zip(stuck, paths, await self.store.get_many(paths), strict=True):
            text = znodes.decode_config(path, found[0]).get("unclean.leader.election.enable") if found else None
            if self.settings.unclean_elections if text is None else text == "true":
                allowed.add(name)
        return allowed

    async def elect_preferred(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Move leadership to the first replica where it is in sync; returns the partitions that moved."""
        context = self.context

        def choose(partition: TopicPartition, assignment: ReplicaAssignment, state: PartitionState) -> Choice | None:
            if state.leader == assignment.replicas[0]:
                return None
            return elect_preferred(assignment, state.isr, lambda replica: context.is_online(replica, partition))

        moved = await self.ledger.elect((p for p in partitions if p.topic not in context.deleting), choose)
        with self.batch() as batch:
            for partition in sorted(moved):
                self.lead(batch, partition)
        return moved

    async def rebalance(self) -> None:
        """Elect preferred leaders for brokers that lead too few of the partitions they are preferred for."""
        preferred: dict[int, list[TopicPartition]] = {}
        for partition, assignment in self.context.partitions():
            preferred.setdefault(assignment.replicas[0], []).append(partition)
        for broker_id in sorted(preferred):
            partitions = preferred[broker_id]
            elsewhere = [partition for partition in partitions if self.context.leader(partition) != broker_id]
            if broker_id in self.context.brokers and len(elsewhere) > self.settings.imbalance * len(partitions):
                await self.elect_preferred(elsewhere)

    async def drop_dead_replicas(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        """Take replicas that are gone out of the ISR, where the last one stays, and out of the lead."""
        context = self.context
        states: dict[TopicPartition, PartitionState] = {}
        for partition in sorted(context.leaderships) if partitions is None else partitions:
            leadership = context.leaderships.get(partition)
            if leadership is None or partition.topic in context.deleting:
                continue
            state = leadership.state
            gone = frozenset(r for r in (state.leader, *state.isr) if r != NO_LEADER and not context.is_alive(r, partition))
            after = shrink(state, gone, context.epoch)
            if (after.leader, after.isr) != (state.leader, state.isr):
                states[partition] = after
        written = await self.ledger.update_states(states)
        with self.batch() as batch:
            for partition in sorted(written):
                self.lead(batch, partition)

    # Brokers

    async def remove_dead(self, broker: LiveBroker) -> bool:
        """End the registration of a broker whose process is gone, without waiting for its session; whether it was ended.

        A broker that lives all the same loses nothing but its leaderships: it registers anew, as after a lost session.
        """
        broker_id = broker.registration.broker_id
        live = self.context.brokers.get(broker_id)
        path = znodes.broker_id_path(broker_id)
        found = await self.store.find(path)
        if live is None or live.epoch != broker.epoch or found is None or found[1].czxid != broker.epoch:
            return False
        _log.warning("broker %d is gone: nobody listens there any more", broker_id)
        (outcome,) = await self.ledger.commit_all([[Delete(path, found[1].version)]])
        return not isinstance(outcome, NodeError)

    async def brokers_changed(self) -> None:
        """Brokers registered, restarted, moved or disappeared."""
        context = self.context
        before, now = context.brokers, await self.read_brokers()
        gone = before.keys() - now.keys()
        restarted = {broker_id for broker_id in before.keys() & now.keys() if before[broker_id].epoch != now[broker_id].epoch}
        added = now.keys() - before.keys()
        moved = {broker_id for broker_id in before.keys() & now.keys() - restarted if before[broker_id] != now[broker_id]}
        if not (gone or restarted or added or moved):
            return
        failed = gone | restarted
        # A broker that restarted between two reads failed all the same: what it led may have been cut by the crash.
        context.brokers = {broker_id: live for broker_id, live in now.items() if broker_id not in restarted | added}
        self.channels.update(context.brokers)
        if failed:
            await self._brokers_failed(failed)
        context.brokers = now
        self.channels.update(context.brokers)
        if restarted or added:
            await self._brokers_started(restarted | added)
        if failed or moved:
            with self.batch() as batch:
                batch.metadata(context.brokers)

    async def _brokers_failed(self, brokers: Iterable[int]) -> None:
        context = self.context
        affected = context.partitions_on(brokers)
        for broker_id in brokers:
            context.shutting_down.discard(broker_id)
            context.offline.pop(broker_id, None)
        await self.elect_leaderless()
        await self.drop_dead_replicas(affected)
        with self.batch() as batch:
            # Their replicas are offline, and partitions without another one have no leader any more.
            batch.metadata(context.brokers, affected)

    async def _brokers_started(self, brokers: Iterable[int]) -> None:
        context = self.context
        started = frozenset(brokers)
        for broker_id in started:
            context.offline.pop(broker_id, None)
        with self.batch() as batch:
            batch.full_metadata(started)
            batch.metadata([broker_id for broker_id in context.brokers if broker_id not in started])
        with self.batch() as batch:
            for partition in context.partitions_on(started):
                assignment = context.assignment(partition)
                if assignment is not None and partition in context.leaderships and partition.topic not in context.deleting:
                    batch.lead(partition, started.intersection(assignment.replicas))
        await self.create_partitions(context.new_partitions())
        await self.elect_leaderless()

    # Topics

    async def topics_changed(self) -> None:
        """Topics were created, or their nodes deleted."""
        names = set(await self.store.children(znodes.TOPICS))
        for name in self.context.topics.keys() - names:
            # Deleted behind the controller's back; nothing is left to be done for it.
            self.context.forget_topic(name)
            self.store.unwatch([znodes.topic_path(name)], self._hints.topic)
        added = await self.read_topics(names - self.context.topics.keys())
        await self.create_partitions(
            TopicPartition(name, index)
            for name in added
            for index in self._indexes(name)
            if TopicPartition(name, index) not in self.context.leaderships
        )

    async def topic_changed(self, name: str) -> None:
        """A topic's node changed: partitions were added."""
        known = self.context.topics.get(name)
        found = await self.store.find(znodes.topic_path(name))
        if known is None or found is None or found[1].version == known.version:
            return
        assignment = TopicAssignment.decode(name, found[0])
        if assignment.topic_id not in (None, known.topic_id):
            # Deleted and created again between two reads.
            self.context.forget_topic(name)
            await self.topics_changed()
            return
        added = assignment.partitions.keys() - known.partitions.keys()
        known.version = found[1].version
        if added and name in self.context.deleting:
            # A topic that is going must not grow, or its deletion would never end.
            await self.write_topic(known)
            return
        known.partitions.update((index, assignment.partitions[index]) for index in sorted(added))
        await self.create_partitions(TopicPartition(name, index) for index in sorted(added))

    async def write_topic(self, topic: Topic) -> None:
        """Write a topic's assignment as the context has it."""
        data = TopicAssignment(topic.topic_id, topic.partitions).encode()
        await self.ledger.commit([SetData(znodes.topic_path(topic.name), data, topic.version)])
        topic.version += 1

    # Requests that come through the store

    async def preferred_requested(self) -> None:
        """An operator asks for preferred leaders through ``/admin/preferred_replica_election``."""
        found = await self.store.find(znodes.PREFERRED_ELECTION)
        if found is None:
            return
        partitions = znodes.decode_partitions(znodes.PREFERRED_ELECTION, found[0])
        await self.elect_preferred(TopicPartition(*partition) for partition in partitions)
        await self.ledger.commit([Delete(znodes.PREFERRED_ELECTION)])

    async def isr_notified(self) -> None:
        """A broker of an older Kafka changed ISRs itself and says so; read them and spread them."""
        paths = [f"{znodes.ISR_CHANGES}/{name}" for name in sorted(await self.store.children(znodes.ISR_CHANGES))]
        changed: set[TopicPartition] = set()
        for path, found in zip(paths, await self.store.get_many(paths), strict=True):
            if found is not None:
                changed.update(TopicPartition(*partition) for partition in znodes.decode_partitions(path, found[0]))
        known = sorted(changed & self.context.leaderships.keys())
        await self.ledger.refresh(known)
        with self.batch() as batch:
            batch.metadata(self.context.brokers, known)
        await self.ledger.commit_all([Delete(path)] for path in paths)

    async def log_dirs_failed(self) -> None:
        """Brokers lost log directories; their answers to LeaderAndIsr tell which replicas are gone."""
        paths = [f"{znodes.LOG_DIR_EVENTS}/{name}" for name in sorted(await self.store.children(znodes.LOG_DIR_EVENTS))]
        brokers = {
            znodes.decode_log_dir_event(path, found[0])
            for path, found in zip(paths, await self.store.get_many(paths), strict=True)
            if found is not None
        }
        with self.batch() as batch:
            for broker_id in sorted(brokers & self.context.brokers.keys()):
                for partition in self.context.partitions_on([broker_id]):
                    if partition in self.context.leaderships and partition.topic not in self.context.deleting:
                        batch.lead(partition, [broker_id])
        await self.ledger.commit_all([Delete(path)] for path in paths)

    async def replicas_offline(self, broker_id: int, partitions: set[TopicPartition]) -> None:
        """A broker answered that it can't open some of its replicas."""
        offline = self.context.offline.setdefault(broker_id, set())
        fresh = partitions - offline
        if not fresh:
            return
        offline |= fresh
        await self.elect_leaderless()
        await self.drop_dead_replicas(sorted(fresh))
        with self.batch() as batch:
            batch.metadata(self.context.brokers, sorted(fresh))
