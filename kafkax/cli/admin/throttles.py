"""Throttles around moves of partitions (KIP-73): replicas that send, replicas that are filled, and the rate of every broker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from kafkax.cli.admin.common import fail_on, settle
from kafkax.client.admin import AdminClient
from kafkax.client.admin.types import ConfigAlteration, ConfigOperation, ConfigResource, ResourceType

__all__ = ["set_throttles", "take_throttles_away"]

_SIDES = ("leader", "follower")


def set_throttles(
    admin: AdminClient,
    current: Mapping[tuple[str, int], Sequence[int]],
    moves: Mapping[tuple[str, int], Sequence[int]],
    rate: int,
) -> None:
    """Let the brokers of these moves, and of those under way, use ``rate`` bytes a second for them.

    Args:
        current: where the partitions are now.
    """
    sources = {key: set(current.get(key, ())) for key in moves}
    targets = {key: set(moves[key]) - sources[key] for key in moves}
    for each in admin.list_partition_reassignments():
        key = each.topic, each.partition
        sources[key] = set(each.replicas) - set(each.adding)
        targets[key] = (set(moves[key]) if key in moves else set(each.adding)) - sources[key]
    named: dict[str, dict[str, list[str]]] = defaultdict(lambda: {side: [] for side in _SIDES})
    for side, replicas in zip(_SIDES, (sources, targets), strict=True):
        for (topic, partition), brokers in sorted(replicas.items()):
            named[topic][side] += [f"{partition}:{broker}" for broker in sorted(brokers)]
    changes = {
        ConfigResource(ResourceType.TOPIC, topic): [
            _set(f"{side}.replication.throttled.replicas", ",".join(sides[side])) for side in _SIDES
        ]
        for topic, sides in named.items()
    }
    for broker in set().union(*sources.values(), *targets.values()):
        rates = [_set(f"{side}.replication.throttled.rate", str(rate)) for side in _SIDES]
        changes[ConfigResource(ResourceType.BROKER, str(broker))] = rates
    _alter(admin, changes)


def take_throttles_away(admin: AdminClient, topics: Iterable[str]) -> None:
    """Remove what :func:`set_throttles` set for these topics, and the rates of all brokers."""
    known = admin.list_topics()
    changes = {
        ConfigResource(ResourceType.TOPIC, topic): [_delete(f"{side}.replication.throttled.replicas") for side in _SIDES]
        for topic in set(topics) & known.topics.keys()
    }
    for broker in known.brokers:
        changes[ConfigResource(ResourceType.BROKER, str(broker))] = [
            _delete(f"{side}.replication.throttled.rate") for side in _SIDES
        ]
    _alter(admin, changes)


def _set(name: str, value: str) -> ConfigAlteration:
    return ConfigAlteration(name, ConfigOperation.SET, value)


def _delete(name: str) -> ConfigAlteration:
    return ConfigAlteration(name, ConfigOperation.DELETE)


def _alter(admin: AdminClient, changes: Mapping[ConfigResource, Sequence[ConfigAlteration]]) -> None:
    fail_on(settle(admin.incremental_alter_configs(changes), lambda resource: resource.name)[1])
