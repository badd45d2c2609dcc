"""One connection to a broker: frames, correlation, versions, timeouts.

Requests go out at once and are answered in order; an answer with another correlation id than the oldest unanswered
request's, one that does not parse, one that claims an impossible length, or none within the time ends the connection and
fails everything that waits on it.

Without TLS any thread may send and receive: whoever is there first takes what has arrived, so that a caller who waits for an
answer does not have to be woken by the I/O thread. With TLS only the I/O thread may.
"""

from __future__ import annotations

import asyncio
import math
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from kafkax import __version__
from kafkax._core.channel import Channel
from kafkax.errors import ErrorCode, KafkaError, ProtocolError, error_code
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

__all__ = ["Connection", "network_error"]

R = TypeVar("R", bound=Response)
_TAKEN = 0.02
"""Seconds between looks whether callers still receive."""
_API_VERSIONS = 18
_UNSUPPORTED_VERSION = b"\0\x23"


def network_error(message: str) -> KafkaError:
    """The error of a connection that failed; retriable."""
    return KafkaError(ErrorCode.NETWORK_EXCEPTION, message)


Answer = Callable[["memoryview | KafkaError"], object]
"""Called with the frame of a response, or with what went wrong."""


class Connection(Channel, asyncio.BufferedProtocol):
    """A connected socket and the requests under way on it.

    Args:
        loop: the client's loop.
        address: ``host:port`` as it appears in errors.
        client_id: sent with every request.
        limit: largest response in bytes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, client_id: str, limit: int) -> None:
        super().__init__(address, limit)
        self.node_id = -1
        self.versions: dict[int, tuple[int, int]] = {}
        self.closed: asyncio.Future[KafkaError] = loop.create_future()
        self._loop = self.loop = loop
        self._client_id = client_id
        self._socket: socket.socket | None = None
        self._watching = False
        self._watch: asyncio.TimerHandle | None = None

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, with TLS."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=1 << 30)

    # without TLS

    def adopt(self, connected: socket.socket) -> None:
        """Go on with a connected, non-blocking socket of one's own; on the loop's thread."""
        self._socket = connected
        self.fd = self.shared_fd = connected.fileno()
        # The loop drops a descriptor at its first error and tells nobody: a connection that was reset would be noticed only when
        # an answer is overdue. A descriptor of epoll has no errors: it is readable when the socket has one.
        self._arrivals = select.epoll()
        self._arrivals.register(self.fd, select.EPOLLIN)
        self._watch_socket()

    def _watch_socket(self) -> None:
        self._watching = True
        self._loop.add_reader(self._arrivals, self._readable)

    def _readable(self) -> None:
        """Something has arrived; left to a caller who takes care of it, so that two threads don't wake up for it."""
        if self.taken_until > time.monotonic():
            self._watching = False
            self._loop.remove_reader(self._arrivals)
            self._loop.call_later(_TAKEN, self._watch_again)
        else:
            self.receive()

    def _watch_again(self) -> None:
        if self._watching or self.closed.done():
            return
        if self.taken_until > time.monotonic():
            self._loop.call_later(_TAKEN, self._watch_again)
        else:
            self._watch_socket()

    def give_back(self) -> None:
        """Have the I/O thread receive from now on; on the loop's thread."""
        self.taken_until = 0.0
        if not self._watching and self.fd >= 0:
            self._watch_socket()

    def await_room(self) -> None:
        """Have what the socket did not take sent later; on the loop's thread."""
        if self.fd >= 0:
            self._loop.add_writer(self.fd, self._flush)

    def _flush(self) -> None:
        """Send what the socket did not take before; on the loop's thread."""
        try:
            if self.flush() and self.fd >= 0:
                self._loop.remove_writer(self.fd)
        except OSError as failure:
            self.abort(network_error(f"{self.address} closed the connection: {failure}"))

    # what the transport calls at the end

    def eof_received(self) -> bool:
        """The broker will send nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.abort(network_error(f"{self.address} closed the connection" + (f": {exc}" if exc else "")))

    # what the client calls

    def fileno(self) -> int:
        """Descriptor of the socket.

        Raises:
            KafkaError: the connection is closed.
        """
        if self.fd < 0:
            raise network_error(f"{self.address} is not connected")
        return self.fd

    def abort(self, error: KafkaError) -> None:
        """Close at once; everything under way fails with ``error``. On the loop's thread."""
        if not self.closed.done():
            self.closed.set_result(error)
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
        if self._socket is not None:
            self._loop.remove_reader(self._arrivals)
            self._arrivals.close()
            self._loop.remove_writer(self.fd)
            with self.lock:
                self.fd = self.shared_fd = -1
                self._socket.close()
                self._socket = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.give_up(error)

    def expect(self, deadline: float) -> None:
        """Look at a time whether answers are overdue, unless that is done before; on the loop's thread."""
        if self.closed.done():
            return
        if self._watch is not None:
            if self.watched_until <= deadline:
                return
            self._watch.cancel()
        self.watched_until = deadline
        self._watch = self._loop.call_later(max(deadline - time.monotonic(), 0.0), self._expire)

    def _expire(self) -> None:
        self._watch, self.watched_until = None, math.inf
        # When the interpreter was stuck, answers may wait.
        self.receive()
        first = self.soonest()
        if first is None:
            return
        if first.deadline > time.monotonic():
            self.expect(first.deadline)
            return
        self.abort(
            KafkaError(
                ErrorCode.REQUEST_TIMED_OUT,
                f"{self.address} did not answer {API_KEYS[first.api_key].name} within {first.timeout:g} s (request.timeout.ms)",
            )
        )

    def send_raw(self, api_key: int, version: int, parts: list[Any], timeout: float) -> asyncio.Future[memoryview]:
        """Send a request whose body is encoded already; the future, of the loop's thread, holds the response's frame."""
        future: asyncio.Future[memoryview] = self._loop.create_future()
        self.ask(api_key, version, parts, timeout, partial(_settle, future))
        return future

    def gone(self) -> KafkaError:
        """Why nothing can be sent."""
        return self.closed.result() if self.closed.done() else network_error(f"{self.address} is not connected")

    def header(self, api_key: int, version: int) -> bytes:
        """The header of a request, without its correlation id."""
        return request_header(api_key, version, 0, self._client_id)

    def version(self, request: type[Request], most: int | None = None) -> int:
        """The newest version of a request that both sides know, not above ``most``.

        Raises:
            KafkaError: UNSUPPORTED_VERSION when there is none.
        """
        api = API_KEYS[request.api_key]
        served = self.versions.get(request.api_key)
        newest = request.max_version if most is None else min(most, request.max_version)
        if served is None:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{self.address} does not serve {api.name}; a newer broker may")
        chosen = min(newest, served[1])
        if chosen < max(request.min_version, served[0]):
            raise KafkaError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"{self.address} serves {api.name} in versions {served[0]} to {served[1]}, "
                f"this needs {request.min_version} to {newest}",
            )
        return chosen

    async def request(self, request: Request, response: type[R], timeout: float, version: int | None = None) -> R:
        """Send a request and wait for its response.

        Args:
            timeout: seconds.
            version: the newest both sides know when None.

        Raises:
            KafkaError: NETWORK_EXCEPTION, REQUEST_TIMED_OUT, UNSUPPORTED_VERSION.
        """
        chosen = self.version(type(request)) if version is None else version
        parts = [request.encode(chosen)]
        frame = await self.send_raw(request.api_key, chosen, parts, timeout)
        return self.decode(frame, response, chosen)

    def decode(self, frame: memoryview, response: type[R], version: int) -> R:
        """Read a response; one that does not parse ends the connection.

        Raises:
            KafkaError: NETWORK_EXCEPTION.
        """
        try:
            _, body = parse_response_header(frame, response.api_key, version)
            return response.decode(body, version)
        except ProtocolError as error:
            name = API_KEYS[response.api_key].name
            failure = network_error(f"{self.address} answered {name} v{version} with bytes that don't parse: {error}")
            self.abort(failure)
            raise failure from error

    async def negotiate(self, timeout: float) -> None:
        """Ask which APIs and versions the broker serves (KIP-35, KIP-511)."""
        request = ApiVersionsRequest(client_software_name="kafkax", client_software_version=__version__)
        version = ApiVersionsRequest.max_version
        frame = await self.send_raw(_API_VERSIONS, version, [request.encode(version)], timeout)
        if len(frame) >= 6 and bytes(frame[4:6]) == _UNSUPPORTED_VERSION:
            answer = self.decode(frame, ApiVersionsResponse, 0)
            served = {each.api_key: each.max_version for each in answer.api_keys}
            version = min(version, served.get(_API_VERSIONS, 0))
            frame = await self.send_raw(_API_VERSIONS, version, [request.encode(version)], timeout)
        answer = self.decode(frame, ApiVersionsResponse, version)
        if answer.error_code:
            code = error_code(answer.error_code)
            raise KafkaError(code, f"{self.address} refused ApiVersions: {code.message}")
        self.versions = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}


def _settle(future: asyncio.Future[memoryview], answer: memoryview | KafkaError) -> None:
    if future.done():
        return
    if isinstance(answer, KafkaError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
