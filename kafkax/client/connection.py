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
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from kafkax import __version__
from kafkax._core.socket_io import receive_into, send_parts
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

__all__ = ["Connection", "network_error"]

R = TypeVar("R", bound=Response)
_LENGTH = struct.Struct(">i")
_SCRATCH = 64 * 1024
_TAKEN = 0.02
"""Seconds that a caller's word counts that it receives."""
_READS = 16
"""How often a socket is read before others have their turn."""
_API_VERSIONS = 18
_UNSUPPORTED_VERSION = b"\0\x23"


def network_error(message: str) -> KafkaError:
    """The error of a connection that failed; retriable."""
    return KafkaError(ErrorCode.NETWORK_EXCEPTION, message)


Answer = Callable[["memoryview | KafkaError"], object]
"""Called with the frame of a response, or with what went wrong."""


class _Pending(NamedTuple):
    correlation_id: int
    api_key: int
    deadline: float
    timeout: float
    answer: Answer


class Connection(asyncio.BufferedProtocol):
    """A connected socket and the requests under way on it.

    Args:
        loop: the client's loop.
        address: ``host:port`` as it appears in errors.
        client_id: sent with every request.
        limit: largest response in bytes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, client_id: str, limit: int) -> None:
        self.address = address
        self.node_id = -1
        self.versions: dict[int, tuple[int, int]] = {}
        self.closed: asyncio.Future[KafkaError] = loop.create_future()
        self.used = time.monotonic()
        self._loop = loop
        self._thread = threading.get_ident()
        self._client_id = client_id
        self._limit = limit
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._fd = -1
        self._broken = False
        self._watching = False
        self._taken_until = 0.0
        # Held for a moment by whoever sends or receives; nothing is called back under it.
        self._lock = threading.Lock()
        self._unsent: list[Any] = []
        self._pending: deque[_Pending] = deque()
        self._correlation_id = 0
        self._scratch = bytearray(_SCRATCH)
        self._filled = 0
        self._frame: bytearray | None = None
        self._frame_filled = 0
        self._frames: list[memoryview] = []
        self._watch: asyncio.TimerHandle | None = None
        self._watched_until = math.inf

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, with TLS."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 30)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: straight into a large frame, or into the scratch buffer."""
        if self._frame is not None:
            return memoryview(self._frame)[self._frame_filled :]
        return memoryview(self._scratch)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        error = self._arrived(nbytes)
        self._deliver(error)

    def _arrived(self, size: int) -> KafkaError | None:
        """Note bytes that were put into the buffer; what is wrong with them."""
        if self._frame is not None:
            self._frame_filled += size
            if self._frame_filled == len(self._frame):
                self._frames.append(memoryview(self._frame))
                self._frame = None
            return None
        self._filled += size
        return self._split()

    def _split(self) -> KafkaError | None:
        """Take the whole frames out of the scratch buffer and begin a large one."""
        start, filled, scratch = 0, self._filled, self._scratch
        while filled - start >= 4:
            size = _LENGTH.unpack_from(scratch, start)[0]
            if not 4 <= size <= self._limit:
                return network_error(
                    f"{self.address} claims a response of {size} bytes; 4 to {self._limit} (receive.message.max.bytes) are "
                    "allowed. Is it a Kafka broker, and does security.protocol match its listener?"
                )
            end = start + 4 + size
            if end > filled:
                if 4 + size > len(scratch) - start or size > _SCRATCH // 2:
                    self._frame = bytearray(size)
                    self._frame_filled = filled - start - 4
                    self._frame[: self._frame_filled] = scratch[start + 4 : filled]
                    start = filled
                break
            self._frames.append(memoryview(bytes(scratch[start + 4 : end])))
            start = end
        if start:
            scratch[: filled - start] = scratch[start:filled]
            self._filled = filled - start
        return None

    def _matched(self) -> tuple[list[tuple[Answer, memoryview]], KafkaError | None]:
        """The frames that have arrived, each with the request that waited longest; with the lock held."""
        frames, self._frames = self._frames, []
        matched: list[tuple[Answer, memoryview]] = []
        for frame in frames:
            correlation_id = _LENGTH.unpack_from(frame)[0]
            if not self._pending or self._pending[0].correlation_id != correlation_id:
                expected = self._pending[0].correlation_id if self._pending else "none"
                return matched, network_error(f"{self.address} answered with correlation id {correlation_id}, {expected} was due")
            matched.append((self._pending.popleft().answer, frame))
        return matched, None

    def _deliver(self, error: KafkaError | None) -> None:
        """Hand out what has arrived, then end the connection if something was wrong."""
        with self._lock:
            matched, wrong = self._matched()
        for answer, frame in matched:
            answer(frame)
        if error is not None or wrong is not None:
            self._end(wrong or error)

    # without TLS

    def adopt(self, connected: socket.socket) -> None:
        """Go on with a connected, non-blocking socket of one's own; on the loop's thread."""
        self._socket = connected
        self._fd = connected.fileno()
        self._watch_socket()

    def _watch_socket(self) -> None:
        self._watching = True
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        """Something has arrived; left to a caller who takes care of it, so that two threads don't wake up for it."""
        if self._taken_until > time.monotonic():
            self._watching = False
            self._loop.remove_reader(self._fd)
            self._loop.call_later(_TAKEN, self._watch_again)
        else:
            self.receive()

    def _watch_again(self) -> None:
        if self._watching or self.closed.done():
            return
        if self._taken_until > time.monotonic():
            self._loop.call_later(_TAKEN, self._watch_again)
        else:
            self._watch_socket()

    def take_over(self) -> None:
        """Say that the calling thread receives from here for the next milliseconds; the I/O thread goes on after that."""
        self._taken_until = time.monotonic() + _TAKEN

    def give_back(self) -> None:
        """Have the I/O thread receive from now on; on the loop's thread."""
        self._taken_until = 0.0
        if not self._watching and self._fd >= 0:
            self._watch_socket()

    @property
    def descriptor(self) -> int:
        """Descriptor of the socket that any thread may send to and receive from; -1 when there is none."""
        return -1 if self._broken else self._fd

    @property
    def direct(self) -> bool:
        """Whether any thread may send and receive."""
        return self._fd >= 0 and not self._broken

    def receive(self) -> None:
        """Take what has arrived and hand it out; from any thread."""
        error: KafkaError | None = None
        try:
            with self._lock:
                for _ in range(_READS):
                    if self._fd < 0:
                        return
                    room = self.get_buffer(0)
                    size = receive_into(self._fd, room)
                    if size > 0:
                        error = self._arrived(size)
                    elif size == 0:
                        error = network_error(f"{self.address} closed the connection")
                    if size < len(room) or error is not None:
                        break
        except OSError as failure:
            error = network_error(f"{self.address} closed the connection: {failure}")
        self._deliver(error)

    def _flush(self) -> None:
        """Send what the socket did not take before; on the loop's thread."""
        try:
            with self._lock:
                if self._fd < 0:
                    return
                self._unsent = send_parts(self._fd, self._unsent) or []
                if not self._unsent:
                    self._loop.remove_writer(self._fd)
        except OSError as failure:
            self.abort(network_error(f"{self.address} closed the connection: {failure}"))

    def _await_room(self) -> None:
        if self._fd >= 0:
            self._loop.add_writer(self._fd, self._flush)

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function on the loop's thread: now if this is it, else soon."""
        if threading.get_ident() == self._thread:
            function(*arguments)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _end(self, error: KafkaError | None) -> None:
        assert error is not None
        self._broken = True
        self._call(self.abort, error)

    # what the transport calls at the end

    def eof_received(self) -> bool:
        """The broker will send nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.abort(network_error(f"{self.address} closed the connection" + (f": {exc}" if exc else "")))

    # what the client calls

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answer."""
        return len(self._pending)

    def fileno(self) -> int:
        """Descriptor of the socket.

        Raises:
            KafkaError: the connection is closed.
        """
        if self._fd < 0:
            raise network_error(f"{self.address} is not connected")
        return self._fd

    def abort(self, error: KafkaError) -> None:
        """Close at once; everything under way fails with ``error``. On the loop's thread."""
        if not self.closed.done():
            self.closed.set_result(error)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self._socket is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            with self._lock:
                self._fd = -1
                self._socket.close()
                self._socket = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        with self._lock:
            pending, self._pending = self._pending, deque()
        for each in pending:
            each.answer(error)

    def _expect(self, deadline: float) -> None:
        """Look at a time whether answers are overdue, unless that is done before."""
        if self.closed.done():
            return
        if self._watch is not None:
            if self._watched_until <= deadline:
                return
            self._watch.cancel()
        self._watched_until = deadline
        self._watch = self._loop.call_later(max(deadline - time.monotonic(), 0.0), self._expire)

    def _expire(self) -> None:
        self._watch, self._watched_until = None, math.inf
        # When the interpreter was stuck, answers may wait.
        self.receive()
        with self._lock:
            first = min(self._pending, key=lambda each: each.deadline, default=None)
        if first is None:
            return
        if first.deadline > time.monotonic():
            self._expect(first.deadline)
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
        self.send(api_key, version, parts, timeout, partial(self._call, _settle, future))
        return future

    def send(self, api_key: int, version: int, parts: list[Any], timeout: float, answer: Answer) -> None:
        """Send a request whose body is encoded already.

        Args:
            parts: the body, as buffers that do not change until the answer is there.
            timeout: seconds until the connection is given up without an answer.
            answer: called once with the response's frame or an error, on whatever thread receives it.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            failure = self._gone()
            if failure is None:
                self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
                self._pending.append(_Pending(self._correlation_id, api_key, deadline, timeout, answer))
                self._write(api_key, version, parts)
        if failure is not None:
            answer(failure)
        elif deadline < self._watched_until:
            self._call(self._expect, deadline)

    def _gone(self) -> KafkaError | None:
        """Why nothing can be sent."""
        if self._transport is not None or self._fd >= 0:
            return None
        return self.closed.result() if self.closed.done() else network_error(f"{self.address} is not connected")

    def send_unanswered(self, api_key: int, version: int, parts: list[Any]) -> None:
        """Send a request that has no response (Produce with acks=0).

        Raises:
            KafkaError: the connection is closed.
        """
        with self._lock:
            failure = self._gone()
            if failure is None:
                self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
                self._write(api_key, version, parts)
        if failure is not None:
            raise failure

    def _write(self, api_key: int, version: int, parts: list[Any]) -> None:
        """Put a request on its way, with the lock held; what is wrong with the connection is told by its end."""
        self.used = time.monotonic()
        header = request_header(api_key, version, self._correlation_id, self._client_id)
        size = len(header) + sum(len(part) for part in parts)
        whole = [_LENGTH.pack(size) + header, *parts]
        if self._transport is not None:
            self._transport.writelines(whole)
        elif self._unsent:
            self._unsent += whole
        else:
            try:
                self._unsent = send_parts(self._fd, whole) or []
            except OSError as failure:
                error = network_error(f"{self.address} closed the connection: {failure}")
                self._loop.call_soon_threadsafe(self.abort, error)
                return
            if self._unsent:
                self._loop.call_soon_threadsafe(self._await_room)

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
            code = ErrorCode(answer.error_code)
            raise KafkaError(code, f"{self.address} refused ApiVersions: {code.message}")
        self.versions = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}


def _settle(future: asyncio.Future[memoryview], answer: memoryview | KafkaError) -> None:
    if future.done():
        return
    if isinstance(answer, KafkaError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
