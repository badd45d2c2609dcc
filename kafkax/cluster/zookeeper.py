"""The coordination store of a cluster: a ZooKeeper ensemble, spoken to by kazoo.

Kazoo runs its own threads; this module is the one bridge between them and the event loop.  Requests are handed over without
waiting, answers and events come back by ``call_soon_threadsafe``, and nothing runs in kazoo's threads but that.  ZooKeeper
answers a session in order, so the order of requests is kept.

Watches of ZooKeeper fire once.  Here they are set again before anybody is told, so that what is read afterwards is covered;
after a reconnection all are set again and everybody is told, since anything may have happened meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    AuthFailedError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.exceptions import BadVersionError as ZkBadVersion
from kazoo.exceptions import NoChildrenForEphemeralsError as ZkNoChildren
from kazoo.exceptions import NodeExistsError as ZkNodeExists
from kazoo.exceptions import NoNodeError as ZkNoNode
from kazoo.exceptions import NotEmptyError as ZkNotEmpty
from kazoo.protocol.states import EventType, KeeperState, WatchedEvent, ZnodeStat
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from kafkax.cluster import znodes
from kafkax.cluster.store import (
    BadVersionError,
    ConnectionLostError,
    CoordinationStore,
    Create,
    Delete,
    MultiError,
    NoChildrenForEphemeralsError,
    NodeError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    Op,
    OpResult,
    SessionLostError,
    SessionState,
    SetData,
    Stat,
    StoreError,
    WatchCallback,
    Watches,
)
from kafkax.cluster.zookeeper_patience import PatienceHandler, patience_seconds
from kafkax.cluster.zookeeper_reads import READS_PER_REQUEST, MultiRead
from kafkax.config import BrokerConfig, ConfigError

__all__ = ["ZooKeeperSettings", "ZooKeeperStore", "zookeeper_settings"]

_log = logging.getLogger(__name__)
_NODE_ERRORS: dict[type[Exception], type[NodeError]] = {
    ZkBadVersion: BadVersionError,
    ZkNoChildren: NoChildrenForEphemeralsError,
    ZkNodeExists: NodeExistsError,
    ZkNoNode: NoNodeError,
    ZkNotEmpty: NotEmptyError,
}
_RECONNECT = {"max_tries": -1, "delay": 0.05, "backoff": 2, "max_delay": 1.0}
_AUTH_RETRY_SECONDS = 1.0
_GIVEN_UP = (KeeperState.AUTH_FAILED, KeeperState.CLOSED)
"""States in which kazoo does not connect again by itself."""
_CREDENTIALS = "zookeeper.auth.username, zookeeper.auth.password"
_STATES = {
    KazooState.CONNECTED: SessionState.CONNECTED,
    KazooState.SUSPENDED: SessionState.SUSPENDED,
    KazooState.LOST: SessionState.LOST,
}


@dataclass(frozen=True)
class ZooKeeperSettings:
    """How to reach an ensemble.

    Attributes:
        connect: ``zookeeper.connect``: ``host:port`` pairs separated by commas, then perhaps a chroot path.
        session_timeout_ms: ``zookeeper.session.timeout.ms``.
        connection_timeout_ms: how long the first connection may take.
        auth: keyword arguments of kazoo that say who the broker is (``auth_data``, ``sasl_options``).
        tls: keyword arguments of kazoo for TLS (``use_ssl``, ``ca``, ``certfile``, ``keyfile``, ...).
        acls: whether new nodes may be changed by this identity only, ``zookeeper.set.acl``.
    """

    connect: str
    session_timeout_ms: int = 18_000
    connection_timeout_ms: int = 18_000
    auth: dict[str, Any] = field(default_factory=dict, repr=False)
    tls: dict[str, Any] = field(default_factory=dict, repr=False)
    acls: bool = False


class _Hidden(str):
    """Credentials, which kazoo would write into its log."""

    def __repr__(self) -> str:
        return "[hidden]"


def _identity(config: BrokerConfig) -> dict[str, Any]:
    """How the broker says who it is.

    Raises:
        ConfigError: half of it is missing, or what SASL needs is not installed.
    """
    username, password = config["zookeeper.auth.username"], config["zookeeper.auth.password"]
    if (username is None) != (password is None):
        raise ConfigError("zookeeper.auth.username, zookeeper.auth.password: one is set without the other; set both or none")
    if username is None:
        return {}
    if config["zookeeper.auth.scheme"] == "digest":
        return {"auth_data": [("digest", _Hidden(f"{username}:{password.value}"))]}
    if find_spec("puresasl") is None:
        raise ConfigError("zookeeper.auth.scheme=sasl: it needs the Python package pure-sasl; install kafkax[sasl]")
    return {"sasl_options": {"mechanism": "DIGEST-MD5", "username": username, "password": password.value}}


def zookeeper_settings(config: BrokerConfig) -> ZooKeeperSettings:
    """How to reach the ensemble, from a broker's configs.

    Raises:
        ConfigError: nodes are to belong to the broker (``zookeeper.set.acl``), but it does not say who it is.
    """
    session = config["zookeeper.session.timeout.ms"]
    tls: dict[str, Any] = {}
    if config["zookeeper.ssl.client.enable"]:
        password = config["zookeeper.ssl.keystore.password"]
        tls = {
            "use_ssl": True,
            "ca": config["zookeeper.ssl.truststore.location"],
            "certfile": config["zookeeper.ssl.keystore.location"],
            "keyfile": config["zookeeper.ssl.keystore.location"],
            "keyfile_password": None if password is None else password.value,
            "check_hostname": config["zookeeper.ssl.endpoint.identification.algorithm"].upper() == "HTTPS",
        }
    auth, acls = _identity(config), config["zookeeper.set.acl"]
    if acls and not auth and not tls.get("certfile"):
        raise ConfigError(
            "zookeeper.set.acl=true: the broker does not say who it is; set zookeeper.auth.username and zookeeper.auth.password, "
            "or zookeeper.ssl.client.enable and zookeeper.ssl.keystore.location"
        )
    timeout = config["zookeeper.connection.timeout.ms"] or session
    return ZooKeeperSettings(config["zookeeper.connect"], session, timeout, auth, tls, acls)


def _acl(path: str, *, owned: bool) -> list[ACL]:
    """Who may do what with a new node, as Kafka has it."""
    if not owned or path == znodes.CONSUMERS:
        return [*OPEN_ACL_UNSAFE]
    return [*CREATOR_ALL_ACL] if path.startswith(znodes.SECRETS) else [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE]


class ZooKeeperStore(CoordinationStore):
    """A session with a ZooKeeper ensemble, and after its loss the next one.  Made by :meth:`connect`.

    While the session is suspended requests raise :class:`ConnectionLostError` at once; none waits for a reconnection, since
    by then the answer to the question may have changed.
    """

    def __init__(self, client: KazooClient, loop: asyncio.AbstractEventLoop, *, acls: bool = False) -> None:
        super().__init__()
        self._client = client
        self._acls = acls
        self._loop = loop
        self._state = SessionState.LOST
        self._session_id = 0
        self._nodes = Watches()
        self._children = Watches()
        self._closed = False

    @classmethod
    async def connect(cls, settings: ZooKeeperSettings) -> ZooKeeperStore:
        """Connect and begin a session; the chroot is created if it does not exist.

        Raises:
            StoreError: no server answered in time, or the credentials were refused.
        """
        hosts, slash, chroot = settings.connect.partition("/")
        client = KazooClient(
            hosts,
            timeout=settings.session_timeout_ms / 1000,
            connection_retry=_RECONNECT,
            handler=PatienceHandler(patience_seconds(settings.session_timeout_ms, hosts.count(",") + 1)),
            **settings.auth,
            **settings.tls,
        )
        loop = asyncio.get_running_loop()
        store = cls(client, loop, acls=settings.acls)
        started = client.start_async()
        if not await loop.run_in_executor(None, started.wait, settings.connection_timeout_ms / 1000):
            await store.close()
            raise StoreError(f"no ZooKeeper server of {hosts} answered within {settings.connection_timeout_ms} ms")
        try:
            # a connection counts as made before the credentials were looked at
            await store._all([client.exists_async("/")])
        except StoreError:
            await store.close()
            raise
        client.add_listener(store._kazoo_state)
        store._session_id = client.client_id[0]
        store._state = SessionState.CONNECTED
        if chroot:
            await store.ensure_paths([slash + chroot])
            client.chroot = slash + chroot.rstrip("/")
        return store

    @property
    def session_id(self) -> int:
        """ZooKeeper's id of the session."""
        return self._session_id

    # Session

    def _kazoo_state(self, state: str) -> None:
        self._on_loop(self._session_changed, _STATES[state])

    def _on_loop(self, callback: Callable[..., None], *args: Any) -> None:
        """From one of kazoo's threads to the loop, unless the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            _log.debug("the event loop ended before ZooKeeper's last events")

    def _session_changed(self, state: SessionState) -> None:
        if self._closed or state is self._state:
            return
        session_id = self._client.client_id[0] if self._client.client_id else 0
        if state is SessionState.CONNECTED and self._state is SessionState.SUSPENDED and session_id != self._session_id:
            # The loss went by too quickly to be seen on its own.
            self._tell_session(SessionState.LOST)
        self._state = state
        if state is not SessionState.CONNECTED:
            self._tell_session(state)
            if self._client.client_state in _GIVEN_UP:
                self._connect_again()
            return
        self._session_id = session_id
        for path in self._nodes.paths():
            self._arm_node(path)
        for path in self._children.paths():
            self._arm_children(path)
        self._tell_session(state)
        for watches in (self._nodes, self._children):
            for path in watches.paths():
                watches.fire(path)

    def _connect_again(self) -> None:
        """Go on where kazoo gives up: credentials count as refused, too, when a server dies while it looks at them."""
        _log.error("ZooKeeper refused the credentials (%s); trying again", _CREDENTIALS)
        self._loop.call_later(_AUTH_RETRY_SECONDS, self._loop.run_in_executor, None, self._start_again)

    def _start_again(self) -> None:
        if not self._closed:
            self._client.start_async()

    async def close(self) -> None:
        """End the session.  Closing twice is no error."""
        if self._closed:
            return
        self._closed = True
        self._state = SessionState.LOST
        await self._loop.run_in_executor(None, self._stop)

    def _stop(self) -> None:
        self._client.stop()
        self._client.close()

    # Requests

    def _check_connected(self) -> None:
        if self._closed:
            raise SessionLostError("the coordination store is closed")
        if self._state is SessionState.LOST:
            raise SessionLostError("the ZooKeeper session expired")
        if self._state is SessionState.SUSPENDED:
            raise ConnectionLostError("there is no connection to ZooKeeper")

    async def _all(self, requests: Sequence[Any]) -> list[Any]:
        """Wait for many answers of kazoo; each is a value or an exception that concerns a node.

        Raises:
            ConnectionLostError, SessionLostError, StoreError: what does not concern a node.
        """
        if not requests:
            return []
        done: asyncio.Future[None] = self._loop.create_future()

        def answered(_: Any) -> None:
            # Answers come in order, so the last one stands for all.
            self._on_loop(finish)

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        requests[-1].rawlink(answered)
        await done
        return [self._value(request) for request in requests]

    def _value(self, request: Any) -> Any:
        # All but never set: a break fails every request that was made before it.
        error = request.exception if request.ready() else ConnectionLoss()
        if error is None:
            return request.value
        if type(error) in _NODE_ERRORS:
            return error
        if isinstance(error, ConnectionLoss | ConnectionClosedError):
            raise ConnectionLostError(f"the connection to ZooKeeper broke: {error!r}")
        if isinstance(error, SessionExpiredError):
            raise SessionLostError("the ZooKeeper session expired")
        if isinstance(error, AuthFailedError):
            raise StoreError(f"ZooKeeper refused the credentials ({_CREDENTIALS})")
        if isinstance(error, KazooException):
            raise _refusal(error, "the request")
        raise error

    async def multi_all(self, transactions: Sequence[Sequence[Op]]) -> list[list[OpResult] | MultiError]:
        """Run transactions in order, all sent before the first answer."""
        self._check_connected()
        requests = []
        for ops in transactions:
            transaction = self._client.transaction()
            for op in ops:
                if isinstance(op, Create):
                    transaction.create(op.path, op.data, _acl(op.path, owned=self._acls), op.ephemeral, op.sequence)
                elif isinstance(op, SetData):
                    transaction.set_data(op.path, op.data, op.version)
                elif isinstance(op, Delete):
                    transaction.delete(op.path, op.version)
                else:
                    transaction.check(op.path, op.version)
            requests.append(transaction.commit_async())
        answers = await self._all(requests)
        return [_outcome(ops, results) for ops, results in zip(transactions, answers, strict=True)]

    async def get_many(self, paths: Sequence[str]) -> list[tuple[bytes, Stat] | None]:
        """Data and stat of each path, all asked for at once."""
        return await self._read(paths, children=False)

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        """Names of the children of each path, all asked for at once."""
        return await self._read(paths, children=True)

    async def _read(self, paths: Sequence[str], *, children: bool) -> list[Any]:
        self._check_connected()
        root = self._client.chroot
        # the root itself has the chroot's path, without a slash at its end
        whole = [root if root and path == "/" else root + path for path in paths]
        requests = []
        for at in range(0, len(whole), READS_PER_REQUEST):
            answer = self._client.handler.async_result()
            self._client._call(MultiRead(whole[at : at + READS_PER_REQUEST], children=children), answer)
            requests.append(answer)
        answers = [found for part in await self._all(requests) for found in part]
        for path, found in zip(paths, answers, strict=True):
            if isinstance(found, KazooException):
                raise _refusal(found, path)
        return answers

    # Watches

    async def watch_nodes(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """Watch nodes; the watches are set when this returns."""
        self._check_connected()
        added = [path for path in paths if self._nodes.add(path, callback)]
        await self._all([self._arm_node(path) for path in added])

    async def watch_children(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """Watch children; the watches are set when this returns."""
        self._check_connected()
        added = [path for path in paths if self._children.add(path, callback)]
        await self._all([self._arm_children(path) for path in added])

    def unwatch(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """End watches; ZooKeeper forgets them when they fire."""
        for path in paths:
            self._nodes.remove(path, callback)
            self._children.remove(path, callback)

    def _arm_node(self, path: str) -> Any:
        return self._client.exists_async(path, watch=partial(self._kazoo_event, self._node_changed, path))

    def _arm_children(self, path: str) -> Any:
        return self._client.get_children_async(path, watch=partial(self._kazoo_event, self._children_changed, path))

    def _kazoo_event(self, changed: Callable[[str], None], path: str, event: WatchedEvent) -> None:
        # The end of a connection comes as an event of type NONE; the reconnection sees to all watches.
        if event.type != EventType.NONE:
            self._on_loop(changed, path)

    def _node_changed(self, path: str) -> None:
        if self._state is SessionState.CONNECTED and path in self._nodes:
            self._arm_node(path)
            self._nodes.fire(path)

    def _children_changed(self, path: str) -> None:
        if self._state is SessionState.CONNECTED and path in self._children:
            self._arm_children(path)
            self._children.fire(path)


def _stat(stat: ZnodeStat) -> Stat:
    return Stat(stat.czxid, stat.mzxid, stat.version, stat.ephemeralOwner)


def _refusal(error: Exception, what: str) -> StoreError:
    """What is no news of a node but a fault; data, which may be secret, stay out of it."""
    why = f"ZooKeeper answered {error!r}"
    if isinstance(error, NoAuthError):
        why = f"its ACL does not allow this to the broker as it says who it is ({_CREDENTIALS}, zookeeper.ssl.keystore.location)"
    return StoreError(f"{what}: {why}")


def _outcome(ops: Sequence[Op], results: list[Any]) -> list[OpResult] | MultiError:
    for index, (op, result) in enumerate(zip(ops, results, strict=True)):
        if isinstance(result, RolledBackError | RuntimeInconsistency):
            continue
        if isinstance(result, Exception):
            error = _NODE_ERRORS.get(type(result))
            if error is None:
                raise _refusal(result, f"{type(op).__name__} of {op.path}")
            return MultiError(index, error(op.path))
    return [
        result if isinstance(op, Create) else _stat(result) if isinstance(op, SetData) else None
        for op, result in zip(ops, results, strict=True)
    ]
