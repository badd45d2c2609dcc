"""Controlled shutdown: a broker that is about to stop hands over what it leads first."""

from __future__ import annotations

from kafkax.cluster.controller.election import Choice, elect_without
from kafkax.cluster.controller.tenure import Tenure
from kafkax.cluster.znodes import PartitionState, ReplicaAssignment
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition

__all__ = ["shut_down_broker"]

_READY_SECONDS = 1.0
"""How long the new leaders are waited for; one that is silent must not keep a broker from stopping."""


async def shut_down_broker(tenure: Tenure, broker_id: int, broker_epoch: int) -> list[TopicPartition]:
    """Move leadership away from a broker and take it out of ISRs; returns the partitions that it still leads.

    Partitions with one replica have nowhere to go and are not waited for.

    Raises:
        KafkaError: BROKER_NOT_AVAILABLE, STALE_BROKER_EPOCH.
    """
    context = tenure.context
    live = context.brokers.get(broker_id)
    if live is None:
        raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"broker {broker_id} is not registered")
    if broker_epoch not in (-1, live.epoch):
        raise KafkaError(ErrorCode.STALE_BROKER_EPOCH)
    context.shutting_down.add(broker_id)
    leaving = frozenset(context.shutting_down)

    def choose(partition: TopicPartition, assignment: ReplicaAssignment, state: PartitionState) -> Choice | None:
        if state.leader == broker_id:
            return elect_without(assignment, state.isr, lambda replica: context.is_alive(replica, partition), leaving)
        remaining = tuple(member for member in state.isr if member != broker_id)
        return Choice(state.leader, remaining) if broker_id in state.isr and remaining else None

    shared = [
        partition
        for partition in context.partitions_on([broker_id])
        if partition.topic not in context.deleting and len(assignment_of(tenure, partition).replicas) > 1
    ]
    led = [partition for partition in shared if context.leader(partition) == broker_id]
    left = await tenure.ledger.elect(shared, choose)
    with tenure.batch() as batch:
        for partition in sorted(left):
            others = [replica for replica in assignment_of(tenure, partition).replicas if replica != broker_id]
            batch.lead(partition, others)
    # Only when the others lead and know it: whom this broker refuses, or does not wait for any longer, finds them at once.
    await tenure.channels.answered(context.brokers.keys() - {broker_id}, _READY_SECONDS)
    with tenure.batch() as batch:
        for partition in sorted(left):
            batch.stop(partition, broker_id, delete=False)
    return [partition for partition in led if context.leader(partition) == broker_id]


def assignment_of(tenure: Tenure, partition: TopicPartition) -> ReplicaAssignment:
    """The replicas of a partition that is known to exist."""
    assignment = tenure.context.assignment(partition)
    assert assignment is not None
    return assignment
