"""The one place that wires a broker: configs in, a serving process out.

Start: the coordination store, the logs, the registration, the controller, the listeners; then one ready line on stdout.
Stop, on SIGTERM or Ctrl-C: hand over leadership, answer what is under way, close the logs in order, leave the store.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

from kafkax._core.notify import NotifyQueue
from kafkax._core.reactor import Reactor
from kafkax._core.registry import Registry
from kafkax.broker.administration import Administration
from kafkax.broker.adoption import adopt_cluster_id, adopt_topics
from kafkax.broker.cluster_member import ClusterMember
from kafkax.broker.connection_rates import connections_per_address
from kafkax.broker.core_leaders import CoreLeaders
from kafkax.broker.group_service import GROUP_TOPIC, GroupService
from kafkax.broker.load_progress import showing
from kafkax.broker.log_dir_failures import LogDirFailures
from kafkax.broker.nearest_replica import RACK_AWARE
from kafkax.broker.purgatory import Purgatory
from kafkax.broker.ready_versions import ReadyVersions
from kafkax.broker.replica_manager import LeadershipChange
from kafkax.broker.router import Router
from kafkax.broker.services import Services
from kafkax.broker.topic_configs import TopicConfigs
from kafkax.clock import Clock, SystemClock
from kafkax.cluster import znodes
from kafkax.cluster.config_admin import ConfigAdmin
from kafkax.cluster.dynamic_configs import DynamicConfigs
from kafkax.cluster.embedded import EmbeddedStore
from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage
from kafkax.cluster.producer_ids import ProducerIds
from kafkax.cluster.registration import generate_broker_id, prepare_cluster
from kafkax.cluster.store import ConnectionLostError, CoordinationStore, SessionLostError
from kafkax.cluster.topic_admin import TopicAdmin
from kafkax.config import BrokerConfig, ConfigError, Endpoint
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.net.dispatch import Dispatcher
from kafkax.net.settings import ReactorSettings
from kafkax.replication.throttles import Throttles
from kafkax.storage.cleaner import Cleaner
from kafkax.storage.loading import LoadProgress
from kafkax.storage.manager import LogManager
from kafkax.storage.meta_properties import read_meta_properties
from kafkax.storage.moves import Moves

__all__ = ["Server", "run"]

STORE_FILE = "coordination.sqlite"
FIRST_NODE_ID = 1
SETTLE_SECONDS = 30.0
"""Most time that a start waits for leadership; partitions without it are served as it comes."""
STOP_SECONDS = 10.0
"""Most time that requests under way get when the broker stops."""

_log = logging.getLogger("kafkax")


def run(config: BrokerConfig) -> None:
    """Run a broker until SIGTERM or Ctrl-C.

    Raises:
        KafkaError, ConfigError, OSError: it cannot start; the text says why.
    """
    import uvloop

    _raise_file_limit()
    _log_to_stderr()
    uvloop.run(_serve(config))


async def _serve(config: BrokerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        server = Server(config)
        # leaving the stack also undoes what a start that failed half-way had begun
        stack.push_async_callback(server.stop)
        await server.start()
        print(server.ready_line, flush=True)
        server.on_failure = stop.set
        if not server.failure:
            await stop.wait()
        _log.info("stopping")
    if server.failure:
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, server.failure)


class Server:
    """A broker and everything that belongs to it.

    Args:
        config: the broker's configs.
        clock: where time comes from.
        random: places replicas.

    Attributes:
        failure: why it cannot go on; empty while it can.
        on_failure: called once it cannot.
    """

    def __init__(self, config: BrokerConfig, *, clock: Clock | None = None, random: Random | None = None) -> None:
        self.config = config
        self._began = time.monotonic()
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._stack = AsyncExitStack()
        self.failure = ""
        self.on_failure: Callable[[], object] | None = None
        self.endpoints: list[Endpoint] = []
        self.node_id = -1
        self.logs: LogManager
        self.services: Services

    @property
    def ready_line(self) -> str:
        """What a starting broker says: its id, listeners, data and how long it took."""
        where = ", ".join(str(endpoint) for endpoint in self.endpoints)
        took = time.monotonic() - self._began
        return f"kafkax broker {self.node_id} is ready: {where}, data in {', '.join(self.config.log_dirs)} ({took:.2f} s)"

    async def start(self) -> None:
        """Start everything; returns when clients are served.

        Raises:
            KafkaError, ConfigError, OSError: something is not as it must be; :meth:`stop` cleans up.
        """
        clustered = self.config["zookeeper.connect"] is not None
        store = await self._open_store()
        self._stack.push_async_callback(store.close)
        if not clustered:
            await adopt_cluster_id(store, self.config.log_dirs)
        cluster_id = await prepare_cluster(store)
        self.node_id = await self._choose_node_id(store if clustered else None)
        self.config.settle("node.id", str(self.node_id))
        if not clustered:
            await adopt_topics(store, self.config.log_dirs, self.node_id, _internal_topics(self.config))
        cache = MetadataCache(cluster_id)
        dynamic = await self._dynamic_configs(store, cache)
        queue = self._notify_queue()
        topic_configs = TopicConfigs(cache, self.config)
        throttles = Throttles(self.node_id, self.config, topic_configs)
        registry = Registry(elsewhere=clustered, quota=throttles.leader)
        failures = LogDirFailures(store, None if clustered else Path(self.config.log_dirs[0]).absolute(), self._fail)
        await self._open_logs(cluster_id, topic_configs, queue, failures)
        topics = TopicAdmin(store, cache, self.config, self._random, standalone=not clustered)
        admin = await self._administration(store, cache, dynamic)
        groups = GroupService(self.config, registry, cache, topics, queue, self._clock)
        self._stack.callback(groups.close)
        member = ClusterMember(
            self.node_id,
            self.config,
            store,
            cache,
            dynamic,
            registry,
            self.logs,
            queue,
            self._clock,
            clustered=clustered,
            throttles=throttles,
            removed=self._removed,
        )
        self._stack.push_async_callback(member.close)
        failures.watch(self.logs, member.replicas, self.node_id)
        member.replicas.on_leadership(partial(_tell_coordinators, groups))
        self.services = Services(
            node_id=self.node_id,
            config=self.config,
            clock=self._clock,
            cache=cache,
            topic_configs=topic_configs,
            registry=registry,
            logs=self.logs,
            purgatory=Purgatory(queue),
            producer_ids=ProducerIds(store, self.node_id),
            topics=topics,
            configs=ConfigAdmin(self.node_id, store, cache, dynamic, self.config),
            groups=groups,
            admin=admin,
            member=member,
            moves=self._moves(registry),
        )
        self.config.on_change(self._broker_configs_changed)
        await self._join(member, store, self._listen(registry), clustered)
        self._start_tasks()

    async def _join(self, member: ClusterMember, store: CoordinationStore, reactor: Reactor, clustered: bool) -> None:
        """Become a member of the cluster, and answer clients.

        Who answers before it knows its topics makes clients believe that they are gone, and begin anew. In a cluster there is no
        way around it, since the controller may be another broker, which has to tell this one what it leads.
        """
        dispatcher = self._prepare(reactor)
        if clustered:
            await self._serve(dispatcher, reactor)
        self._stack.push_async_callback(member.hand_over)
        await member.join(self.endpoints)
        await self._settle(member, store)
        if not clustered:
            await self._serve(dispatcher, reactor)

    def _moves(self, registry: Registry) -> Moves:
        moves = Moves(self.logs, lambda partition: registry.get(*partition), self.config, self._clock)
        self._stack.push_async_callback(asyncio.to_thread, moves.stop)
        return moves

    def _fail(self, reason: str) -> None:
        """The broker cannot go on."""
        if not self.failure:
            self.failure = reason
            if self.on_failure is not None:
                self.on_failure()

    async def stop(self) -> None:
        """Stop in order; harmless when nothing runs."""
        await self._stack.aclose()

    # Parts

    def _start_tasks(self) -> None:
        """Begin what goes on beside the requests: retention, compaction, moves between log directories."""
        self.logs.start_tasks()
        cleaner = Cleaner(self.logs, self.config, self._clock)
        self._stack.push_async_callback(asyncio.to_thread, cleaner.stop)
        cleaner.start()
        self.services.moves.resume()

    async def _dynamic_configs(self, store: CoordinationStore, cache: MetadataCache) -> DynamicConfigs:
        dynamic = DynamicConfigs(store, cache, self._clock)
        cache.add_listener(self._configs_changed)
        await dynamic.start()
        self._stack.push_async_callback(dynamic.close)
        return dynamic

    async def _administration(self, store: CoordinationStore, cache: MetadataCache, dynamic: DynamicConfigs) -> Administration:
        admin = Administration(store, cache, dynamic, self.config, self._clock)
        await admin.features.start()
        self._stack.callback(admin.features.close)
        return admin

    async def _open_store(self) -> CoordinationStore:
        for directory in self.config.log_dirs:
            Path(directory).mkdir(parents=True, exist_ok=True)
        if self.config["zookeeper.connect"] is not None:
            return await self._open_zookeeper()
        return await EmbeddedStore.open(Path(self.config.log_dirs[0]) / STORE_FILE)

    async def _open_zookeeper(self) -> CoordinationStore:
        from kafkax.cluster.zookeeper import ZooKeeperStore, zookeeper_settings

        return await ZooKeeperStore.connect(zookeeper_settings(self.config))

    def _removed(self, error: KafkaError) -> None:
        """Another broker took this one's id while its session was lost: there is no place for this one any more."""
        _log.error("stopping: %s", error)
        signal.raise_signal(signal.SIGTERM)

    async def _choose_node_id(self, cluster: CoordinationStore | None) -> int:
        """The id that the configs give, else the one that the data belongs to, else a new one of the cluster, or the first."""
        if self.config.node_id >= 0:
            return self.config.node_id
        for directory in self.config.log_dirs:
            known = read_meta_properties(directory)
            if known is not None and known.broker_id is not None:
                return known.broker_id
        if cluster is None:
            return FIRST_NODE_ID
        if not self.config["broker.id.generation.enable"]:
            raise ConfigError("node.id: it must be set, since broker.id.generation.enable is false")
        return await generate_broker_id(cluster, self.config["reserved.broker.max.id"])

    def _notify_queue(self) -> NotifyQueue:
        loop, queue = asyncio.get_running_loop(), NotifyQueue()
        loop.add_reader(queue.fileno(), queue.dispatch)
        self._stack.callback(loop.remove_reader, queue.fileno())
        return queue

    async def _open_logs(
        self, cluster_id: str, topic_configs: TopicConfigs, queue: NotifyQueue, failures: LogDirFailures
    ) -> None:
        self.logs = LogManager(self.config.log_dirs, self.config, topic_configs, self._clock, queue=queue, on_offline=failures)
        self._stack.push_async_callback(asyncio.to_thread, self.logs.shutdown)
        progress = LoadProgress()
        with showing(progress):
            await asyncio.to_thread(self.logs.load, cluster_id, self.node_id, progress)

    def _configs_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        """Let changed configs of this broker, or of all brokers, take effect."""
        if any(kind == "brokers" for kind, _ in delta.configs):
            self.config.set_dynamic(broker=image.broker_config(self.node_id), cluster=image.default_broker_config)

    def _broker_configs_changed(self, _: frozenset[str]) -> None:
        """Topics follow the broker in what they do not set themselves."""
        for topic in self.services.image.topics:
            self.logs.topic_changed(topic)

    def _listen(self, registry: Registry) -> Reactor:
        """Bind every listener, so that the ports are known; nothing is accepted yet."""
        config = self.config
        reactor = Reactor(registry, self._reactor_settings())
        clustered = config["zookeeper.connect"] is not None
        inner = config.inter_broker_listener if clustered else None
        ports = {
            e.name: _listen(reactor, e, between_brokers=e.name == inner) for e in config.listeners if e.protocol == "PLAINTEXT"
        }
        self._tls_sockets = {e.name: _bind(e) for e in config.listeners if e.protocol == "SSL"}
        for name, bound in self._tls_sockets.items():
            self._stack.callback(bound.close)
            ports[name] = bound.getsockname()[1]
        self.endpoints = [e._replace(port=e.port or ports[e.name]) for e in config.advertised_listeners]
        return reactor

    async def _hear_of_topics(self, store: CoordinationStore, deadline: float) -> None:
        """Wait until the controller has told of this broker and of the topics that are there now; it tells of brokers first."""
        loop, cache = asyncio.get_running_loop(), self.services.cache
        await cache.wait_for(lambda image: self.node_id in image.brokers, deadline - loop.time())
        wanted: set[str] | None = None
        while (wanted is None or not _knows(wanted, cache.image)) and (left := deadline - loop.time()) > 0:
            try:
                found = {*await store.children(znodes.TOPICS)}.difference(await store.children(znodes.ADMIN_DELETE_TOPICS))
            except (ConnectionLostError, SessionLostError):
                await asyncio.sleep(min(left, 0.5))
                continue
            # What is deleted meanwhile never comes, and what is made now nobody can ask for yet.
            wanted = found if wanted is None else wanted & found
            await cache.wait_for(partial(_knows, wanted), min(left, 0.5))

    async def _settle(self, member: ClusterMember, store: CoordinationStore) -> None:
        """Wait until this broker knows the topics and leads what it should lead, so that its first clients find both."""
        cache, changed, replicas = self.services.cache, asyncio.Event(), member.replicas
        replicas.on_leadership(lambda _: changed.set())

        def missing() -> bool:
            offline = replicas.offline()
            return self.node_id not in cache.image.brokers or any(
                partition.leader == self.node_id
                and replicas.replica(TopicPartition(topic.name, index)) is None
                and (topic.name, index) not in offline
                for topic in cache.image.topics.values()
                for index, partition in topic.partitions.items()
            )

        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        await self._hear_of_topics(store, deadline)
        while missing() and (left := deadline - asyncio.get_running_loop().time()) > 0:
            changed.clear()
            try:
                await asyncio.wait_for(changed.wait(), min(left, 0.5))
            except (TimeoutError, asyncio.TimeoutError):
                continue
        member.ready.set()

    def _prepare(self, reactor: Reactor) -> Dispatcher:
        """All that answers requests, but for the first of them."""
        router = Router(self.services)
        rates = self.services.admin.connection_rates
        dispatcher = Dispatcher(
            router, clock=self._clock, overlap=router.overlapping, quick=router.quick(), opened=rates.opened
        )
        dispatcher.attach(reactor)
        self.services.groups.serve(reactor)
        self._stack.push_async_callback(dispatcher.stop, STOP_SECONDS)
        ReadyVersions(self.services, reactor)
        CoreLeaders(self.services.cache, reactor, self.node_id)
        self.services.admin.quotas_in_force.follow(self.services.cache, reactor.meter)
        self.services.admin.mutations.follow(self.services.cache)
        rates.follow(self.services.cache, let_in=dispatcher.let_in, changed=reactor.screen)
        self._limit_connections(reactor)
        self.config.on_change(partial(self._limits_changed, reactor))
        return dispatcher

    async def _serve(self, dispatcher: Dispatcher, reactor: Reactor) -> None:
        await self._serve_tls(dispatcher)
        await self._serve_metrics(reactor)
        reactor.start(self.config["num.network.threads"])

    async def _serve_tls(self, dispatcher: Dispatcher) -> None:
        """Open the TLS listeners, which the control plane serves; what they are made of is loaded only where there are any."""
        if not self._tls_sockets:
            return
        from kafkax.net.tls import TlsListener, TlsSettings, kernel_tls, server_context

        for name, bound in self._tls_sockets.items():
            context = server_context(TlsSettings.of(self.config, name))
            listener = TlsListener(dispatcher, self._reactor_settings(), context, name)
            self._stack.push_async_callback(listener.stop)
            await listener.start(bound)
        _log.info("TLS is done by OpenSSL in this process; the kernel could%s do it", "" if kernel_tls() else " not")

    async def _serve_metrics(self, reactor: Reactor) -> None:
        """Let metrics be scraped, where that is configured."""
        address = self.config["metrics.address"]
        if address is None:
            return
        from kafkax.broker.exposition import broker_lines, client_lines
        from kafkax.net.scrape import MetricsListener

        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise ConfigError(f"metrics.address: {address!r} is refused; it takes host:port, such as 127.0.0.1:9464")
        telemetry = self.services.admin.telemetry
        listener = MetricsListener(lambda: chain(broker_lines(reactor.counters()), client_lines(telemetry.latest())))
        self._stack.push_async_callback(listener.stop)
        try:
            bound = await listener.start(host.strip("[]"), int(port))
        except (OSError, OverflowError) as error:
            raise ConfigError(f"metrics.address: {address} cannot be opened: {error}") from error
        _log.info("metrics are at http://%s:%d/metrics", host or "*", bound)

    def _limit_connections(self, reactor: Reactor) -> None:
        config = self.config
        reactor.limit(config["max.connections"], config["max.connections.per.ip"], connections_per_address(config))

    def _limits_changed(self, reactor: Reactor, _: frozenset[str]) -> None:
        try:
            self._limit_connections(reactor)
        except ConfigError as error:
            _log.error("the limits of connections stay as they were: %s", error)

    def _reactor_settings(self) -> ReactorSettings:
        names = [name for name in ReactorSettings.__dataclass_fields__ if name.replace("_", ".") in self.config]
        near = self.config["replica.selector.class"] == RACK_AWARE
        return ReactorSettings(**{name: self.config[name.replace("_", ".")] for name in names}, rack_aware_reads=near)


def _knows(topics: set[str], image: MetadataImage) -> bool:
    return topics <= image.topics.keys()


def _tell_coordinators(groups: GroupService, changes: Iterable[LeadershipChange]) -> None:
    """Whoever leads a partition of an internal topic coordinates what is in it."""
    for change in changes:
        if change.partition.topic == GROUP_TOPIC:
            became = groups.became_leader if change.leads else groups.became_follower
            became(change.partition.partition, change.leader_epoch)


def _internal_topics(config: BrokerConfig) -> dict[str, int]:
    """Partitions of the topics that coordinators keep their state in."""
    return {GROUP_TOPIC: config["offsets.topic.num.partitions"]}


def _raise_file_limit() -> None:
    """Partitions and connections need files: take what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(reactor: Reactor, endpoint: Endpoint, *, between_brokers: bool) -> int:
    """Open a listener; its port."""
    try:
        return reactor.listen(endpoint.host, endpoint.port, endpoint.name, between_brokers=between_brokers)
    except OSError as error:
        raise ConfigError(f"listeners: {endpoint} cannot be opened: {error.strerror or error}") from error


def _bind(endpoint: Endpoint) -> socket.socket:
    """A socket for a TLS listener."""
    from kafkax.net.tls import bind

    try:
        return bind(endpoint.host, endpoint.port)
    except OSError as error:
        raise ConfigError(f"listeners: {endpoint} cannot be opened: {error.strerror or error}") from error


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
