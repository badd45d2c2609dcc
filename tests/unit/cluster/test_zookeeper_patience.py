"""Servers that accept a connection and then say nothing."""

from __future__ import annotations

import asyncio
import time

from kafkax.cluster.zookeeper import ZooKeeperSettings, ZooKeeperStore
from kafkax.cluster.zookeeper_patience import patience_seconds


class Mute:
    """In front of a server: swallows the first connection's bytes, passes on those of all later ones."""

    def __init__(self, port):
        self._port = port
        self.connections = 0
        self._tasks = set()

    async def accept(self, reader, writer):
        self.connections += 1
        if self.connections == 1:
            await reader.read()
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass_on(reader, there_writer), self._pass_on(there_reader, writer))

    async def _pass_on(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


async def test_a_server_that_swallows_the_request_for_a_session_is_asked_again(server):
    mute = Mute(server.port)
    front = await asyncio.start_server(mute.accept, "127.0.0.1", 0)
    port = front.sockets[0].getsockname()[1]
    began = time.monotonic()
    store = await ZooKeeperStore.connect(
        ZooKeeperSettings(f"127.0.0.1:{port}", session_timeout_ms=60_000, connection_timeout_ms=50_000)
    )
    assert time.monotonic() - began < 30
    assert mute.connections >= 2
    await store.create("/after")
    await store.close()
    front.close()


def test_every_server_gets_two_turns_within_a_session():
    assert patience_seconds(4000, 1) == 2
    assert patience_seconds(6000, 3) == 1
    assert patience_seconds(60_000, 1) == 3
