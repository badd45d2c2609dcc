"""ZooKeeper over TLS: the server's certificate is checked, and the broker shows its own where it is asked for."""

from __future__ import annotations

import asyncio
import ssl
from uuid import uuid4

import pytest

from kafkax.cluster.store import Create, StoreError
from kafkax.cluster.zookeeper import ZooKeeperStore, zookeeper_settings
from kafkax.config import BrokerConfig
from tests.unit.net.certificates import self_signed


@pytest.fixture
async def tls_server(server, tmp_path):
    """The port of a server that speaks TLS before the real one, and asks for a certificate."""
    pem = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tmp_path / "broker.crt")
    ways = set()

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connected(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server.port)
        for way in (pump(reader, far_writer), pump(far_reader, writer)):
            task = asyncio.ensure_future(way)
            ways.add(task)
            task.add_done_callback(ways.discard)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    for way in list(ways):
        way.cancel()


def config(port, **more):
    settings = {
        "node.id": "1",
        "log.dirs": "/nowhere",
        "listeners": "PLAINTEXT://127.0.0.1:9092",
        "zookeeper.connect": f"localhost:{port}/{uuid4().hex}",
        "zookeeper.ssl.client.enable": "true",
        **more,
    }
    return BrokerConfig(settings)


async def test_a_store_over_tls(tls_server, tmp_path):
    files = {
        "zookeeper.ssl.truststore.location": str(tmp_path / "broker.crt"),
        "zookeeper.ssl.keystore.location": str(tmp_path / "broker.pem"),
    }
    store = await ZooKeeperStore.connect(zookeeper_settings(config(tls_server, **files)))
    try:
        await store.multi([Create("/over-tls", b"x" * 100_000)])
        assert (await store.get("/over-tls"))[0] == b"x" * 100_000
    finally:
        await store.close()


async def test_a_server_that_is_not_trusted_is_refused(tls_server, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    self_signed(other)
    files = {
        "zookeeper.ssl.truststore.location": str(other / "broker.crt"),
        "zookeeper.ssl.keystore.location": str(tmp_path / "broker.pem"),
        "zookeeper.connection.timeout.ms": "2000",
    }
    with pytest.raises(StoreError):
        await ZooKeeperStore.connect(zookeeper_settings(config(tls_server, **files)))
