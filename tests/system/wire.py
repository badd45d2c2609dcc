"""A client that speaks the protocol by hand: sends any bytes, and messages in any version."""

from __future__ import annotations

import socket
import struct
from itertools import count
from types import TracebackType
from typing import Any

from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import parse_response_header, request_header

__all__ = ["Wire"]


class Wire:
    """One connection.

    Args:
        address: ``host:port``.
        timeout: seconds that any answer may take.
    """

    def __init__(self, address: str, timeout: float = 60) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout)
        self._ids = count(1)
        self._sent: list[tuple[int, int, int]] = []

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def send_frame(self, frame: bytes) -> None:
        """Send a frame with its length before it."""
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def send(self, request: Any, version: int, client_id: str = "wire") -> None:
        """Send a request; :meth:`receive` returns its answer, in order."""
        correlation = next(self._ids)
        self._sent.append((request.api_key, version, correlation))
        self.send_frame(request_header(request.api_key, version, correlation, client_id) + request.encode(version))

    def receive(self) -> Any:
        """The answer to the oldest request that has none yet; checks its correlation id."""
        key, version, correlation = self._sent.pop(0)
        found, body = parse_response_header(self.receive_frame(), key, version)
        assert found == correlation, f"answer {found} came where {correlation} was due"
        return API_KEYS[key].response_type().decode(body, version)

    def ask(self, request: Any, version: int) -> Any:
        """Send a request and wait for its answer."""
        self.send(request, version)
        return self.receive()

    def receive_frame(self) -> bytes:
        """The next frame, without its length; EOFError when the broker closed."""
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def closed(self) -> bool:
        """Whether the broker closes the connection without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError("the broker closed the connection")
            data += part
        return bytes(data)
