"""Where the replicas of new partitions go, as Kafka places them.

Leaders go round the brokers from a random start; the other replicas follow at a distance that grows with every full round, so
that the partitions led by one broker have their followers on many.  With racks the brokers take turns by rack, and a replica
avoids racks and brokers that hold one already as long as others are left (KIP-36).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from random import Random

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["place_replicas"]


def place_replicas(
    brokers: Mapping[int, str | None],
    partitions: int,
    replication_factor: int,
    random: Random,
    *,
    first_partition: int = 0,
    start: int | None = None,
) -> dict[int, tuple[int, ...]]:
    """Choose brokers for partitions ``first_partition`` to ``first_partition + partitions - 1``.

    Args:
        brokers: racks by broker id; racks count only if every broker has one.
        random: chooses the start unless ``start`` (the index of the first leader among the sorted brokers) is given.

    Raises:
        KafkaError: INVALID_PARTITIONS or INVALID_REPLICATION_FACTOR.
    """
    if partitions <= 0:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"number of partitions was set to {partitions}; it must be larger than 0")
    if replication_factor <= 0:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR, f"replication factor was set to {replication_factor}; it must be larger than 0"
        )
    if replication_factor > len(brokers):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"replication factor {replication_factor} is larger than the {len(brokers)} available brokers",
        )
    racks = {broker: rack for broker, rack in brokers.items() if rack is not None}
    if len(racks) < len(brokers):
        # Without racks each broker is its own, which makes the rack rule the broker rule.
        racks = {broker: str(broker) for broker in brokers}
    ring = _alternate(racks)
    size = len(ring)
    first = random.randrange(size) if start is None else start
    shift = random.randrange(size) if start is None else start
    placed = {}
    for index in range(first_partition, first_partition + partitions):
        if index > 0 and index % size == 0:
            shift += 1
        placed[index] = _place(ring, racks, (index + first) % size, shift, replication_factor)
    return placed


def _place(ring: list[int], racks: Mapping[int, str], leader_at: int, shift: int, replication_factor: int) -> tuple[int, ...]:
    size = len(ring)
    replicas = [ring[leader_at]]
    used_racks = {racks[ring[leader_at]]}
    rack_count = len(set(racks.values()))
    step = 0
    while len(replicas) < replication_factor:
        # Past the leader the brokers are gone through in ring order from a start that `shift` moves.
        broker = ring[(leader_at + 1 + (shift * rack_count + step) % (size - 1)) % size]
        step += 1
        rack_free = racks[broker] not in used_racks or len(used_racks) == rack_count
        # A broker comes round again only when all racks are used, so the loop ends.
        if broker not in replicas and rack_free:
            replicas.append(broker)
            used_racks.add(racks[broker])
    return tuple(replicas)


def _alternate(racks: Mapping[int, str]) -> list[int]:
    """The brokers in order of id within each rack, the racks taking turns."""
    by_rack: dict[str, list[int]] = {}
    for broker in sorted(racks):
        by_rack.setdefault(racks[broker], []).append(broker)
    if all(len(members) == 1 for members in by_rack.values()):
        return sorted(racks)
    queues = [iter(by_rack[rack]) for rack in sorted(by_rack)]
    ring: list[int] = []
    while len(ring) < len(racks):
        ring += [broker for queue in queues for broker in islice(queue, 1)]
    return ring
