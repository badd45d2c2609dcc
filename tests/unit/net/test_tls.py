"""A TLS listener behaves like the reactor's: order, limits, slow clients, faults."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from kafkax.config import BrokerConfig
from kafkax.errors import KafkaError
from kafkax.net.connection import Connection, Payload
from kafkax.net.dispatch import Dispatcher
from kafkax.net.outbound import BrokerLink, OutboundSettings
from kafkax.net.settings import ReactorSettings
from kafkax.net.tls import TlsListener, TlsSettings, between_brokers, bind, client_context, server_context
from kafkax.protocol.headers import RequestHeader
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from tests.unit._core.wire import request
from tests.unit.net.certificates import self_signed

METADATA = 3


class Slice:
    """Stands for a slice of a log file: what the listener uses of one."""

    def __init__(self, path: Path, position: int, length: int) -> None:
        self._file = path.open("rb")
        self.position = position
        self._length = length

    def fileno(self) -> int:
        return self._file.fileno()

    def __len__(self) -> int:
        return self._length


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@asynccontextmanager
async def serving(
    pem: Path, handler: Callable[..., object], closed: Callable[[Connection], object] | None = None, **limits: int
) -> AsyncIterator[Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]]:
    dispatcher = Dispatcher(handler, closed=closed)  # type: ignore[arg-type]
    listener = TlsListener(dispatcher, ReactorSettings(**limits), server_context(TlsSettings(str(pem))), "SSL")
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    await listener.start(bound)
    trust = ssl.create_default_context(cafile=str(pem))
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        writers.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in writers:
            writer.transport.abort()
        await listener.stop()
        await dispatcher.stop(0.1)


async def receive(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await asyncio.wait_for(reader.readexactly(4), 30))
    return await asyncio.wait_for(reader.readexactly(size), 30)


def echo(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
    return bytes(body)


async def test_pipelined_requests_are_answered_in_order(pem: Path) -> None:
    async def sometimes_late(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        if header.correlation_id % 3 == 0:
            await asyncio.sleep(0.001)
        return bytes(body)

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Awaitable[Payload] | Payload:
        assert connection.listener == "SSL"
        assert connection.peer.startswith("127.0.0.1:")
        return sometimes_late(connection, header, body) if header.correlation_id % 2 else bytes(body)

    async with serving(pem, handler) as connect:
        reader, writer = await connect()
        writer.write(b"".join(request(METADATA, 1, n, os.urandom(n)) for n in range(300)))
        answers = [await receive(reader) for _ in range(300)]
    assert [struct.unpack_from(">i", answer)[0] for answer in answers] == list(range(300))
    assert [len(answer) for answer in answers] == [4 + n for n in range(300)]


async def test_slices_of_files_arrive_between_their_bytes_and_before_the_next_answer(pem: Path, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "log").write_bytes(data)

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        if header.correlation_id == 2:
            return b"next"
        return [b"<", Slice(tmp_path / "log", 1000, 2_500_000), b"|", Slice(tmp_path / "log", 0, 7), b">"]  # type: ignore[list-item]

    async with serving(pem, handler) as connect:
        reader, writer = await connect()
        writer.write(request(METADATA, 1, 1) + request(METADATA, 1, 2))
        await asyncio.sleep(0.1)
        assert (await receive(reader))[4:] == b"<" + data[1000:2_501_000] + b"|" + data[:7] + b">"
        assert (await receive(reader))[4:] == b"next"


@pytest.mark.parametrize("length", [-1, 0, 7, 1001, 2**31 - 1])
async def test_a_frame_length_out_of_bounds_closes_the_connection(pem: Path, length: int) -> None:
    async with serving(pem, echo, socket_request_max_bytes=1000) as connect:
        reader, writer = await connect()
        writer.write(struct.pack(">i", length) + b"x" * 10)
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_an_idle_connection_is_closed_and_told_of(pem: Path) -> None:
    gone: list[Connection] = []
    answered: list[Connection] = []

    def note(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        answered.append(connection)
        return bytes(body)

    async with serving(pem, note, gone.append, connections_max_idle_ms=100) as connect:
        reader, _ = await answered_in_time(connect)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 30)
        while answered[-1] not in gone:
            await asyncio.sleep(0.01)
    assert gone.count(answered[-1]) == 1


async def answered_in_time(
    connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that was answered; on a busy machine one may be idle for too long before it has even asked."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await connect()
            writer.write(request(METADATA, 1, 1))
            await receive(reader)
            return reader, writer


async def test_a_client_that_never_reads_is_read_no_further(pem: Path) -> None:
    """Nor is what it has sent answered, which may be many small requests that arrive at once."""
    handled, answer = 0, bytes(1_000_000)

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        nonlocal handled
        handled += 1
        return answer

    async with serving(pem, handler) as connect:
        _, writer = await connect()
        writer.write(b"".join(request(METADATA, 1, n, bytes(100)) for n in range(2000)))
        while not handled:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
    assert handled < 100, "as many as the buffers of the sockets take"


async def test_a_client_that_reads_late_gets_every_answer(pem: Path) -> None:
    answer = bytes(100_000)
    async with serving(pem, lambda *_: answer) as connect:
        reader, writer = await connect()
        writer.write(b"".join(request(METADATA, 1, n) for n in range(500)))
        await asyncio.sleep(0.2)
        for n in range(500):
            assert await receive(reader) == struct.pack(">i", n) + answer


async def test_connections_beyond_the_limit_are_closed(pem: Path) -> None:
    async with serving(pem, echo, max_connections=1) as connect:
        reader, writer = await connect()
        writer.write(request(METADATA, 1, 1))
        await receive(reader)

        async def second() -> None:
            other, _ = await connect()
            await asyncio.wait_for(other.readexactly(1), 30)

        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await second()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keystore_location": "/nowhere.pem"}, r"ssl\.keystore\.location=/nowhere\.pem"),
        ({"client_auth": "maybe"}, r"ssl\.client\.auth=maybe: allowed are none, requested, required"),
        ({"enabled_protocols": ("SSLv3",)}, r"ssl\.enabled\.protocols=SSLv3"),
        ({"truststore_location": "/nowhere.pem"}, r"ssl\.truststore\.location=/nowhere\.pem"),
    ],
)
def test_bad_settings_name_the_config(pem: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(KafkaError, match=said):
        server_context(TlsSettings(**{"keystore_location": str(pem), **change}))  # type: ignore[arg-type]


@asynccontextmanager
async def brokers(settings: TlsSettings) -> AsyncIterator[Callable[[TlsSettings], Awaitable[object]]]:
    """A listener that answers ApiVersions as a broker does, and a way to ask it over a link with other settings."""
    answer = ApiVersionsResponse(throttle_time_ms=7).encode(2)
    dispatcher = Dispatcher(lambda connection, header, body: answer)
    listener = TlsListener(dispatcher, ReactorSettings(), server_context(settings), "SSL")
    bound = bind("127.0.0.1", 0)
    await listener.start(bound)
    links: list[BrokerLink] = []

    async def ask(other: TlsSettings) -> object:
        links.append(BrokerLink("127.0.0.1", bound.getsockname()[1], OutboundSettings("1", tls=client_context(other))))
        return (await links[-1].send(ApiVersionsRequest(), 2, ApiVersionsResponse)).throttle_time_ms

    try:
        yield ask
    finally:
        for link in links:
            await link.close()
        await listener.stop()
        await dispatcher.stop(0.1)


async def test_brokers_show_each_other_their_certificates(pem: Path, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "other")
    both = tmp_path / "both.crt"
    both.write_text((tmp_path / "broker.crt").read_text() + (tmp_path / "other.crt").read_text())
    async with brokers(TlsSettings(str(pem), truststore_location=str(both), client_auth="required")) as ask:
        assert await ask(TlsSettings(str(other), truststore_location=str(both))) == 7
        with pytest.raises(KafkaError, match=r"CERTIFICATE_VERIFY_FAILED"):
            await ask(TlsSettings(str(pem), truststore_location=str(tmp_path / "other.crt")))
    async with brokers(TlsSettings(str(pem), truststore_location=str(tmp_path / "broker.crt"), client_auth="required")) as ask:
        with pytest.raises(KafkaError, match=r"127\.0\.0\.1"):
            await ask(TlsSettings(str(other), truststore_location=str(both)))


async def test_the_host_of_another_broker_is_that_of_its_certificate(tmp_path: Path) -> None:
    pem = str(self_signed(tmp_path, "elsewhere", "DNS:elsewhere"))
    trusting = TlsSettings(pem, truststore_location=str(tmp_path / "elsewhere.crt"))
    async with brokers(TlsSettings(pem)) as ask:
        with pytest.raises(KafkaError, match=r"certificate is not valid for '127\.0\.0\.1'"):
            await ask(trusting)
        assert await ask(dataclasses.replace(trusting, identification="")) == 7


def test_a_broker_that_could_not_connect_to_itself_is_refused(pem: Path, tmp_path: Path) -> None:
    itself = TlsSettings(str(pem), truststore_location=str(tmp_path / "broker.crt"))
    for client_auth in ("none", "required"):
        assert between_brokers(dataclasses.replace(itself, client_auth=client_auth)).check_hostname
    self_signed(tmp_path, "other")
    with pytest.raises(KafkaError, match=r"ssl\.truststore\.\*: brokers with this .* refuse each other"):
        between_brokers(dataclasses.replace(itself, truststore_location=str(tmp_path / "other.crt")))


def test_hosts_are_checked_by_https_or_not_at_all(pem: Path) -> None:
    assert client_context(TlsSettings(str(pem), identification="HTTPS")).check_hostname
    with pytest.raises(KafkaError, match=r"ssl\.endpoint\.identification\.algorithm=ldaps"):
        client_context(TlsSettings(str(pem), identification="ldaps"))


def test_a_listener_has_stores_of_its_own(pem: Path) -> None:
    own = str(pem)
    config = BrokerConfig(
        {
            "listeners": "CLIENTS://127.0.0.1:0,INSIDE://127.0.0.1:1",
            "listener.security.protocol.map": "CLIENTS:SSL,INSIDE:SSL",
            "inter.broker.listener.name": "INSIDE",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "/of-all.pem",
            "listener.name.inside.ssl.keystore.location": own,
            "listener.name.inside.ssl.client.auth": "requested",
            "listener.name.inside.ssl.endpoint.identification.algorithm": "",
        }
    )
    inside, clients = TlsSettings.of(config, "INSIDE"), TlsSettings.of(config, "CLIENTS")
    assert (inside.keystore_location, inside.client_auth, inside.identification) == (own, "requested", "")
    assert (clients.keystore_location, clients.client_auth, clients.identification) == ("/of-all.pem", "none", "https")
