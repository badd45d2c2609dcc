"""A replica of this broker as replication sees it."""

from __future__ import annotations

from typing import NamedTuple

from kafkax._core.partition import Partition
from kafkax.model import TopicPartition

__all__ = ["Replica"]


class Replica(NamedTuple):
    """One replica of this broker and what the controller last said about its partition."""

    partition: Partition
    leader: int
    leader_epoch: int
    isr: tuple[int, ...]
    replicas: tuple[int, ...]
    partition_epoch: int

    @property
    def key(self) -> TopicPartition:
        """Topic and number."""
        return TopicPartition(self.partition.topic, self.partition.index)
