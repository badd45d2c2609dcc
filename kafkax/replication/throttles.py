"""Which replicas are throttled, and how much of the rates for them is used (KIP-73).

A replica is throttled where its topic names it, on the leader's side in ``leader.replication.throttled.replicas`` and on its own
in ``follower.replication.throttled.replicas``.  While a broker's rate is used up, throttled replicas that are not in sync get
nothing: the leader leaves them out of its answers, the follower out of its requests.  Replicas in sync are never held up, but
what they fetch counts.
"""

from __future__ import annotations

from collections.abc import Callable

from kafkax._core.replication_quota import ReplicationQuota
from kafkax.config import BrokerConfig, TopicConfig
from kafkax.model import TopicPartition

__all__ = ["Throttles"]

_LEADER = "leader.replication.throttled.replicas"
_FOLLOWER = "follower.replication.throttled.replicas"
_RATES = {_LEADER: "leader.replication.throttled.rate", _FOLLOWER: "follower.replication.throttled.rate"}
_ALL = "*"


class Throttles:
    """Replication quotas of one broker.

    Args:
        broker_id: this broker.
        config: its configs; rates follow them while it runs.
        topic_config: gives a topic's configs.

    Attributes:
        leader: what this broker sends to throttled replicas.
        follower: what its own throttled replicas fetch.
    """

    def __init__(self, broker_id: int, config: BrokerConfig, topic_config: Callable[[str], TopicConfig]) -> None:
        samples, seconds = config["replication.quota.window.num"], config["replication.quota.window.size.seconds"]
        self.leader = ReplicationQuota(samples, seconds * 1000)
        self.follower = ReplicationQuota(samples, seconds * 1000)
        self._broker_id = broker_id
        self._config = config
        self._topic_config = topic_config
        self._known: dict[tuple[str, str], tuple[tuple[str, ...], frozenset[int] | None]] = {}
        config.on_change(self._changed)
        self._changed(frozenset(_RATES.values()))

    def _changed(self, names: frozenset[str]) -> None:
        for quota, name in ((self.leader, _RATES[_LEADER]), (self.follower, _RATES[_FOLLOWER])):
            if name in names:
                quota.limit = self._config[name]

    def leads_throttled(self, partition: TopicPartition) -> bool:
        """Whether what this broker sends to replicas of the partition is held against ``leader``."""
        return self._is_throttled(_LEADER, partition)

    def follows_throttled(self, partition: TopicPartition) -> bool:
        """Whether what this broker fetches of the partition is held against ``follower``."""
        return self._is_throttled(_FOLLOWER, partition)

    def _is_throttled(self, name: str, partition: TopicPartition) -> bool:
        listed: tuple[str, ...] = self._topic_config(partition.topic)[name]
        if not listed:
            return False
        known = self._known.get((name, partition.topic))
        if known is None or known[0] is not listed:
            known = self._known[name, partition.topic] = listed, self._numbers(listed)
        return known[1] is None or partition.partition in known[1]

    def _numbers(self, listed: tuple[str, ...]) -> frozenset[int] | None:
        """The partitions of which this broker's replica is named; None for all."""
        if listed == (_ALL,):
            return None
        pairs = (map(int, each.split(":")) for each in listed)
        return frozenset(partition for partition, broker in pairs if broker == self._broker_id)
