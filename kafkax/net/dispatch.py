"""From frames that were handed over to the broker's handlers, and back.

Requests of one connection are handled one after the other, as in Kafka: the next one begins when the one before has its
answer.  Different connections do not wait for each other.  Requests of some APIs need not wait for each other on one connection
either, where it is enough that they begin in order: their answers leave in order all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any, Protocol, TypeAlias, cast

from kafkax._core.reactor import ClosedConnection, HandedRequest, NewConnection, Reactor
from kafkax.clock import Clock, SystemClock
from kafkax.errors import ProtocolError
from kafkax.net.connection import Connection, Payload
from kafkax.net.faults import FaultLog
from kafkax.protocol.headers import RequestHeader, response_header

__all__ = ["CloseConnection", "Dispatcher", "Handler", "Quick"]


class Later(Protocol):
    """An answer to come that calls back, which costs no task: a coordinator's promise."""

    def on_done(self, callback: Callable[[Any], None]) -> None:
        """Call back with this once the answer is there, at once if it is."""

    def result(self) -> Payload:
        """The answer; raises what went wrong."""


Handler: TypeAlias = "Callable[[Connection, RequestHeader, memoryview], Payload | Later | Awaitable[Payload | None] | None]"
"""Takes a request's header and body, returns the response's body (its header is put before it) or None for no answer.

Plain functions answer at once or later; other awaitables are awaited in a task of their own."""

Quick: TypeAlias = "Callable[[Connection, bytes, Callable[[bytes], object]], bool]"
"""Answers a connection's whole frame in its ordinary form, at once or later, with the response and its header.

False when the request is out of the ordinary, and nothing was done."""

_QUIET = frozenset({"closed by peer", "closed by the broker", "broker stops", "idle for longer than connections.max.idle.ms"})
_log = logging.getLogger("kafkax.net")


class CloseConnection(Exception):
    """Raised by a handler when the protocol's only answer is to close the connection; the text is logged."""


class Dispatcher:
    """Feeds a handler with what a reactor hands over and what other listeners submit.

    A handler that raises ``ProtocolError`` or ``CloseConnection`` has the connection closed, and it is logged who and why;
    any other exception too, with its traceback.

    Args:
        handler: see ``Handler``.
        closed: called with every connection that had sent requests here and is gone.
        opened: called with every connection that waits for :meth:`let_in`; without it there are none.
        clock: for the rate of log lines.
        overlap: keys of the APIs whose requests, one after the other on a connection, need not wait for each other's answer.
        quick: what is asked before the handler, by API key; where the connection itself keeps answers in order, its requests
            overlap.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        closed: Callable[[Connection], object] | None = None,
        opened: Callable[[Connection], object] | None = None,
        clock: Clock | None = None,
        overlap: Collection[int] = (),
        quick: Mapping[int, Quick] | None = None,
    ) -> None:
        self._handler = handler
        self._quick = {key.to_bytes(2, "big"): each for key, each in (quick or {}).items()}
        self._overlap = frozenset(key.to_bytes(2, "big") for key in overlap) | self._quick.keys()
        self._on_closed = closed
        self._on_opened = opened
        self._faults = FaultLog(clock or SystemClock())
        self._reactor: Reactor | None = None
        self._connections: dict[int, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, reactor: Reactor) -> None:
        """Serve what the reactor hands over, on the running loop."""
        self._reactor = reactor
        loop = asyncio.get_running_loop()
        reactor.gather(lambda: loop.call_soon(reactor.announce))
        loop.add_reader(reactor.fileno(), self._drain)

    async def stop(self, timeout: float) -> None:
        """Stop the reactor within ``timeout`` seconds, answering what is still handed over, then cancel what did not end."""
        if self._reactor is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._reactor.stop, timeout)
            loop.remove_reader(self._reactor.fileno())
            self._drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def submit(self, connection: Connection, token: int, frame: bytes) -> None:
        """Handle a request of a connection after those that came before it."""
        if connection.ending:
            return
        if connection.waiting or not self._may_begin(connection, frame):
            connection.waiting.append((token, frame))
        else:
            self._begin(connection, token, frame)

    def _may_begin(self, connection: Connection, frame: bytes) -> bool:
        return not connection.busy and (not connection.overlapping or frame[:2] in self._overlap)

    def fault(self, connection: Connection, reason: str, detail: str) -> None:
        """Close a connection that broke a rule, and log who and why."""
        self._faults.report(connection.peer, reason, detail)
        connection.close()

    def screen(self, connection: Connection) -> None:
        """Have nothing of a new connection handled before it is let in."""
        if self._on_opened is not None:
            connection.busy = True
            self._on_opened(connection)

    def let_in(self, connection: Connection) -> None:
        """Handle what a screened connection asks."""
        connection.busy = False
        connection.pause(paused=False)
        self._begin_waiting(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is gone: drop what waits, tell the broker."""
        connection.waiting.clear()
        if self._on_closed is not None:
            self._on_closed(connection)

    def _drain(self) -> None:
        reactor = self._reactor
        assert reactor is not None
        for item in reactor.take():
            if isinstance(item, HandedRequest):
                connection = self._connections.get(item.connection)
                if connection is None:
                    connection = Connection(reactor, item.connection, item.listener, item.peer, ordered=True)
                    self._connections[item.connection] = connection
                self.submit(connection, item.token, item.frame)
            elif isinstance(item, NewConnection):
                connection = Connection(reactor, item.connection, item.listener, item.peer, ordered=True)
                self._connections[item.connection] = connection
                self.screen(connection)
            else:
                self._gone(item)

    def _gone(self, item: ClosedConnection) -> None:
        if item.reason not in _QUIET:
            self._faults.report(item.peer, item.reason)
        connection = self._connections.pop(item.connection, None)
        if connection is not None:
            self.forget(connection)

    def _begin(self, connection: Connection, token: int, frame: bytes) -> None:
        quick = self._quick.get(frame[:2])
        if quick is not None and self._begin_quick(connection, token, frame, quick):
            return
        try:
            header, body = RequestHeader.parse(frame)
            answer = self._handler(connection, header, body)
        except Exception as error:
            self._fail(connection, token, error)
            return
        if hasattr(answer, "on_done"):
            overlap = connection.ordered and frame[:2] in self._overlap
            self._await(connection, token, header, cast("Later", answer), overlap=overlap)
            return
        if isawaitable(answer):
            step: Awaitable[None] = self._answer_later(connection, token, header, answer)
        else:
            sending = self._answer(connection, token, header, answer)
            if sending is None and not connection.throttle_ms:
                return
            step = _nothing_more() if sending is None else sending
        connection.busy = True
        task = asyncio.ensure_future(self._finish(connection, token, step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin_quick(self, connection: Connection, token: int, frame: bytes, quick: Quick) -> bool:
        # this is gone through by every commit, so it calls as little as it can
        if connection.ordered:
            connection.overlapping += 1
        else:
            connection.busy = True
        try:
            done = quick(connection, frame, partial(self._answer_quick, connection, token))
        except Exception as error:
            self._fail(connection, token, error)
            return True
        if not done:
            self._over(connection, overlap=connection.ordered)
        return done

    def _answer_quick(self, connection: Connection, token: int, response: bytes) -> None:
        if connection.ordered:
            connection.overlapping -= 1
        else:
            connection.busy = False
        connection.respond(token, response)
        if connection.waiting:
            asyncio.get_running_loop().call_soon(self._begin_waiting, connection)

    @staticmethod
    def _under_way(connection: Connection, *, overlap: bool) -> None:
        if overlap:
            connection.overlapping += 1
        else:
            connection.busy = True

    @staticmethod
    def _over(connection: Connection, *, overlap: bool) -> None:
        if overlap:
            connection.overlapping -= 1
        else:
            connection.busy = False

    def _await(self, connection: Connection, token: int, header: RequestHeader, later: Later, *, overlap: bool) -> None:
        """Answer once the answer is there, then begin what waits for that."""
        self._under_way(connection, overlap=overlap)

        def done(_: Later) -> None:
            self._over(connection, overlap=overlap)
            try:
                self._answer(connection, token, header, later.result())
            except Exception as error:
                self._fail(connection, token, error)
            if connection.waiting:
                # not from within whatever it is that answers
                asyncio.get_running_loop().call_soon(self._begin_waiting, connection)

        later.on_done(done)

    def _begin_waiting(self, connection: Connection) -> None:
        while connection.waiting and self._may_begin(connection, connection.waiting[0][1]):
            self._begin(connection, *connection.waiting.popleft())

    async def _answer_later(
        self, connection: Connection, token: int, header: RequestHeader, answer: Awaitable[Payload | None]
    ) -> None:
        sending = self._answer(connection, token, header, await answer)
        if sending is not None:
            await sending

    async def _finish(self, connection: Connection, token: int, step: Awaitable[None]) -> None:
        """Wait for what the connection's request still needs, then begin the next one."""
        try:
            await step
        except Exception as error:
            self._fail(connection, token, error)
        if connection.throttle_ms:
            await self._throttle(connection)
        connection.busy = False
        self._begin_waiting(connection)

    async def _throttle(self, connection: Connection) -> None:
        """Leave a client alone that is beyond its quota, as long as its answer told it."""
        wait, connection.throttle_ms = connection.throttle_ms, 0
        connection.pause(paused=True)
        try:
            await asyncio.sleep(wait / 1000)
        finally:
            connection.pause(paused=False)

    def _answer(self, connection: Connection, token: int, header: RequestHeader, body: Payload | None) -> Awaitable[None] | None:
        if body is None:
            connection.skip(token)
            return None
        start = response_header(header.api_key, header.api_version, header.correlation_id)
        return connection.respond(token, start + body if isinstance(body, bytes) else [start, *body])

    def _fail(self, connection: Connection, token: int, error: Exception) -> None:
        """Close the connection of a request that has no other answer."""
        if isinstance(error, ProtocolError):
            self._faults.report(connection.peer, "frame does not parse", str(error))
        elif isinstance(error, CloseConnection):
            self._faults.report(connection.peer, "closed by the broker", str(error))
        elif self._faults.report(connection.peer, "request failed", repr(error)):
            _log.error("request of %s failed", connection.peer, exc_info=error)
        connection.end(token)


async def _nothing_more() -> None:
    """The answer has left at once."""
