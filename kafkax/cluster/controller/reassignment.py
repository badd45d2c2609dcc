"""Reassignment: a partition moves to other replicas without ever having fewer than before (KIP-455).

The new replicas are added and catch up; once all of the target are in sync, the others are removed.  Where a partition stands
is in its topic's znode (``adding``, ``removing``), so that any controller can go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kafkax.cluster import znodes
from kafkax.cluster.controller.election import Choice, elect_target
from kafkax.cluster.controller.tenure import Tenure
from kafkax.cluster.store import Delete
from kafkax.cluster.znodes import PartitionState, ReplicaAssignment
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition

__all__ = ["Reassignments", "begun"]


def begun(current: ReplicaAssignment, target: Sequence[int]) -> ReplicaAssignment:
    """The assignment with which a move to ``target`` begins; one that is under way is replaced."""
    origin = current.origin
    adding = tuple(replica for replica in target if replica not in origin)
    removing = tuple(replica for replica in origin if replica not in target)
    return ReplicaAssignment((*target, *removing), adding, removing)


class Reassignments:
    """The moves of partitions."""

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure

    def under_way(self) -> list[tuple[TopicPartition, ReplicaAssignment]]:
        """The partitions on the move."""
        return [(partition, assignment) for partition, assignment in self._tenure.context.partitions() if assignment.reassigning]

    async def requested(self) -> None:
        """An operator asks through ``/admin/reassign_partitions``."""
        found = await self._tenure.store.find(znodes.REASSIGN_PARTITIONS)
        if found is None:
            return
        targets = {TopicPartition(*partition): replicas for partition, replicas in znodes.decode_reassignments(found[0]).items()}
        await self.alter(targets)
        await self._tenure.ledger.commit([Delete(znodes.REASSIGN_PARTITIONS)])

    async def alter(self, targets: Mapping[TopicPartition, Sequence[int] | None]) -> dict[TopicPartition, KafkaError | None]:
        """Begin or replace moves, or cancel them (None); returns the error of each partition."""
        outcomes: dict[TopicPartition, KafkaError | None] = {}
        for partition, target in targets.items():
            try:
                after = self._validated(partition, target)
                await self._begin(partition, after)
                outcomes[partition] = None
            except KafkaError as error:
                outcomes[partition] = error
        await self.advance([partition for partition, error in outcomes.items() if error is None])
        return outcomes

    def _validated(self, partition: TopicPartition, target: Sequence[int] | None) -> ReplicaAssignment:
        context = self._tenure.context
        current = context.assignment(partition)
        if current is None or partition.topic in context.deleting:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{partition} does not exist")
        if target is None:
            if not current.reassigning:
                raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
            after = ReplicaAssignment(current.origin)
            self._check_in_sync(partition, after)
            return after
        if not target or len(set(target)) < len(target) or min(target) < 0:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"{partition}: replicas {list(target)} must be distinct broker ids"
            )
        unknown = sorted(set(target) - context.brokers.keys() - set(current.replicas))
        if unknown:
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"{partition}: brokers {unknown} are not registered")
        after = begun(current, target)
        self._check_in_sync(partition, after)
        return after

    def _check_in_sync(self, partition: TopicPartition, after: ReplicaAssignment) -> None:
        """Refuse to drop, with replicas that were only being added, all who have every record."""
        leadership = self._tenure.context.leaderships.get(partition)
        if leadership is not None and not set(leadership.state.isr).intersection(after.replicas):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"{partition}: only {list(leadership.state.isr)} are in sync; wait until one of {list(after.replicas)} is, too",
            )

    async def _begin(self, partition: TopicPartition, after: ReplicaAssignment) -> None:
        context = self._tenure.context
        topic = context.topics[partition.topic]
        before = topic.partitions[partition.partition]
        if after == before:
            return
        dropped = [replica for replica in before.replicas if replica not in after.replicas]
        topic.partitions[partition.partition] = after
        await self._tenure.write_topic(topic)
        # A new epoch, so that nobody takes what the replicas before said for an answer to this.
        await self._tenure.ledger.elect([partition], self._keep_leader)
        with self._tenure.batch() as batch:
            batch.lead(partition, [replica for replica in after.replicas if replica not in after.adding])
            batch.lead(partition, after.adding, is_new=True)
            for replica in dropped:
                batch.stop(partition, replica, delete=True)

    def _keep_leader(self, partition: TopicPartition, assignment: ReplicaAssignment, state: PartitionState) -> Choice | None:
        isr = tuple(member for member in state.isr if member in assignment.replicas)
        if state.leader in isr:
            return Choice(state.leader, isr)
        context = self._tenure.context
        leader = next((r for r in assignment.replicas if r in isr and context.is_online(r, partition)), None)
        return None if leader is None else Choice(leader, isr)

    async def advance(self, partitions: Iterable[TopicPartition]) -> None:
        """Finish the moves whose target is all in sync."""
        context = self._tenure.context
        for partition in partitions:
            assignment = context.assignment(partition)
            leadership = context.leaderships.get(partition)
            if assignment is None or leadership is None or not assignment.reassigning or partition.topic in context.deleting:
                continue
            if set(assignment.target) <= set(leadership.state.isr):
                await self._finish(partition, assignment)

    async def _finish(self, partition: TopicPartition, assignment: ReplicaAssignment) -> None:
        tenure = self._tenure
        elected = await tenure.ledger.elect([partition], self._lead_target)
        if partition not in elected:
            # No replica of the target lives; the next change of the ISR or of the brokers tries again.
            return
        topic = tenure.context.topics[partition.topic]
        topic.partitions[partition.partition] = ReplicaAssignment(assignment.target)
        await tenure.write_topic(topic)
        with tenure.batch() as batch:
            batch.lead(partition, assignment.target)
            for replica in assignment.removing:
                batch.stop(partition, replica, delete=True)

    def _lead_target(self, partition: TopicPartition, assignment: ReplicaAssignment, state: PartitionState) -> Choice | None:
        context = self._tenure.context
        target = assignment.target
        isr = tuple(member for member in state.isr if member in target)
        if state.leader in target and context.is_online(state.leader, partition):
            return Choice(state.leader, isr)
        return elect_target(assignment, isr, lambda replica: context.is_online(replica, partition))
