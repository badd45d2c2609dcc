"""A client's view of the cluster on its I/O thread: connections, metadata, coordinators, retries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from kafkax._core.pacing import unpaced_within_host
from kafkax.client.configs import ClientConfig
from kafkax.client.connection import Connection, network_error
from kafkax.client.loop import IoThread
from kafkax.client.metadata import ClusterMetadata, TopicMetadata
from kafkax.client.security import authenticate, check_security, tls_context
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse

__all__ = ["GROUP", "TRANSACTION", "Backoff", "Cluster", "check", "sole"]

T = TypeVar("T")
R = TypeVar("R", bound=Response)
_FAMILIES = {"any": socket.AF_UNSPEC, "v4": socket.AF_INET, "v6": socket.AF_INET6}
GROUP, TRANSACTION = 0, 1
"""Kinds of coordinators."""


def check(number: int, what: str, message: str | None = None) -> None:
    """Raise the error that an answer carries.

    Raises:
        KafkaError: ``number`` is not 0.
    """
    if number:
        code = error_code(number)
        raise KafkaError(code, f"{what}: {message or code.message}")


def sole(items: Sequence[T], what: str) -> T:
    """The one thing that was asked for, out of an answer's array.

    Raises:
        KafkaError: NETWORK_EXCEPTION, to be tried again: the answer has none, or several.
    """
    if len(items) != 1:
        raise network_error(f"an answer about {what} has {len(items)} entries, 1 was asked for")
    return items[0]


class Backoff:
    """Waiting times that double from one attempt to the next, with a fifth of jitter either way."""

    def __init__(self, first_ms: float, most_ms: float) -> None:
        self._first, self._most = first_ms / 1000, most_ms / 1000
        self.attempts = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        delay: float = min(self._first * 2**self.attempts, self._most)
        self.attempts = min(self.attempts + 1, 30)
        return delay * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        """Begin anew after a success."""
        self.attempts = 0


class Cluster:
    """Connections and metadata; used on the I/O thread only.

    Args:
        config: of the client.
        io: the client's thread.
    """

    def __init__(self, config: ClientConfig, io: IoThread) -> None:
        check_security(config)
        self.config = config
        self.io = io
        self.loop = io.loop
        self.metadata = ClusterMetadata()
        self.timeout = config["request.timeout.ms"] / 1000
        self.watched: set[str] = set()
        self.watch_all = False
        self.on_metadata: list[Callable[[], None]] = []
        self._tls = tls_context(config)
        self._family = _FAMILIES[config["broker.address.family"]]
        self._connections: dict[int, Connection] = {}
        self._connecting: dict[int, asyncio.Task[Connection]] = {}
        self._backoffs: dict[int, tuple[float, Backoff]] = {}
        self._coordinators: dict[tuple[int, str], int] = {}
        self._refreshing: asyncio.Task[None] | None = None
        # When to ask once more for topics that are watched and not there.
        self._again: asyncio.TimerHandle | None = None
        self._patience = Backoff(config["retry.backoff.ms"], config["retry.backoff.max.ms"])
        self._bootstrap: Connection | None = None
        self._others: list[Connection] = []
        self._origin = ""

    # connections

    async def _open(self, host: str, port: int) -> Connection:
        config, address = self.config, f"{host}:{port}"
        connection = Connection(self.loop, address, config["client.id"], config["receive.message.max.bytes"])
        timeout = config["socket.connection.setup.timeout.ms"] / 1000
        try:
            await asyncio.wait_for(self._connect(connection, host, port), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            raise network_error(f"{address} did not accept a connection within {timeout:g} s") from None
        except socket.gaierror as error:
            raise network_error(self._unresolved(address, error)) from error
        except OSError as error:
            hint = "" if self._tls is None else "; does security.protocol match its listener, and is ssl.ca.location right?"
            what = f"{address} can't be reached: {error.strerror or error}{self._advertised(address)}{hint}"
            raise network_error(what) from error
        try:
            await connection.negotiate(self.timeout)
            await authenticate(connection, config, self.timeout)
        except BaseException as error:
            connection.abort(error if isinstance(error, KafkaError) else network_error(f"{address}: {error}"))
            raise
        return connection

    async def _connect(self, connection: Connection, host: str, port: int) -> None:
        if self._tls is None:
            raw = await self._connected_socket(host, port)
            connection.adopt(raw)
        else:
            transport, _ = await self.loop.create_connection(
                lambda: connection, host, port, ssl=self._tls, server_hostname=host, family=self._family
            )
            raw = transport.get_extra_info("socket")
        if self.config["socket.keepalive.enable"]:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, size in ((socket.SO_SNDBUF, "socket.send.buffer.bytes"), (socket.SO_RCVBUF, "socket.receive.buffer.bytes")):
            if self.config[size]:
                raw.setsockopt(socket.SOL_SOCKET, option, self.config[size])

    async def _connected_socket(self, host: str, port: int) -> socket.socket:
        """A socket connected to the first of a name's addresses that accepts."""
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in await self.loop.getaddrinfo(
            host, port, family=self._family, type=socket.SOCK_STREAM
        ):
            raw = socket.socket(family, kind, protocol)
            try:
                raw.setblocking(False)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                unpaced_within_host(raw, str(address[0]))
                await self.loop.sock_connect(raw, address)
            except BaseException as error:
                raw.close()
                if not isinstance(error, OSError):
                    raise
                failure = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
            else:
                return raw
        raise failure

    def _unresolved(self, address: str, error: socket.gaierror) -> str:
        if self._origin and self._origin != address:
            return (
                f"connected to {self._origin}, but it advertises {address}, which does not resolve; set advertised.listeners of "
                "the broker to an address that clients know"
            )
        return f"{address} does not resolve: {error.strerror}"

    def _advertised(self, address: str) -> str:
        return f"; {self._origin} advertises it" if self._origin and self._origin != address else ""

    async def connection(self, node_id: int) -> Connection:
        """The connection to a broker, made where there is none.

        Raises:
            KafkaError: the broker is not known or can't be reached.
        """
        found = self._connections.get(node_id)
        if found is not None and not found.closed.done():
            return found
        task = self._connecting.get(node_id)
        if task is None:
            task = self._connecting[node_id] = self.io.spawn(self._connect_node(node_id))
            task.add_done_callback(lambda done: self._connected(node_id, done))
        return await asyncio.shield(task)

    async def another_connection(self, node_id: int) -> Connection:
        """A connection to a broker beside the one that everybody uses; closed with the others.

        Raises:
            KafkaError: the broker is not known or can't be reached.
        """
        broker = self.metadata.brokers.get(node_id)
        if broker is None:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"broker {node_id} is none of {sorted(self.metadata.brokers)}")
        connection = await self._open(broker.host, broker.port)
        connection.node_id = node_id
        self._others = [each for each in self._others if not each.closed.done()] + [connection]
        return connection

    def live(self, node_id: int) -> Connection | None:
        """The connection to a broker if it stands."""
        found = self._connections.get(node_id)
        return found if found is not None and not found.closed.done() else None

    def standing(self) -> list[Connection]:
        """The connections to brokers that stand."""
        return [each for each in self._connections.values() if not each.closed.done()]

    def _connected(self, node_id: int, task: asyncio.Task[Connection]) -> None:
        self._connecting.pop(node_id, None)
        if not task.cancelled():
            task.exception()

    async def _connect_node(self, node_id: int) -> Connection:
        broker = self.metadata.brokers.get(node_id)
        if broker is None:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"broker {node_id} is none of {sorted(self.metadata.brokers)}")
        not_before, backoff = self._backoffs.get(node_id, (0.0, None))
        await asyncio.sleep(max(0.0, not_before - self.loop.time()))
        if backoff is None:
            backoff = Backoff(self.config["reconnect.backoff.ms"], self.config["reconnect.backoff.max.ms"])
        try:
            connection = await self._open(broker.host, broker.port)
        except KafkaError:
            self._backoffs[node_id] = (self.loop.time() + backoff.next(), backoff)
            raise
        self._backoffs.pop(node_id, None)
        connection.node_id = node_id
        self._connections[node_id] = connection
        return connection

    async def any_connection(self) -> Connection:
        """A connection to whichever broker answers: one that stands, a known one, a bootstrap server.

        Raises:
            KafkaError: none can be reached; the message says why, for each.
        """
        standing = self.standing()
        if standing:
            return min(standing, key=lambda each: each.in_flight)
        if self._bootstrap is not None and not self._bootstrap.closed.done():
            return self._bootstrap
        problems: list[str] = []
        now = self.loop.time()
        for node_id in list(self.metadata.brokers):
            if self._backoffs.get(node_id, (0.0, None))[0] > now:
                continue
            try:
                return await self.connection(node_id)
            except KafkaError as error:
                problems.append(str(error))
        for host, port in self.config.servers:
            try:
                self._bootstrap = await self._open(host, port)
            except KafkaError as error:
                if error.code in (ErrorCode.SASL_AUTHENTICATION_FAILED, ErrorCode.UNSUPPORTED_SASL_MECHANISM):
                    raise
                problems.append(str(error))
            else:
                self._origin = self._bootstrap.address
                return self._bootstrap
        servers = self.config["bootstrap.servers"]
        raise network_error(f"no broker can be reached (bootstrap.servers={servers}): {'; '.join(problems)}")

    # requests

    async def request(self, request: Request, response: type[R], node: int | None = None, timeout: float | None = None) -> R:
        """Send a request once.

        Args:
            node: broker id; any broker when None.
            timeout: seconds; request.timeout.ms when None.
        """
        connection = await (self.any_connection() if node is None else self.connection(node))
        return await connection.request(request, response, self.timeout if timeout is None else timeout)

    async def retry(self, attempt: Callable[[], Awaitable[T]], deadline: float, what: str) -> T:
        """Try until it works, fails for good, or the deadline (in the loop's time) is there.

        Raises:
            KafkaError: the last error, with what was tried.
        """
        backoff = Backoff(self.config["retry.backoff.ms"], self.config["retry.backoff.max.ms"])
        while True:
            try:
                return await attempt()
            except KafkaError as error:
                delay = backoff.next()
                if not error.retriable or self.loop.time() + delay > deadline:
                    raise
            await asyncio.sleep(delay)

    def deadline(self, seconds: float | None) -> float:
        """The loop's time in so many seconds; of request.timeout.ms when None, at least a day when negative."""
        if seconds is not None and seconds < 0:
            seconds = 86_400.0
        return self.loop.time() + (self.timeout if seconds is None else seconds)

    async def controller(self) -> int:
        """Broker id that takes what only the controller may do.

        Raises:
            KafkaError: NOT_CONTROLLER when the cluster has none at the moment.
        """
        await self.refresh([])
        if self.metadata.controller_id < 0:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "the cluster has no controller at the moment")
        return self.metadata.controller_id

    async def coordinator(self, kind: int, key: str) -> int:
        """Broker id of the coordinator of a group or a transactional id; remembered until :meth:`lost_coordinator`.

        Raises:
            KafkaError: COORDINATOR_NOT_AVAILABLE and others.
        """
        known = self._coordinators.get((kind, key))
        if known is not None and known in self.metadata.brokers:
            return known
        connection = await self.any_connection()
        version = connection.version(FindCoordinatorRequest)
        if version >= 4:
            request = FindCoordinatorRequest(key_type=kind, coordinator_keys=[key])
        else:
            request = FindCoordinatorRequest(key=key, key_type=kind)
        answer = await connection.request(request, FindCoordinatorResponse, self.timeout, version)
        found = sole(answer.coordinators, f"the coordinator of {key!r}") if version >= 4 else answer
        check(found.error_code, f"coordinator of {key!r}", found.error_message)
        if found.node_id not in self.metadata.brokers:
            await self.refresh([])
        self._coordinators[kind, key] = found.node_id
        return int(found.node_id)

    def lost_coordinator(self, kind: int, key: str) -> None:
        """Ask again for a coordinator that turned out not to be it."""
        self._coordinators.pop((kind, key), None)

    # metadata

    async def refresh(self, topics: Iterable[str] | None, *, create: bool = False) -> MetadataResponse:
        """Ask for metadata of these topics (None: all) and take it over.

        Args:
            create: let the broker create those that are missing, if it does so.
        """
        names = None if topics is None else list(topics)
        connection = await self.any_connection()
        version = connection.version(MetadataRequest)
        request = MetadataRequest(
            topics=None if names is None else [MetadataRequestTopic(name=name) for name in names],
            allow_auto_topic_creation=create or version < 4,
        )
        answer = await connection.request(request, MetadataResponse, self.timeout, version)
        if version >= 13:
            check(answer.error_code, "metadata")
        self.metadata.update(answer)
        if names is None:
            self.metadata.forget(self.metadata.topics.keys() - {each.name for each in answer.topics})
        for callback in self.on_metadata:
            callback()
        return answer

    def refresh_soon(self) -> None:
        """Have the metadata of the watched topics fetched in the background; once, however often and where this is called."""
        if not self.io.inside:
            self.io.aside(self.refresh_soon)
        elif self._refreshing is None or self._refreshing.done():
            self._refreshing = self.io.spawn(self._refresh_watched())

    async def _refresh_watched(self) -> None:
        backoff = Backoff(self.config["retry.backoff.ms"], self.config["retry.backoff.max.ms"])
        while True:
            try:
                create = bool(self.config["allow.auto.create.topics"])
                await self.refresh(None if self.watch_all else sorted(self.watched), create=create)
                # Not again at once: what asks for metadata will do so until an election is over.
                await asyncio.sleep(self.config["retry.backoff.ms"] / 1000)
                self._ask_again()
                return
            except KafkaError as error:
                self.report(error)
                await asyncio.sleep(backoff.next())

    def _ask_again(self) -> None:
        """Ask for watched topics that the cluster does not have, or not yet, until they are there: nothing else tells of them."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        topics = self.metadata.topics
        if all(name in topics and topics[name].error is None for name in self.watched):
            self._patience.reset()
        else:
            self._again = self.loop.call_later(self._patience.next(), self.refresh_soon)

    async def keep_fresh(self) -> None:
        """Refresh the watched topics' metadata every metadata.max.age.ms and close idle connections; runs until cancelled."""
        idle = self.config["connections.max.idle.ms"] / 1000
        age = self.config["metadata.max.age.ms"] / 1000
        while True:
            await asyncio.sleep(age)
            if self.watched or self.watch_all:
                self.refresh_soon()
            for node_id, connection in list(self._connections.items()):
                if idle and not connection.in_flight and time.monotonic() - connection.used > idle:
                    self._connections.pop(node_id)
                    connection.abort(network_error(f"{connection.address} was idle for {idle:g} s (connections.max.idle.ms)"))

    async def topic(self, name: str, deadline: float) -> TopicMetadata:
        """A topic with all its leaders, asking until it has them.

        Raises:
            KafkaError: the topic does not exist or can't be used, or the deadline is there.
        """

        async def attempt() -> TopicMetadata:
            known = self.metadata.topics.get(name)
            if known is None or known.error is not None or not known.partitions:
                await self.refresh([name], create=bool(self.config["allow.auto.create.topics"]))
                known = self.metadata.topics.get(name)
            if known is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {name} does not exist")
            if known.error is not None:
                raise known.error
            return known

        return await self.retry(attempt, deadline, f"metadata of {name}")

    def report(self, error: KafkaError) -> None:
        """Tell the caller's error_cb of an error that is being retried."""
        callback = self.config["error_cb"]
        if callback is not None:
            with contextlib.suppress(Exception):
                callback(error)

    async def close(self) -> None:
        """Close every connection."""
        gone = network_error("the client was closed")
        for task in self._connecting.values():
            task.cancel()
        for connection in [*self._connections.values(), *self._others, *([self._bootstrap] if self._bootstrap else [])]:
            connection.abort(gone)
