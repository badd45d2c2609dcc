"""TLS listeners: asyncio's (uvloop's) TLS transport in front of the same dispatcher, for every API.

The core's threads cannot decrypt, so Produce and Fetch take the control plane's path here.  Order, limits and faults are
those of the reactor.  Kernel TLS would let ``sendfile`` work under TLS; whether this machine offers it is told by
``kernel_tls``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kafkax.errors import ErrorCode, KafkaError
from kafkax.net.connection import Connection, Payload
from kafkax.net.dispatch import Dispatcher
from kafkax.net.settings import ReactorSettings

if TYPE_CHECKING:
    from kafkax._core.segment import FileSlice
    from kafkax.config import BrokerConfig

__all__ = ["TlsListener", "TlsSettings", "between_brokers", "bind", "client_context", "kernel_tls", "server_context"]

_PREFIX = struct.Struct(">i")
_SMALLEST_FRAME = 8
_MOST_WAITING = 64
"""Requests of one connection that may wait for their turn before it is read no further."""
_ONLY_PEM = "only PEM is read; set it to PEM and name a PEM file"
_CHUNK = 262144
"""Bytes of a log file that are read at a time."""
_numbers = count(1)


@dataclass(frozen=True)
class TlsSettings:
    """What Kafka's ``ssl.*`` configs say, for PEM files (``ssl.keystore.type=PEM``, ``ssl.truststore.type=PEM``).

    Attributes:
        keystore_location: file with the private key and the certificate chain (``ssl.keystore.location``); None where they
            are given as text.
        keystore_text: the private key and the certificate chain (``ssl.keystore.key``, ``ssl.keystore.certificate.chain``).
        key_password: password of an encrypted key (``ssl.key.password``).
        truststore_location: certificates that those of others must lead to (``ssl.truststore.location``).
        truststore_text: the same as text (``ssl.truststore.certificates``).
        identification: ``https`` for a check of host names where this side connects, empty for none
            (``ssl.endpoint.identification.algorithm``).
        client_auth: ``none``, ``requested`` or ``required`` (``ssl.client.auth``).
        enabled_protocols: e.g. ``("TLSv1.2", "TLSv1.3")`` (``ssl.enabled.protocols``).
    """

    keystore_location: str | None
    key_password: str | None = None
    truststore_location: str | None = None
    client_auth: str = "none"
    enabled_protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    keystore_text: str | None = None
    truststore_text: str | None = None
    identification: str = "https"

    @classmethod
    def of(cls, config: BrokerConfig, listener: str) -> TlsSettings:
        """What a broker's configs say for a listener, its own (``listener.name.<listener>.ssl.*``) before the broker's.

        Raises:
            KafkaError: INVALID_CONFIG: a store is not PEM, or there is no key.
        """

        def given(name: str) -> Any:
            return config[f"listener.name.{listener.lower()}.{name}"]

        names = ("ssl.keystore.key", "ssl.keystore.certificate.chain", "ssl.key.password", "ssl.truststore.certificates")
        key, chain, password, certificates = (secret and secret.value for secret in map(given, names))
        location, trusted = given("ssl.keystore.location"), given("ssl.truststore.location")
        if location is None and (key is None or chain is None):
            raise _bad("ssl.keystore.location", "null", "a TLS listener needs it, or ssl.keystore.key with its certificate chain")
        if given("ssl.keystore.type") != "PEM":
            raise _bad("ssl.keystore.type", given("ssl.keystore.type"), _ONLY_PEM)
        if (trusted or certificates) and given("ssl.truststore.type") != "PEM":
            raise _bad("ssl.truststore.type", given("ssl.truststore.type"), _ONLY_PEM)
        return cls(
            location,
            password,
            trusted,
            given("ssl.client.auth"),
            tuple(given("ssl.enabled.protocols")),
            f"{key}\n{chain}\n" if location is None else None,
            certificates,
            given("ssl.endpoint.identification.algorithm"),
        )


_VERIFY = {"none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def _bad(key: str, value: str, why: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_CONFIG, f"{key}={value}: {why}")


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """The context of a listener.

    Raises:
        KafkaError: INVALID_CONFIG, with the config's name, when a value is not known or a file cannot be used.
    """
    if settings.client_auth not in _VERIFY:
        raise _bad("ssl.client.auth", settings.client_auth, f"allowed are {', '.join(_VERIFY)}")
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    context.verify_mode = _VERIFY[settings.client_auth]
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """The context of connections to others, who are shown the listener's certificate where they ask for one.

    Without a trust store the system's certificates are trusted.

    Raises:
        KafkaError: INVALID_CONFIG, as of :func:`server_context`.
    """
    if settings.identification.lower() not in ("", "https"):
        raise _bad("ssl.endpoint.identification.algorithm", settings.identification, "allowed are https, or nothing")
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings)
    context.check_hostname = bool(settings.identification)
    if settings.truststore_text is None and settings.truststore_location is None:
        context.load_default_certs()
    return context


def between_brokers(settings: TlsSettings) -> ssl.SSLContext:
    """The context of connections to other brokers, whose settings are taken to be like this one's.

    Raises:
        KafkaError: INVALID_CONFIG, as of :func:`server_context`; or a broker with these settings could not connect to itself.
    """
    try:
        _shake_hands(server_context(settings), client_context(settings))
    except ssl.SSLError as error:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"ssl.keystore.*, ssl.truststore.*: brokers with this certificate and this trust store refuse each other: {error}",
        ) from error
    return client_context(settings)


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Connect the two in memory, host names aside.  Raises ssl.SSLError."""
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)


def _context(purpose: int, settings: TlsSettings) -> ssl.SSLContext:
    """What both ends have in common: versions, the own certificate, and those that are trusted."""
    versions = [_VERSIONS[name] for name in settings.enabled_protocols if name in _VERSIONS]
    if not versions:
        raise _bad("ssl.enabled.protocols", ",".join(settings.enabled_protocols), f"none of {', '.join(_VERSIONS)}")
    context = ssl.SSLContext(purpose)
    context.minimum_version, context.maximum_version = min(versions), max(versions)
    try:
        with _as_file(settings) as path:
            context.load_cert_chain(path, password=settings.key_password)
    except (OSError, ssl.SSLError) as error:
        where = "ssl.keystore.location" if settings.keystore_text is None else "ssl.keystore.key"
        what = settings.keystore_location or "[hidden]"
        raise _bad(where, what, f"no usable PEM key and certificate: {error}") from error
    if settings.truststore_text is not None:
        try:
            context.load_verify_locations(cadata=settings.truststore_text)
        except (ssl.SSLError, ValueError) as error:
            raise _bad("ssl.truststore.certificates", "[given]", f"no PEM certificates: {error}") from error
    if settings.truststore_location is not None:
        try:
            context.load_verify_locations(settings.truststore_location)
        except (OSError, ssl.SSLError) as error:
            raise _bad("ssl.truststore.location", settings.truststore_location, f"no PEM certificates: {error}") from error
    return context


@contextmanager
def _as_file(settings: TlsSettings) -> Iterator[str]:
    """A path of the key and its certificates; those given as text are in memory only."""
    if settings.keystore_text is None:
        assert settings.keystore_location is not None
        yield settings.keystore_location
        return
    descriptor = os.memfd_create("keystore", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, settings.keystore_text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def kernel_tls() -> bool:
    """Whether kernel and OpenSSL could encrypt in the kernel (the ``tls`` module is loaded, ``SSL_OP_ENABLE_KTLS`` known)."""
    offered = Path("/proc/sys/net/ipv4/tcp_available_ulp")
    return hasattr(ssl, "OP_ENABLE_KTLS") and offered.exists() and "tls" in offered.read_text().split()


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; raises OSError when the address cannot be bound."""
    family, kind, proto, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


class TlsListener:
    """One TLS listener on the running loop.

    Args:
        dispatcher: gets every request.
        settings: limits; ``max_connections`` counts this listener's own connections.
        context: see ``server_context``.
        name: the listener's name, as ``Connection.listener``.
    """

    def __init__(self, dispatcher: Dispatcher, settings: ReactorSettings, context: ssl.SSLContext, name: str) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._context = context
        self._name = name
        self._server: asyncio.Server | None = None
        self._connections: set[_TlsConnection] = set()

    async def start(self, bound: socket.socket) -> None:
        """Serve who connects to a socket that is bound."""
        loop = asyncio.get_running_loop()
        backlog = self._settings.socket_listen_backlog_size
        self._server = await loop.create_server(self._accept, sock=bound, ssl=self._context, backlog=backlog)

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    def _accept(self) -> _TlsConnection:
        return _TlsConnection(self._dispatcher, self._settings, self._name, self._connections)


class _TlsConnection(asyncio.Protocol):
    """A connection: frames in, answers out, both bounded. It is the ``Link`` of its one ``Connection``."""

    def __init__(self, dispatcher: Dispatcher, settings: ReactorSettings, listener: str, peers: set[_TlsConnection]) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._listener = listener
        self._peers = peers
        self._input = bytearray()
        self._token = 0
        self._limit = settings.socket_request_max_bytes
        self._writable = asyncio.Event()
        self._writable.set()
        self._submitting = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over."""
        self._transport = cast("asyncio.Transport", transport)
        host, port = transport.get_extra_info("peername")[:2]
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._connection = Connection(self, next(_numbers), self._listener, peer)
        self._connection.certificate = transport.get_extra_info("peercert")
        if len(self._peers) >= self._settings.max_connections:
            self._transport.abort()
            return
        self._peers.add(self)
        self._touch()
        self._dispatcher.screen(self._connection)

    def connection_lost(self, error: Exception | None) -> None:
        """The peer or we have closed."""
        self._peers.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        self._writable.set()
        self._dispatcher.forget(self._connection)

    def data_received(self, data: bytes) -> None:
        """Bytes of frames."""
        self._input += data
        self._submit()

    def pause_writing(self) -> None:
        """The peer reads too slowly: read no further from it either."""
        self._writable.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._writable.set()
        self._submit()

    def respond(self, connection: int, token: int, payload: Payload) -> Awaitable[None] | None:
        """Send an answer; the dispatcher gives them in order, and waits for one that takes time."""
        parts = [payload] if isinstance(payload, bytes) else payload
        self._transport.write(_PREFIX.pack(sum(len(part) for part in parts)))
        if any(not isinstance(part, bytes) for part in parts):
            return self._send(parts)
        self._transport.writelines(cast("list[bytes]", parts))
        self._answered()
        return None

    def skip(self, connection: int, token: int) -> None:
        """Nothing to send."""
        self._answered()

    def close(self, connection: int) -> None:
        """Close at once."""
        self.abort()

    def end(self, connection: int, token: int) -> None:
        """Close when what was answered has left; requests begin one after the other."""
        self._transport.close()

    def authenticated(self, connection: int, *, fast: bool) -> None:
        """TLS connections have one limit and one path."""

    def free(self, connection: int, generation: int) -> None:
        """TLS connections are never served by the core."""

    def pause(self, connection: int, *, paused: bool) -> None:
        """A connection whose turn does not come is read no further than ``_MOST_WAITING`` requests."""

    def abort(self) -> None:
        """Close without sending what waits."""
        self._transport.abort()

    def _answered(self) -> None:
        self._touch()
        self._submit()

    def _next_frame(self) -> bytes | None:
        """Take the frame at the start of the input, if it is whole."""
        if len(self._input) < 4:
            return None
        (size,) = _PREFIX.unpack_from(self._input)
        if not _SMALLEST_FRAME <= size <= self._limit:
            self._dispatcher.fault(self._connection, "frame length out of bounds", f"{size} bytes")
            return None
        if len(self._input) - 4 < size:
            return None
        frame = bytes(memoryview(self._input)[4 : 4 + size])
        del self._input[: 4 + size]
        return frame

    def _submit(self) -> None:
        """Hand whole frames to the dispatcher while there is room, for their answers too: what arrived at once may be many small
        requests with large answers. Answers that come meanwhile do not begin it anew."""
        if self._submitting:
            return
        self._submitting = True
        while len(self._connection.waiting) < _MOST_WAITING and self._writable.is_set() and not self._transport.is_closing():
            frame = self._next_frame()
            if frame is None:
                break
            self._token += 1
            self._touch()
            self._dispatcher.submit(self._connection, self._token, frame)
        self._submitting = False
        if len(self._connection.waiting) >= _MOST_WAITING or not self._writable.is_set():
            self._transport.pause_reading()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    async def _send(self, parts: Sequence[bytes | FileSlice]) -> None:
        """Send an answer with parts of log files, which are read beside the loop and no faster than the peer takes them."""
        loop = asyncio.get_running_loop()
        for part in parts:
            if isinstance(part, bytes):
                self._transport.write(part)
                continue
            sent = 0
            while sent < len(part) and not self._transport.is_closing():
                size = min(_CHUNK, len(part) - sent)
                data = await loop.run_in_executor(None, os.pread, part.fileno(), size, part.position + sent)
                if not data:
                    self.abort()
                    return
                self._transport.write(data)
                sent += len(data)
                await self._writable.wait()
        self._answered()

    def _touch(self) -> None:
        """Start the idle time anew."""
        if self._idle is not None:
            self._idle.cancel()
        if self._settings.connections_max_idle_ms > 0:
            self._idle = asyncio.get_running_loop().call_later(self._settings.connections_max_idle_ms / 1000, self._expire)

    def _expire(self) -> None:
        if self._connection.busy and self._writable.is_set():
            self._touch()
        else:
            self.abort()
