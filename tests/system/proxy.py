"""A way between two processes that can be cut: connections break and are refused, or nothing arrives any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from bench.ports import free_port

_CHUNK = 65_536


class Proxy:
    """Forwards what connects to ``port`` to 127.0.0.1's or another host's ``target``, on a thread of its own."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._target = target_host, target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._do(self._listen)

    def _do(self, work: Callable[[], object]) -> None:
        async def call() -> None:
            result = work()
            if asyncio.iscoroutine(result):
                await result

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def cut(self) -> None:
        """Break every connection and refuse new ones, as a machine does whose process is gone."""
        self._do(self._cut)

    def silence(self) -> None:
        """Deliver nothing, in either direction, and let nobody know."""
        self._do(self._flowing.clear)

    def restore(self) -> None:
        """Let everything through again; what was held back arrives now."""
        self._do(self._restore)

    def close(self) -> None:
        """Stop."""
        self._do(self._cut)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _restore(self) -> None:
        self._flowing.set()
        if self._server is None:
            await self._listen()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers.add(far_writer)
            try:
                ways = [self._forward(reader, far_writer), self._forward(far_reader, writer)]
                await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
            finally:
                far_writer.transport.abort()
                self._writers.discard(far_writer)
        except OSError:
            return
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return
