"""The coordination interface: a tree of znodes with ZooKeeper's semantics, whatever keeps it.

Cluster state (brokers, topics, leaders, configs, the controller's election) lives in one tree of small versioned nodes.  Two
backends implement it: :mod:`kafkax.cluster.embedded` in the data directory of exactly one broker and
:mod:`kafkax.cluster.zookeeper` on a ZooKeeper ensemble.  The code above knows only this module.

Reads and writes of one store are answered in the order in which they were made, and what is answered is durable.  A watch is
a hint: its callback runs at least once after every change of what is watched, perhaps once for several changes and perhaps
for none, so that a callback only notes that there is something to read again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

__all__ = [
    "ANY_VERSION",
    "BadVersionError",
    "Check",
    "ConnectionLostError",
    "CoordinationStore",
    "Create",
    "Delete",
    "MultiError",
    "NoChildrenForEphemeralsError",
    "NoNodeError",
    "NodeError",
    "NodeExistsError",
    "NotEmptyError",
    "Op",
    "OpResult",
    "SessionLostError",
    "SessionState",
    "SetData",
    "Stat",
    "StoreError",
    "WatchCallback",
    "Watches",
    "parent_of",
]

ANY_VERSION = -1
"""As an expected version: whatever the node's version is."""


class Stat(NamedTuple):
    """What is known of a node beside its data."""

    czxid: int
    """Transaction that created the node, ever growing.  Of a broker's id node it is the broker epoch (KIP-380)."""
    mzxid: int
    """Transaction that last wrote the data."""
    version: int
    """How often the data was set since creation."""
    ephemeral_owner: int
    """Session that the node lives and dies with; 0 for a persistent node."""


class Create(NamedTuple):
    """Create a node whose parent exists; ``sequence`` appends ten digits that grow under the parent.  Results in the path."""

    path: str
    data: bytes = b""
    ephemeral: bool = False
    sequence: bool = False


class SetData(NamedTuple):
    """Replace a node's data if it has the expected version.  Results in the new :class:`Stat`."""

    path: str
    data: bytes
    version: int = ANY_VERSION


class Delete(NamedTuple):
    """Delete a node without children if it has the expected version.  Results in None."""

    path: str
    version: int = ANY_VERSION


class Check(NamedTuple):
    """Let the transaction fail unless the node has the expected version.  Results in None."""

    path: str
    version: int = ANY_VERSION


Op = Create | SetData | Delete | Check
OpResult = str | Stat | None
WatchCallback = Callable[[str], None]
"""Called on the event loop with the watched path; must not block."""


class StoreError(Exception):
    """An operation on the coordination store failed."""


class NodeError(StoreError):
    """An operation does not fit the state of a node; nothing was changed."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: {type(self).__doc__}")
        self.path = path


class NoNodeError(NodeError):
    """the node, or the parent of the one to create, does not exist"""


class NodeExistsError(NodeError):
    """the node exists already"""


class BadVersionError(NodeError):
    """the node does not have the expected version"""


class NotEmptyError(NodeError):
    """the node has children"""


class NoChildrenForEphemeralsError(NodeError):
    """an ephemeral node cannot have children"""


class MultiError(StoreError):
    """A transaction failed as a whole and changed nothing.

    Args:
        index: which of its operations did not fit.
        error: why.
    """

    def __init__(self, index: int, error: NodeError) -> None:
        super().__init__(f"operation {index} of the transaction: {error}")
        self.index = index
        self.error = error


class ConnectionLostError(StoreError):
    """The connection broke before the answer arrived: whether the operation took place is not known."""


class SessionLostError(StoreError):
    """The session is over and with it all its ephemeral nodes; the operation did not take place."""


class SessionState(Enum):
    """What a store tells its session listeners."""

    CONNECTED = "connected"
    """Requests are answered.  After ``LOST`` the session is a new one, with another id."""
    SUSPENDED = "suspended"
    """No server answers, but the session and its ephemeral nodes may well live: stop acting, keep what is known."""
    LOST = "lost"
    """The session expired: its ephemeral nodes are gone, others may have taken over."""


class Watches:
    """Who watches which path; a registry for backends."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: dict[str, list[WatchCallback]] = {}

    def add(self, path: str, callback: WatchCallback) -> bool:
        """Register; true when nobody watched the path before."""
        callbacks = self._callbacks.get(path)
        if callbacks is None:
            self._callbacks[path] = [callback]
            return True
        if callback not in callbacks:
            callbacks.append(callback)
        return False

    def remove(self, path: str, callback: WatchCallback) -> None:
        """Forget a registration; one that does not exist is no error."""
        callbacks = self._callbacks.get(path, [])
        if callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del self._callbacks[path]

    def fire(self, path: str) -> None:
        """Call everyone who watches the path."""
        for callback in tuple(self._callbacks.get(path, ())):
            callback(path)

    def paths(self) -> list[str]:
        """Every watched path."""
        return list(self._callbacks)

    def __contains__(self, path: object) -> bool:
        return path in self._callbacks


class CoordinationStore(ABC):
    """A session with a tree of znodes.

    A backend implements the bulk operations, in which many requests share a round trip; the single ones follow from them.
    Every method may raise :class:`ConnectionLostError` and :class:`SessionLostError`.
    """

    def __init__(self) -> None:
        self._session_listeners: list[Callable[[SessionState], None]] = []

    @property
    @abstractmethod
    def session_id(self) -> int:
        """Id of the present session, the owner of the ephemeral nodes it creates; never 0 while connected."""

    @abstractmethod
    async def multi_all(self, transactions: Sequence[Sequence[Op]]) -> list[list[OpResult] | MultiError]:
        """Run transactions one after the other, each atomic for itself, without waiting between them.

        Returns for each its operations' results, or the error with which it (alone) failed.
        """

    @abstractmethod
    async def get_many(self, paths: Sequence[str]) -> list[tuple[bytes, Stat] | None]:
        """Data and stat of each path, None where there is no node."""

    @abstractmethod
    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        """Names (not paths) of the children of each path in no particular order, None where there is no node."""

    @abstractmethod
    async def watch_nodes(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """Have ``callback`` called after a node is created, its data set, or it is deleted; the paths need not exist."""

    @abstractmethod
    async def watch_children(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """Have ``callback`` called after a child of an existing path is created or deleted, or the path itself deleted."""

    @abstractmethod
    def unwatch(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """End what :meth:`watch_nodes` and :meth:`watch_children` began."""

    @abstractmethod
    async def close(self) -> None:
        """End the session; its ephemeral nodes go at once."""

    def add_session_listener(self, listener: Callable[[SessionState], None]) -> None:
        """Have ``listener`` called on the event loop whenever the session's state changes; it must not block."""
        self._session_listeners.append(listener)

    def _tell_session(self, state: SessionState) -> None:
        for listener in tuple(self._session_listeners):
            listener(state)

    async def multi(self, ops: Sequence[Op]) -> list[OpResult]:
        """Run one transaction.

        Raises:
            MultiError: an operation did not fit; nothing was changed.
        """
        result = (await self.multi_all([ops]))[0]
        if isinstance(result, MultiError):
            raise result
        return result

    async def _single(self, op: Op) -> OpResult:
        try:
            return (await self.multi([op]))[0]
        except MultiError as failure:
            raise failure.error from None

    async def create(self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequence: bool = False) -> str:
        """Create a node and return its path.

        Raises:
            NodeExistsError: it exists.
            NoNodeError: its parent does not.
            NoChildrenForEphemeralsError: its parent is ephemeral.
        """
        created = await self._single(Create(path, data, ephemeral, sequence))
        assert isinstance(created, str)
        return created

    async def set(self, path: str, data: bytes, version: int = ANY_VERSION) -> Stat:
        """Replace a node's data.

        Raises:
            NoNodeError: there is no such node.
            BadVersionError: it does not have the expected version.
        """
        stat = await self._single(SetData(path, data, version))
        assert isinstance(stat, Stat)
        return stat

    async def delete(self, path: str, version: int = ANY_VERSION) -> None:
        """Delete a node.

        Raises:
            NoNodeError: there is no such node.
            BadVersionError: it does not have the expected version.
            NotEmptyError: it has children.
        """
        await self._single(Delete(path, version))

    async def get(self, path: str) -> tuple[bytes, Stat]:
        """Data and stat of a node.

        Raises:
            NoNodeError: there is no such node.
        """
        found = (await self.get_many([path]))[0]
        if found is None:
            raise NoNodeError(path)
        return found

    async def find(self, path: str) -> tuple[bytes, Stat] | None:
        """Data and stat of a node, None when there is none."""
        return (await self.get_many([path]))[0]

    async def exists(self, path: str) -> Stat | None:
        """The stat of a node, None when there is none."""
        found = await self.find(path)
        return None if found is None else found[1]

    async def children(self, path: str) -> list[str]:
        """Names of a node's children.

        Raises:
            NoNodeError: there is no such node.
        """
        found = (await self.children_many([path]))[0]
        if found is None:
            raise NoNodeError(path)
        return found

    async def ensure_paths(self, paths: Iterable[str]) -> None:
        """Create each path, with its parents, as an empty persistent node where it does not exist."""
        wanted: dict[str, None] = {}
        for path in paths:
            at = path.find("/", 1)
            while at > 0:
                wanted[path[:at]] = None
                at = path.find("/", at + 1)
            wanted[path] = None
        present = await self.get_many(list(wanted))
        missing = [path for path, found in zip(wanted, present, strict=True) if found is None]
        for result in await self.multi_all([[Create(path)] for path in missing]):
            if isinstance(result, MultiError) and not isinstance(result.error, NodeExistsError):
                raise result.error

    async def delete_tree(self, path: str) -> None:
        """Delete a node and everything below it, leaves first; one that does not exist is no error."""
        doomed, level = [path], [path]
        while level:
            below = await self.children_many(level)
            level = [f"{parent}/{name}" for parent, names in zip(level, below, strict=True) for name in names or ()]
            doomed += level
        for result in await self.multi_all([[Delete(node)] for node in reversed(doomed)]):
            if isinstance(result, MultiError) and not isinstance(result.error, NoNodeError):
                raise result.error


def parent_of(path: str) -> str:
    """The path of the node above; of a top node the root, ``/``."""
    return path[: path.rfind("/")] or "/"
