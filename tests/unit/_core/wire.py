"""Sending bytes to a reactor as a client would, and answering what it hands over."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kafkax._core.reactor import ClosedConnection, HandedRequest, NewConnection, Reactor
from kafkax.net.settings import ReactorSettings


def frame(body: bytes) -> bytes:
    """``body`` with its length prefix."""
    return struct.pack(">i", len(body)) + body


def request(
    api_key: int, version: int, correlation_id: int, body: bytes = b"", client_id: bytes = b"c", *, flexible: bool = False
) -> bytes:
    """A request frame with its length prefix."""
    header = struct.pack(">hhih", api_key, version, correlation_id, len(client_id)) + client_id
    return frame(header + (b"\0" if flexible else b"") + body)


class Client:
    """A blocking connection that reads whole frames."""

    def __init__(self, port: int, timeout: float = 30.0, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError(f"closed after {len(data)} of {size} bytes")
            data += part
        return bytes(data)

    def receive(self) -> bytes:
        """The next response without its length prefix."""
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def ended(self, timeout: float = 30.0) -> bool:
        """Whether the broker closes the connection within ``timeout`` seconds, sending nothing before."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def quiet(self, seconds: float) -> bool:
        """Whether nothing arrives for so long."""
        return not select.select([self.socket], [], [], seconds)[0]

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Go away without a word of farewell (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Broker:
    """A running reactor without a control plane: the test takes what is handed over."""

    def __init__(self, reactor: Reactor, port: int) -> None:
        self.reactor = reactor
        self.port = port
        self.closed: list[ClosedConnection] = []
        self.opened: list[NewConnection] = []
        self._taken: list[HandedRequest] = []
        self._clients: list[Client] = []

    def client(self, host: str = "127.0.0.1") -> Client:
        client = Client(self.port, host=host)
        self._clients.append(client)
        return client

    def handed(self, count: int, timeout: float = 30.0) -> list[HandedRequest]:
        """The next ``count`` requests that are handed over."""
        end = time.monotonic() + timeout
        while len(self._taken) < count:
            self.poll(max(0.0, end - time.monotonic()))
            if time.monotonic() > end and len(self._taken) < count:
                raise TimeoutError(f"{len(self._taken)} of {count} requests were handed over")
        taken, self._taken = self._taken[:count], self._taken[count:]
        return taken

    def poll(self, timeout: float) -> None:
        select.select([self.reactor.fileno()], [], [], timeout)
        for item in self.reactor.take():
            if isinstance(item, ClosedConnection):
                self.closed.append(item)
            elif isinstance(item, NewConnection):
                self.opened.append(item)
            else:
                self._taken.append(item)

    def until(self, true: Callable[[], bool], timeout: float = 30.0) -> bool:
        """Wait for a condition, taking what is handed over meanwhile."""
        end = time.monotonic() + timeout
        while not true():
            if time.monotonic() > end:
                return False
            self.poll(0.01)
        return True

    def has_read(self, api_key: int, count: int = 1) -> bool:
        """Wait until so many requests of an API have arrived in all."""
        return self.until(lambda: self.reactor.counters()["requests"].get(api_key, 0) >= count)

    def echo(self, item: HandedRequest, body: bytes = b"") -> None:
        """Answer with the request's correlation id and ``body``."""
        self.reactor.respond(item.connection, item.token, item.frame[4:8] + body)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def option_of_other_end(client: Client, level: int, option: int, size: int = 0) -> int | bytes:
    """A socket option of the broker's end of a client's connection, which is in this process too."""
    ports = client.socket.getpeername()[1], client.socket.getsockname()[1]
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            end = socket.socket(fileno=int(name))
            try:
                if end.family in (socket.AF_INET, socket.AF_INET6) and (end.getsockname()[1], end.getpeername()[1]) == ports:
                    return end.getsockopt(level, option, size) if size else end.getsockopt(level, option)
            finally:
                end.detach()
    raise AssertionError("the client's connection has no other end here")


@contextmanager
def running(
    registry: object = None,
    *,
    threads: int = 2,
    fast: bool = True,
    authenticated: bool = True,
    between_brokers: bool = False,
    host: str = "127.0.0.1",
    prepare: Callable[[Reactor], object] | None = None,
    **settings: int,
) -> Iterator[Broker]:
    """A reactor on a port of the loopback, or of another address; ``prepare``: called before it starts."""
    reactor = Reactor(registry, ReactorSettings(**settings))
    port = reactor.listen(host, 0, "PLAINTEXT", fast=fast, authenticated=authenticated, between_brokers=between_brokers)
    if prepare is not None:
        prepare(reactor)
    reactor.start(threads)
    broker = Broker(reactor, port)
    try:
        yield broker
    finally:
        broker.close()
        reactor.stop(0)
