"""Deletion of topics: every replica must be gone before the topic's znodes are, so that no name is used again too early."""

from __future__ import annotations

from kafkax.cluster import znodes
from kafkax.cluster.controller.tenure import Tenure
from kafkax.cluster.store import Delete
from kafkax.errors import ErrorCode
from kafkax.model import TopicPartition
from kafkax.protocol.messages.stop_replica import StopReplicaRequest, StopReplicaResponse

__all__ = ["Deletions"]

_GONE = (ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


class Deletions:
    """The topics on their way out; a topic waits for brokers that are down.

    A reassignment that is under way ends with the topic: the replicas that it adds and removes are all deleted.
    """

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure
        self._left: dict[str, set[tuple[TopicPartition, int]]] = {}
        """By topic, the replicas that nobody confirmed to be deleted."""

    async def requested(self) -> None:
        """Topics were marked under ``/admin/delete_topics``."""
        context = self._tenure.context
        marked = await self._tenure.store.children(znodes.ADMIN_DELETE_TOPICS)
        refused = [name for name in marked if name not in context.topics or not self._tenure.settings.delete_topics]
        await self._tenure.ledger.commit_all([Delete(znodes.delete_topic_path(name))] for name in refused)
        context.deleting.update(set(marked) - set(refused))
        await self.advance()

    async def advance(self) -> None:
        """Tell whoever still has a replica to delete it; finish the topics that nobody has any more."""
        context = self._tenure.context
        done = []
        with self._tenure.batch() as batch:
            for name in sorted(context.deleting):
                topic = context.topics[name]
                if name not in self._left:
                    replicas = {(TopicPartition(name, i), r) for i, a in topic.partitions.items() for r in a.replicas}
                    self._left[name] = replicas
                    batch.metadata(context.brokers, (TopicPartition(name, index) for index in topic.partitions))
                for partition, broker_id in sorted(self._left[name]):
                    if context.is_alive(broker_id, partition):
                        batch.stop(partition, broker_id, delete=True)
                if not self._left[name]:
                    done.append(name)
        for name in done:
            await self._finish(name)

    async def stopped(self, broker_id: int, request: StopReplicaRequest, response: StopReplicaResponse) -> None:
        """A broker answered which replicas it deleted."""
        if response.error_code != ErrorCode.NONE:
            return
        failed = {
            TopicPartition(error.topic_name, error.partition_index)
            for error in response.partition_errors
            if error.error_code not in _GONE
        }
        emptied = []
        for topic in request.topic_states:
            left = self._left.get(topic.topic_name)
            if left is None:
                continue
            for state in topic.partition_states:
                partition = TopicPartition(topic.topic_name, state.partition_index)
                if state.delete_partition and partition not in failed:
                    left.discard((partition, broker_id))
            if not left:
                emptied.append(topic.topic_name)
        for name in emptied:
            await self._finish(name)

    async def _finish(self, name: str) -> None:
        tenure = self._tenure
        # The mark goes last: a successor that finds it continues.
        roots = [znodes.delete_topic_path(name), znodes.config_path("topics", name), znodes.topic_path(name)]
        await tenure.ledger.delete_trees(roots)
        tenure.context.forget_topic(name)
        self._left.pop(name, None)
