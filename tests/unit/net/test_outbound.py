"""A link to another broker: answers matched, failures told, pauses between attempts."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kafkax.errors import ErrorCode, KafkaError
from kafkax.net.outbound import BrokerLink, OutboundSettings
from kafkax.protocol.headers import RequestHeader, response_header
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def read(reader: asyncio.StreamReader) -> RequestHeader:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return RequestHeader.parse(await reader.readexactly(size))[0]


def answer(header: RequestHeader, throttle: int, correlation_id: int | None = None) -> bytes:
    body = ApiVersionsResponse(throttle_time_ms=throttle).encode(header.api_version)
    payload = response_header(header.api_key, header.api_version, correlation_id or header.correlation_id) + body
    return struct.pack(">i", len(payload)) + payload


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            header = await read(reader)
            assert header.client_id == "kafkax-1"
            writer.write(answer(header, header.correlation_id))
    except asyncio.IncompleteReadError:
        writer.close()


def link(port: int, **settings: int) -> BrokerLink:
    return BrokerLink("127.0.0.1", port, OutboundSettings("kafkax-1", **settings), jitter=random.Random(1))


async def ask(to: BrokerLink) -> int:
    return (await to.send(ApiVersionsRequest(), 2, ApiVersionsResponse)).throttle_time_ms


async def test_answers_belong_to_their_requests() -> None:
    async with peer(echo) as port:
        to = link(port)
        assert await asyncio.gather(*(ask(to) for _ in range(50))) == list(range(1, 51))
        await to.close()


async def test_no_more_requests_than_allowed_are_in_flight() -> None:
    gate = asyncio.Event()
    arrived = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        headers = []
        for _ in range(2):
            headers.append(await read(reader))
            arrived += 1
        await gate.wait()
        for header in headers:
            writer.write(answer(header, 0))
        await echo(reader, writer)

    async with peer(serve) as port:
        to = link(port, max_in_flight=2)
        asked = asyncio.gather(*(ask(to) for _ in range(4)))
        while arrived < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert arrived == 2
        gate.set()
        await asked
        await to.close()


async def test_a_broken_connection_fails_what_waits_and_is_made_again() -> None:
    broke = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broke
        if not broke:
            broke = True
            await read(reader)
            writer.close()
        else:
            await echo(reader, writer)

    async with peer(serve) as port:
        to = link(port, reconnect_backoff_ms=10)
        with pytest.raises(KafkaError, match=f"broker at 127.0.0.1:{port}: closed the connection") as failed:
            await ask(to)
        assert failed.value.code == ErrorCode.NETWORK_EXCEPTION
        assert await ask(to) == 2
        await to.close()


async def test_an_answer_that_does_not_come_in_time_ends_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with peer(serve) as port:
        to = link(port, request_timeout_ms=50)
        with pytest.raises(KafkaError, match="no answer within 50 ms") as failed:
            await ask(to)
        assert failed.value.code == ErrorCode.REQUEST_TIMED_OUT
        await to.close()


async def test_an_answer_to_another_request_ends_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await read(reader), 0, 99))
        await reader.read()
        writer.close()

    async with peer(serve) as port:
        to = link(port)
        with pytest.raises(KafkaError, match="answer 99 where 1 was due"):
            await ask(to)
        await to.close()


async def test_attempts_at_an_absent_peer_are_spaced_out() -> None:
    async with peer(echo) as port:
        pass
    to = link(port, reconnect_backoff_ms=40, reconnect_backoff_max_ms=80)
    began = asyncio.get_running_loop().time()
    for _ in range(4):
        with pytest.raises(KafkaError):
            await ask(to)
    spent = asyncio.get_running_loop().time() - began
    assert 0.8 * (0.04 + 0.08 + 0.08) <= spent < 30
    await to.close()


async def test_a_closed_link_stays_closed() -> None:
    async with peer(echo) as port:
        to = link(port)
        await ask(to)
        await to.close()
        with pytest.raises(KafkaError, match="closed"):
            await ask(to)
