"""The listener that Prometheus scrapes: ``GET /metrics`` over HTTP, as much of it as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

__all__ = ["MetricsListener"]

_MOST_HEADER_BYTES = 8192
_PATIENCE_S = 10.0
"""Seconds for a scraper to ask, and to take each piece of the answer."""
_LINES = 1_000
"""That leave at a time: everything else of the broker goes on between two pieces."""
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n\r\n"
_REFUSALS = {
    400: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    404: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    405: b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


class MetricsListener:
    """Answers scrapers, one request a connection.

    Args:
        lines: makes the lines of the exposition format, without their ends.
    """

    def __init__(self, lines: Callable[[], Iterator[str]]) -> None:
        self._lines = lines
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which the kernel chooses for 0.

        Raises:
            OSError: the address cannot be bound.
        """
        self._server = await asyncio.start_server(self._serve, host or None, port, limit=_MOST_HEADER_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            header = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE_S)
            code = _judge(header)
            writer.write(_OK if code == 200 else _REFUSALS[code])
            if code == 200:
                await self._send(writer)
            await asyncio.wait_for(writer.drain(), _PATIENCE_S)
        except asyncio.LimitOverrunError:
            writer.write(_REFUSALS[400])
        except (OSError, EOFError, asyncio.TimeoutError):
            # the scraper went away, or takes too long: there is nobody to tell
            writer.transport.abort()
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        lines = self._lines()
        while piece := list(islice(lines, _LINES)):
            writer.write(("\n".join(piece) + "\n").encode())
            await asyncio.wait_for(writer.drain(), _PATIENCE_S)
            await asyncio.sleep(0)


def _judge(header: bytes) -> int:
    """The status that a request gets."""
    words = header.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return 400
    if words[0] != b"GET":
        return 405
    return 200 if words[1].split(b"?", 1)[0] == b"/metrics" else 404
