"""Connections to other brokers: answers matched to requests, timeouts, and a pause before a failed peer is tried again."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from kafkax.clock import Clock, SystemClock
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.net.frames import FrameProtocol
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.message import Request, Response

if TYPE_CHECKING:
    import ssl

__all__ = ["BrokerLink", "OutboundSettings"]

_PREFIX = struct.Struct(">i")
AnyResponse = TypeVar("AnyResponse", bound=Response)


class OutboundSettings(NamedTuple):
    """Times in ms, under the names of Kafka's configs.

    Attributes:
        client_id: what the header of each request says.
        request_timeout_ms: how long one answer may take; the connection is closed then, since later answers come behind it.
        connection_setup_timeout_ms: how long connecting may take (``socket.connection.setup.timeout.ms``).
        reconnect_backoff_ms, reconnect_backoff_max_ms: pause after a failed connection; doubles up to the maximum, with jitter.
        max_in_flight: requests that wait for answers at the same time; more wait their turn.
        response_max_bytes: the largest answer that is read.
        tls: how to encrypt, None where connections are plain.
    """

    client_id: str
    request_timeout_ms: int = 30_000
    connection_setup_timeout_ms: int = 10_000
    reconnect_backoff_ms: int = 50
    reconnect_backoff_max_ms: int = 1_000
    max_in_flight: int = 5
    response_max_bytes: int = 104_857_600
    tls: ssl.SSLContext | None = None


class _Waiting(NamedTuple):
    correlation_id: int
    api_key: int
    version: int
    answer: asyncio.Future[memoryview]


class BrokerLink:
    """One connection to a broker, made when it is needed and made again after it broke.

    Args:
        host, port: where the broker listens.
        settings: see ``OutboundSettings``.
        clock: for the pause between attempts.
        jitter: random numbers from 0 to 1 for that pause.
    """

    def __init__(
        self, host: str, port: int, settings: OutboundSettings, *, clock: Clock | None = None, jitter: random.Random | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._settings = settings
        self._clock = clock or SystemClock()
        self._jitter = jitter or random.Random()
        self._transport: asyncio.Transport | None = None
        self._protocol: FrameProtocol | None = None
        self._waiting: deque[_Waiting] = deque()
        self._turn = asyncio.Semaphore(settings.max_in_flight)
        self._connecting = asyncio.Lock()
        self._correlation_id = 0
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self.on_lost: Callable[[], None] | None = None
        """Called when a connection that was made broke, not when this side closed it."""

    async def connect(self) -> None:
        """Connect if there is no connection.

        Raises:
            KafkaError: NETWORK_EXCEPTION; its cause is the OSError.
        """
        async with self._connecting:
            if self._transport is None:
                await self._connect()

    async def send(self, request: Request, version: int, response: type[AnyResponse]) -> AnyResponse:
        """Send a request and return its answer.

        Requests arrive in the order of their calls.

        Raises:
            KafkaError: NETWORK_EXCEPTION when the broker cannot be reached or the connection breaks; REQUEST_TIMED_OUT.
            ProtocolError: the answer does not parse.
        """
        payload = request.encode(version)
        async with self._turn:
            waiting = await self._write(type(request).api_key, version, payload)
            # not wait_for, which takes a cancellation for an answer that comes at the same time
            done, _ = await asyncio.wait([waiting.answer], timeout=self._settings.request_timeout_ms / 1000)
            if not done:
                late = self._error(ErrorCode.REQUEST_TIMED_OUT, f"no answer within {self._settings.request_timeout_ms} ms")
                self._disconnect(late)
                raise late
        return response.decode(waiting.answer.result(), version)

    async def close(self) -> None:
        """Close the connection; requests that wait for answers fail with NETWORK_EXCEPTION."""
        self._closed = True
        self._disconnect(self._error(ErrorCode.NETWORK_EXCEPTION, "closed by this side"))

    def renew(self) -> None:
        """Drop the connection for a new one, without a pause; requests that wait for answers fail with NETWORK_EXCEPTION."""
        on_lost, self.on_lost = self.on_lost, None
        self._disconnect(self._error(ErrorCode.NETWORK_EXCEPTION, "renewed by this side"))
        self.on_lost = on_lost
        self._failures, self._not_before = 0, 0.0

    def _error(self, code: ErrorCode, what: str) -> KafkaError:
        return KafkaError(code, f"broker at {self._host}:{self._port}: {what}")

    async def _write(self, api_key: int, version: int, payload: bytes) -> _Waiting:
        async with self._connecting:
            if self._transport is None:
                await self._connect()
            assert self._transport is not None
            self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
            header = request_header(api_key, version, self._correlation_id, self._settings.client_id)
            waiting = _Waiting(self._correlation_id, api_key, version, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            self._transport.write(_PREFIX.pack(len(header) + len(payload)) + header + payload)
        return waiting

    async def _connect(self) -> None:
        if self._closed:
            raise self._error(ErrorCode.NETWORK_EXCEPTION, "the link is closed")
        pause = self._not_before - self._clock.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        protocol: FrameProtocol
        protocol = FrameProtocol(self._take, lambda error: self._lost(protocol, error), self._settings.response_max_bytes)
        tls = self._settings.tls
        opening = asyncio.get_running_loop().create_connection(
            lambda: protocol, self._host, self._port, ssl=tls, server_hostname=None if tls is None else self._host
        )
        try:
            transport, _ = await asyncio.wait_for(opening, self._settings.connection_setup_timeout_ms / 1000)
        except (OSError, asyncio.TimeoutError) as error:
            self._back_off()
            what = str(error) or f"no connection within {self._settings.connection_setup_timeout_ms} ms"
            raise self._error(ErrorCode.NETWORK_EXCEPTION, what) from error
        if self._closed:
            transport.abort()
            raise self._error(ErrorCode.NETWORK_EXCEPTION, "the link is closed")
        if protocol.ended:
            # before anybody knew it
            self._back_off()
            raise self._error(ErrorCode.NETWORK_EXCEPTION, "closed the connection")
        self._failures = 0
        self._transport, self._protocol = transport, protocol

    def _back_off(self) -> None:
        """Put the next attempt off, further with each failure in a row, by 80 to 120 %."""
        pause = min(self._settings.reconnect_backoff_ms * 2 ** min(self._failures, 30), self._settings.reconnect_backoff_max_ms)
        self._failures += 1
        self._not_before = self._clock.monotonic() + pause / 1000 * (0.8 + 0.4 * self._jitter.random())

    def _lost(self, protocol: FrameProtocol, error: Exception | None) -> None:
        """A connection ended; one that was dropped before is of no interest."""
        if protocol is self._protocol:
            what = "closed the connection" if error is None else str(error)
            self._disconnect(self._error(ErrorCode.NETWORK_EXCEPTION, what))

    def _take(self, frame: memoryview) -> None:
        if not self._waiting:
            raise ProtocolError("an answer without a request")
        waiting = self._waiting.popleft()
        correlation_id, body = parse_response_header(frame, waiting.api_key, waiting.version)
        if correlation_id != waiting.correlation_id:
            self._waiting.appendleft(waiting)
            raise ProtocolError(f"answer {correlation_id} where {waiting.correlation_id} was due")
        if not waiting.answer.done():
            waiting.answer.set_result(body)

    def _disconnect(self, error: KafkaError) -> None:
        """Drop the connection; everything that waits fails with ``error``."""
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = self._protocol = None
        self._back_off()
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.answer.done():
                one.answer.set_exception(error)
                one.answer.exception()
        if self.on_lost is not None and not self._closed:
            self.on_lost()
