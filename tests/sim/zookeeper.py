"""A ZooKeeper in one process and in the time of the event loop: sessions, watches, lost answers, expiry, from a seed.

Requests of a session arrive in order and are answered in order, each way taking a random time.  What the server did just
before a connection broke stays done, though nobody hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from kafkax.cluster.store import (
    ConnectionLostError,
    CoordinationStore,
    Delete,
    MultiError,
    Op,
    OpResult,
    SessionLostError,
    SessionState,
    Stat,
    WatchCallback,
    Watches,
)
from kafkax.cluster.tree import ZnodeTree

_STEP = 1e-9
"""Seconds between two messages of a connection: the event loop does not keep the order of timers of one time."""


class FakeZooKeeper:
    """The server.  ``latency`` bounds the seconds that a message takes; ``session_timeout`` is in seconds."""

    def __init__(self, random: Random | None = None, latency: float = 0.0, session_timeout: float = 6.0) -> None:
        self.tree = ZnodeTree()
        self.random = random or Random(0)
        self.latency = latency
        self.session_timeout = session_timeout
        self.stores: list[FakeStore] = []
        self._last_session = 0

    def connect(self) -> FakeStore:
        """A client with a new session."""
        store = FakeStore(self)
        self.stores.append(store)
        return store

    def new_session(self) -> int:
        self._last_session += 1
        return self._last_session

    def delay(self) -> float:
        return self.random.uniform(0, self.latency)

    def transact(self, ops: Sequence[Op], session: int) -> list[OpResult] | MultiError:
        try:
            outcome = self.tree.apply(ops, session)
        except MultiError as failure:
            return failure
        for store in self.stores:
            store.changed(outcome.nodes, outcome.parents)
        return outcome.results

    def expire(self, session: int) -> None:
        """End a session: its ephemeral nodes go."""
        for store in self.stores:
            if store.session_id == session:
                store.expired = True
        owned = self.tree.owned_by(session)
        if owned:
            self.transact([Delete(path) for path in owned], session)


class FakeStore(CoordinationStore):
    """A client and its session."""

    def __init__(self, server: FakeZooKeeper) -> None:
        super().__init__()
        self._server = server
        self._session_id = server.new_session()
        self._nodes = Watches()
        self._children = Watches()
        self._arrives = self._returns = 0.0
        self._pending: dict[asyncio.Future[Any], None] = {}
        self._expiry: asyncio.TimerHandle | None = None
        self.expired = False
        self.connected = True
        self.dead = False

    @property
    def session_id(self) -> int:
        return self._session_id

    # Faults

    def disconnect(self) -> None:
        """Cut the connection; the session expires unless it is restored in time."""
        if not self.connected or self.dead:
            return
        self.connected = False
        self._break()
        self._expiry = asyncio.get_running_loop().call_later(self._server.session_timeout, self._server.expire, self._session_id)
        self._tell_session(SessionState.SUSPENDED)

    def reconnect(self) -> None:
        """Restore the connection, with a new session when the former one expired."""
        if self.connected or self.dead:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        if self.expired:
            self._tell_session(SessionState.LOST)
            self._session_id = self._server.new_session()
            self.expired = False
        self.connected = True
        self._tell_session(SessionState.CONNECTED)
        for watches in (self._nodes, self._children):
            for path in watches.paths():
                watches.fire(path)

    def kill(self) -> None:
        """The client's process dies: nothing is called any more, the session expires in time."""
        self.dead, self.connected = True, False
        self._break()
        asyncio.get_running_loop().call_later(self._server.session_timeout, self._server.expire, self._session_id)

    def _break(self) -> None:
        pending, self._pending = self._pending, {}
        for future in pending:
            if not future.done():
                future.set_exception(ConnectionLostError("the connection broke"))
                future.exception()

    # Requests

    def _request(self, action: Callable[[], Any]) -> asyncio.Future[Any]:
        """Send a request; not a coroutine, so that requests leave in the order of the calls."""
        if self.dead or self.expired:
            raise SessionLostError("the session is over")
        if not self.connected:
            raise ConnectionLostError("not connected")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._pending[answer] = None

        def respond(result: Any) -> None:
            self._pending.pop(answer, None)
            if not answer.done():
                answer.set_result(result)

        def arrive() -> None:
            if answer in self._pending:
                result = action()
                loop.call_at(self._return_time(), respond, result)

        self._arrives = max(self._arrives + _STEP, loop.time() + self._server.delay())
        loop.call_at(self._arrives, arrive)
        return answer

    def _return_time(self) -> float:
        self._returns = max(self._returns + _STEP, asyncio.get_running_loop().time() + self._server.delay())
        return self._returns

    async def multi_all(self, transactions: Sequence[Sequence[Op]]) -> list[list[OpResult] | MultiError]:
        # Each is a request of its own, so that a break may come between them.
        return list(await asyncio.gather(*(self._request(lambda ops=ops: self._transact(ops)) for ops in transactions)))

    def _transact(self, ops: Sequence[Op]) -> list[OpResult] | MultiError:
        return self._server.transact(ops, self._session_id)

    async def get_many(self, paths: Sequence[str]) -> list[tuple[bytes, Stat] | None]:
        return await self._request(lambda: [self._server.tree.get(path) for path in paths])

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        return await self._request(lambda: [self._server.tree.children(path) for path in paths])

    async def watch_nodes(self, paths: Iterable[str], callback: WatchCallback) -> None:
        for path in paths:
            self._nodes.add(path, callback)

    async def watch_children(self, paths: Iterable[str], callback: WatchCallback) -> None:
        for path in paths:
            self._children.add(path, callback)

    def unwatch(self, paths: Iterable[str], callback: WatchCallback) -> None:
        for path in paths:
            self._nodes.remove(path, callback)
            self._children.remove(path, callback)

    def changed(self, nodes: Iterable[str], parents: Iterable[str]) -> None:
        """The server tells what changed; it reaches the client in order with its answers."""
        hints = [(self._nodes, path) for path in nodes if path in self._nodes]
        hints += [(self._children, path) for path in parents if path in self._children]
        if hints and self.connected:
            asyncio.get_running_loop().call_at(self._return_time(), self._fire, hints, self._session_id)

    def _fire(self, hints: list[tuple[Watches, str]], session: int) -> None:
        if self.connected and session == self._session_id:
            for watches, path in hints:
                watches.fire(path)

    async def close(self) -> None:
        if not self.dead:
            self.dead, self.connected = True, False
            self._break()
            self._server.expire(self._session_id)
