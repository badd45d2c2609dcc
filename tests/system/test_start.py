"""A broker that starts answers when it knows what it has."""

from __future__ import annotations

import asyncio
import ssl
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from bench.ports import free_port
from kafkax.cluster.embedded import EmbeddedStore
from kafkax.cluster.image import MetadataCache
from kafkax.cluster.store import ConnectionLostError
from kafkax.config import BrokerConfig
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataEndpoint,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)
from kafkax.server import Server
from tests.unit.net.certificates import self_signed


async def answered(port: int, context: ssl.SSLContext | None) -> int:
    """Ask for ApiVersions, once somebody listens; the correlation id of the answer."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    try:
        writer.write(struct.pack(">ihhih", 10, 18, 0, 7, -1))
        return int(struct.unpack(">ii", await reader.readexactly(8))[1])
    finally:
        writer.close()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_broker_alone_answers_nothing_before_its_topics_are_there(
    encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, settling, known = Server._settle, asyncio.Event(), asyncio.Event()

    async def late(server: Server, *parts: object) -> None:
        settling.set()
        await known.wait()
        await settle(server, *parts)  # type: ignore[arg-type]

    monkeypatch.setattr(Server, "_settle", late)
    port, pem = free_port(), self_signed(tmp_path)
    context = ssl.create_default_context(cafile=str(tmp_path / "broker.crt")) if encrypted else None
    overrides = {
        "listeners": f"{'SSL' if encrypted else 'PLAINTEXT'}://127.0.0.1:{port}",
        "security.inter.broker.protocol": "SSL" if encrypted else "PLAINTEXT",
        "log.dirs": str(tmp_path / "data"),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(pem),
    }
    server = Server(BrokerConfig.load(None, overrides))
    starting = asyncio.ensure_future(server.start())
    try:
        await settling.wait()
        asked = asyncio.ensure_future(answered(port, context))
        assert not (await asyncio.wait([asked], timeout=0.3))[0], "answered too early"
        known.set()
        assert await asyncio.wait_for(asked, 30) == 7
        await starting
    finally:
        known.set()
        await starting
        await server.stop()


async def test_a_broker_is_ready_when_it_has_heard_of_the_topics_and_not_of_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await EmbeddedStore.open(tmp_path / "store")
    children, asked = store.children, iter([ConnectionLostError("asked while the store fails over")])

    async def failing_once(path: str) -> list[str]:
        for error in asked:
            raise error
        return await children(path)

    monkeypatch.setattr(store, "children", failing_once)
    await store.ensure_paths(["/brokers/topics/t", "/brokers/topics/leaves", "/admin/delete_topics/leaves"])
    cache, ready = MetadataCache("c"), asyncio.Event()
    server = Server(BrokerConfig.load(None, {}))
    server.node_id, server.services = 1, SimpleNamespace(cache=cache)  # type: ignore[assignment]
    replicas = SimpleNamespace(on_leadership=lambda _: None, offline=set, replica=lambda _: object())
    member: Any = SimpleNamespace(ready=ready, replicas=replicas)
    settling = asyncio.ensure_future(server._settle(member, store))
    endpoint = UpdateMetadataEndpoint(port=9092, host="h", listener="PLAINTEXT", security_protocol=0)
    brokers = [UpdateMetadataBroker(id=1, endpoints=[endpoint])]
    cache.update(UpdateMetadataRequest(live_brokers=brokers))
    assert not (await asyncio.wait([settling], timeout=0.3))[0], "ready without topics"
    partition = UpdateMetadataPartitionState(partition_index=0, leader=1, isr=[1], replicas=[1])
    topic = UpdateMetadataTopicState(topic_name="t", topic_id=UUID(int=1), partition_states=[partition])
    cache.update(UpdateMetadataRequest(live_brokers=brokers, topic_states=[topic]))
    await asyncio.wait_for(settling, 10)
    assert ready.is_set()
    await store.close()
