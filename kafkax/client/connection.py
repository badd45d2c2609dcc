"""One connection to a broker: frames, correlation, versions, timeouts.

Requests go out at once and are answered in order; an answer with another correlation id than the oldest unanswered
request's, one that does not parse, one that claims an impossible length, or none within the time ends the connection and
fails everything that waits on it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Any, NamedTuple, TypeVar, cast

from kafkax import __version__
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

__all__ = ["Connection", "network_error"]

R = TypeVar("R", bound=Response)
_LENGTH = struct.Struct(">i")
_SCRATCH = 64 * 1024
_API_VERSIONS = 18
_UNSUPPORTED_VERSION = b"\0\x23"


def network_error(message: str) -> KafkaError:
    """The error of a connection that failed; retriable."""
    return KafkaError(ErrorCode.NETWORK_EXCEPTION, message)


class _Pending(NamedTuple):
    correlation_id: int
    api_key: int
    version: int
    future: asyncio.Future[memoryview]
    timer: asyncio.TimerHandle


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
        self.used = loop.time()
        self._loop = loop
        self._client_id = client_id
        self._limit = limit
        self._transport: asyncio.Transport | None = None
        self._pending: deque[_Pending] = deque()
        self._correlation_id = 0
        self._scratch = bytearray(_SCRATCH)
        self._filled = 0
        self._frame: bytearray | None = None
        self._frame_filled = 0

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 30)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: straight into a large frame, or into the scratch buffer."""
        if self._frame is not None:
            return memoryview(self._frame)[self._frame_filled :]
        return memoryview(self._scratch)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        if self._frame is not None:
            self._frame_filled += nbytes
            if self._frame_filled == len(self._frame):
                frame, self._frame = self._frame, None
                self._take(memoryview(frame))
            return
        self._filled += nbytes
        self._split()

    def _split(self) -> None:
        """Take the whole frames out of the scratch buffer and begin a large one."""
        start, filled, scratch = 0, self._filled, self._scratch
        while filled - start >= 4 and not self.closed.done():
            size = _LENGTH.unpack_from(scratch, start)[0]
            if not 4 <= size <= self._limit:
                self.abort(
                    network_error(
                        f"{self.address} claims a response of {size} bytes; 4 to {self._limit} (receive.message.max.bytes) are "
                        "allowed. Is it a Kafka broker, and does security.protocol match its listener?"
                    )
                )
                return
            end = start + 4 + size
            if end > filled:
                if 4 + size > len(scratch) - start or size > _SCRATCH // 2:
                    self._frame = bytearray(size)
                    self._frame_filled = filled - start - 4
                    self._frame[: self._frame_filled] = scratch[start + 4 : filled]
                    start = filled
                break
            self._take(memoryview(bytes(scratch[start + 4 : end])))
            start = end
        if start:
            scratch[: filled - start] = scratch[start:filled]
            self._filled = filled - start

    def _take(self, frame: memoryview) -> None:
        """Give a frame to the request that waited longest."""
        correlation_id = _LENGTH.unpack_from(frame)[0]
        if not self._pending or self._pending[0].correlation_id != correlation_id:
            expected = self._pending[0].correlation_id if self._pending else "none"
            self.abort(network_error(f"{self.address} answered with correlation id {correlation_id}, {expected} was due"))
            return
        pending = self._pending.popleft()
        pending.timer.cancel()
        if not pending.future.done():
            pending.future.set_result(frame)

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
        if self._transport is None:
            raise network_error(f"{self.address} is not connected")
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def abort(self, error: KafkaError) -> None:
        """Close at once; everything under way fails with ``error``."""
        if not self.closed.done():
            self.closed.set_result(error)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        pending, self._pending = self._pending, deque()
        for each in pending:
            each.timer.cancel()
            if not each.future.done():
                each.future.set_exception(error)

    def _expire(self, api_key: int, timeout: float) -> None:
        self.abort(
            KafkaError(
                ErrorCode.REQUEST_TIMED_OUT,
                f"{self.address} did not answer {API_KEYS[api_key].name} within {timeout:g} s (request.timeout.ms)",
            )
        )

    def send_raw(self, api_key: int, version: int, parts: list[Any], timeout: float) -> asyncio.Future[memoryview]:
        """Send a request whose body is encoded already; the future holds the response's frame."""
        future: asyncio.Future[memoryview] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(
                self.closed.result() if self.closed.done() else network_error(f"{self.address} is not connected")
            )
            return future
        correlation_id = self._write(api_key, version, parts)
        timer = self._loop.call_later(timeout, self._expire, api_key, timeout)
        self._pending.append(_Pending(correlation_id, api_key, version, future, timer))
        return future

    def send_unanswered(self, api_key: int, version: int, parts: list[Any]) -> None:
        """Send a request that has no response (Produce with acks=0).

        Raises:
            KafkaError: the connection is closed.
        """
        if self._transport is None:
            raise self.closed.result() if self.closed.done() else network_error(f"{self.address} is not connected")
        self._write(api_key, version, parts)

    def _write(self, api_key: int, version: int, parts: list[Any]) -> int:
        assert self._transport is not None
        self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        self.used = self._loop.time()
        header = request_header(api_key, version, self._correlation_id, self._client_id)
        size = len(header) + sum(len(part) for part in parts)
        self._transport.writelines([_LENGTH.pack(size) + header, *parts])
        return self._correlation_id

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
