"""Which replica a consumer had better read from: one in its rack (KIP-392, ``replica.selector.class``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafkax._core.partition import Partition
    from kafkax.cluster.image import MetadataImage

__all__ = ["RACK_AWARE", "nearest_replica"]

RACK_AWARE = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
"""The value of ``replica.selector.class`` that asks for it; the other one that is allowed chooses the leader."""


def nearest_replica(image: MetadataImage, partition: Partition, leader: int, listener: str, rack: str, offset: int) -> int | None:
    """The replica in sync that lives in ``rack`` and has the most, None when that is the leader, or there is none.

    Args:
        leader: this broker, which leads.
        listener: name of the listener that the consumer uses; it must reach the other replica by the same one.
        offset: where the consumer wants to read; the replica must have what is before.
    """
    known = image.partition(partition.topic, partition.index)
    here = image.brokers.get(leader)
    if known is None or here is None or here.rack == rack:
        return None
    found = []
    for progress in partition.replicas():
        broker = image.brokers.get(progress.replica)
        if (
            broker is not None
            and broker.rack == rack
            and listener in broker.endpoints
            and progress.replica in known.isr
            and progress.offset >= offset
        ):
            found.append((progress.offset, progress.caught_up_ms, -progress.replica))
    return -max(found)[2] if found else None
