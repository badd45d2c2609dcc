"""A broker's part in its cluster: its registration, its replicas, its candidacy for controller.

The same on a broker that stands alone with its own store, only without replication and without anybody else to talk to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kafkax.broker.replica_manager import ReplicaManager
from kafkax.cluster import znodes
from kafkax.cluster.controller.channels import BrokerChannel, LocalChannel
from kafkax.cluster.controller.controller import Controller
from kafkax.cluster.controller.tenure import Settings
from kafkax.cluster.registration import Membership, unregister_broker
from kafkax.cluster.store import StoreError
from kafkax.errors import KafkaError, ProtocolError
from kafkax.model import TopicPartition

if TYPE_CHECKING:
    import ssl

    from kafkax._core.notify import NotifyQueue
    from kafkax._core.registry import Registry
    from kafkax.clock import Clock
    from kafkax.cluster.dynamic_configs import DynamicConfigs
    from kafkax.cluster.image import MetadataCache, TopicImage
    from kafkax.cluster.peers import ControllerLink, Peers
    from kafkax.cluster.store import CoordinationStore
    from kafkax.config import BrokerConfig, Endpoint
    from kafkax.replication.manager import Replication
    from kafkax.replication.throttles import Throttles
    from kafkax.storage.manager import LogManager

__all__ = ["ClusterMember"]

_log = logging.getLogger(__name__)
_CONTROLLER_SECONDS = 10.0
"""How long one ControlledShutdown request may take."""
_RELEASE_SECONDS = 2.0
_RELEASE_POLL_SECONDS = 0.005
_SETTLED_POLL_SECONDS = 0.005
_NOTICE_SECONDS = 0.003
"""A client may notice that a broker died before this one does, and ask at once."""


class ClusterMember:
    """Joins the cluster, takes part in it, and leaves it in order.

    Args:
        clustered: whether there may be other brokers (``zookeeper.connect``).
        throttles: this broker's replication quotas.
        removed: called when another broker took this one's id while its session was lost.

    Attributes:
        controller: this broker's own, active or not.
        replicas: the replicas here.
        replication: None on a broker that stands alone.
        ready: set once the first leadership is settled, so that clients may be answered.
    """

    def __init__(
        self,
        node_id: int,
        config: BrokerConfig,
        store: CoordinationStore,
        cache: MetadataCache,
        dynamic: DynamicConfigs,
        registry: Registry,
        logs: LogManager,
        queue: NotifyQueue,
        clock: Clock,
        *,
        clustered: bool,
        throttles: Throttles,
        removed: Callable[[KafkaError], None],
    ) -> None:
        self.node_id = node_id
        self.clustered = clustered
        self.ready = asyncio.Event()
        self._config = config
        self._store = store
        self._cache = cache
        self._logs = logs
        self._clock = clock
        self._removed = removed
        self.throttles = throttles
        self._membership: Membership | None = None
        self._peers: Peers | None = None
        self._link: ControllerLink | None = None
        self.controller = Controller(node_id, store, self._channel, _controller_settings(config), clock=clock)
        self.replication = self._replication(queue) if clustered else None
        self.replicas = ReplicaManager(node_id, registry, logs, cache, dynamic, self.replication)

    def _replication(self, queue: NotifyQueue) -> Replication:
        from kafkax.cluster.peers import ControllerLink, Peers
        from kafkax.net.outbound import OutboundSettings
        from kafkax.replication.fetcher import FetcherSettings
        from kafkax.replication.followers import Followers
        from kafkax.replication.leaders import Leaders
        from kafkax.replication.manager import Replication

        config = self._config
        link = OutboundSettings(
            f"broker-{self.node_id}", request_timeout_ms=config["replica.socket.timeout.ms"], tls=_tls_between_brokers(config)
        )
        peers = self._peers = Peers(self._cache, config.inter_broker_listener, link)
        self._link = ControllerLink(self.node_id, self._cache, self.controller, peers)
        lag = config["replica.lag.time.max.ms"]
        leaders = Leaders(self.node_id, self._epoch, lag, queue, self._clock, self.throttles.leads_throttled)
        fetching = FetcherSettings(
            self.node_id,
            config["replica.fetch.wait.max.ms"],
            config["replica.fetch.min.bytes"],
            config["replica.fetch.response.max.bytes"],
            config["replica.fetch.max.bytes"],
            config["replica.fetch.backoff.ms"],
        )
        followers = Followers(
            fetching,
            self._epoch,
            peers.address,
            peers.connect,
            self._flushed,
            config["num.replica.fetchers"],
            self.throttles,
            self._logs,
        )
        return Replication(leaders, followers, self._cache)

    def _epoch(self) -> int:
        return self.replicas.broker_epoch

    def _flushed(self, partition: TopicPartition) -> bool:
        """Whether the partition's ``kafkax.durability`` is ``flushed``: it has only what is on its disk."""
        hosted = self._logs.get(partition)
        return hosted is None or hosted.config["kafkax.durability"] == "flushed"

    def _channel(self, registration: znodes.BrokerRegistration) -> BrokerChannel:
        if registration.broker_id == self.node_id or self._peers is None:
            return LocalChannel(self.replicas.handle)
        from kafkax.cluster.controller.network import network_channel

        peers = self._peers
        return network_channel(registration, self._config.inter_broker_listener, lambda e: peers.connect(e.host, e.port))

    async def leaders_settled(self, topics: Iterable[TopicImage]) -> None:
        """Wait a moment while a leader of these topics may just have died, for the controller to say who leads instead.

        A client that is told of a dead leader asks again only after a second or so; one that is answered a little later need not.
        """
        if self._peers is not None:
            await asyncio.sleep(_NOTICE_SECONDS)
        while self._peers is not None and (doubted := self._peers.doubted(self._cache.image.brokers)):
            now = (self._cache.image.topics.get(topic.name) for topic in topics)
            if not any(partition.leader in doubted for topic in now if topic for partition in topic.partitions.values()):
                return
            await asyncio.sleep(_SETTLED_POLL_SECONDS)

    # Life

    async def join(self, endpoints: Sequence[Endpoint]) -> None:
        """Register, and take part in controller elections.

        Raises:
            KafkaError: DUPLICATE_BROKER_REGISTRATION when another broker has the id.
        """
        advertised = tuple(znodes.Endpoint(e.name, e.host, e.port, e.protocol) for e in endpoints)
        rack = self._config["broker.rack"]

        def registration() -> znodes.BrokerRegistration:
            return znodes.BrokerRegistration(self.node_id, advertised, rack, self._clock.wall_ms())

        self._membership = Membership(self._store, registration, self._joined, self._removed)
        await self._membership.join()
        if self.replication is not None and self._link is not None:
            from kafkax.replication.isr_requests import IsrRequestQueue

            queue = IsrRequestQueue(
                self.node_id, self._epoch, self.replication.leaders, self._link.alter_partition, self.replicas.altered
            )
            self.replication.start(queue)
        await self.controller.start()

    def _joined(self, epoch: int) -> None:
        self.replicas.broker_epoch = epoch

    async def hand_over(self) -> None:
        """Have the controller move what this broker leads to others (``controlled.shutdown.enable``)."""
        config = self._config
        if self._link is None or self._membership is None or not config["controlled.shutdown.enable"]:
            return
        for left in range(config["controlled.shutdown.max.retries"] - 1, -1, -1):
            try:
                remaining = await asyncio.wait_for(
                    self._link.controlled_shutdown(self.replicas.broker_epoch), _CONTROLLER_SECONDS
                )
                if not remaining:
                    await self._released()
                    return
                _log.warning("%d partitions have no other replica in sync to lead them", remaining)
            except (KafkaError, ProtocolError, asyncio.TimeoutError) as error:
                _log.warning("leadership could not be handed over: %s", error)
            if left:
                await asyncio.sleep(config["controlled.shutdown.retry.backoff.ms"] / 1000)

    async def _released(self) -> None:
        """Wait a little until the controller took everything that has other replicas, so that whoever waits on it is answered."""
        deadline = self._clock.monotonic() + _RELEASE_SECONDS
        while any(replica.leader == self.node_id and len(replica.replicas) > 1 for replica in self.replicas.replicas()):
            if self._clock.monotonic() > deadline:
                _log.info("the controller does not take back every partition; stopping all the same")
                return
            await asyncio.sleep(_RELEASE_POLL_SECONDS)

    async def close(self) -> None:
        """Leave: stop replication, give up the office of controller, and the registration."""
        if self.replication is not None:
            await self.replication.close()
        await self.controller.close()
        if self._link is not None:
            await self._link.close()
        if self._membership is not None:
            await self._membership.leave()
            try:
                await unregister_broker(self._store, self.node_id)
            except StoreError as error:
                _log.info("the registration is left to the session's end: %s", error)


def _tls_between_brokers(config: BrokerConfig) -> ssl.SSLContext | None:
    """How connections to other brokers are encrypted, None where the listener for that is plain.

    Raises:
        KafkaError: INVALID_CONFIG: brokers with these ``ssl.*`` could not connect to each other.
    """
    name = config.inter_broker_listener
    if next(e.protocol for e in config.advertised_listeners if e.name == name) != "SSL":
        return None
    from kafkax.net.tls import TlsSettings, between_brokers

    return between_brokers(TlsSettings.of(config, name))


def _controller_settings(config: BrokerConfig) -> Settings:
    return Settings(
        inter_broker_listener=config.inter_broker_listener,
        unclean_elections=config["unclean.leader.election.enable"],
        delete_topics=config["delete.topic.enable"],
        auto_rebalance=config["auto.leader.rebalance.enable"],
        rebalance_interval_s=config["leader.imbalance.check.interval.seconds"],
        imbalance=config["leader.imbalance.per.broker.percentage"] / 100,
    )
