"""The dispatcher: one request of a connection after the other, connections beside each other, faults close only theirs."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kafkax._core.reactor import Reactor
from kafkax.errors import ProtocolError
from kafkax.net.connection import Connection, Payload
from kafkax.net.dispatch import CloseConnection, Dispatcher, Quick
from kafkax.net.settings import ReactorSettings
from kafkax.protocol.headers import RequestHeader
from tests.unit._core.wire import request

METADATA, API_VERSIONS = 3, 18
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(
    handler: Callable[..., object],
    closed: Callable[[Connection], object] | None = None,
    overlap: tuple[int, ...] = (),
    quick: dict[int, Quick] | None = None,
) -> AsyncIterator[int]:
    reactor = Reactor(None, ReactorSettings())
    port = reactor.listen("127.0.0.1", 0, "PLAINTEXT")
    reactor.start(1)
    dispatcher = Dispatcher(handler, closed=closed, overlap=overlap, quick=quick)
    dispatcher.attach(reactor)
    try:
        yield port
    finally:
        await dispatcher.stop(0.2)


async def receive(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await asyncio.wait_for(reader.readexactly(4), 30))
    return await asyncio.wait_for(reader.readexactly(size), 30)


async def test_plain_handlers_answer_with_the_header_of_their_version() -> None:
    seen = []

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        seen.append((connection.listener, header.api_key, header.api_version, header.client_id, bytes(body)))
        return b"<" + bytes(body) + b">"

    async with serving(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(METADATA, 1, 5, b"old") + request(METADATA, 12, 6, b"new", flexible=True))
        assert await receive(reader) == struct.pack(">i", 5) + b"<old>"
        assert await receive(reader) == struct.pack(">i", 6) + b"\0<new>"
        writer.close()
    assert seen == [("PLAINTEXT", METADATA, 1, "c", b"old"), ("PLAINTEXT", METADATA, 12, "c", b"new")]


async def test_a_connection_s_requests_are_handled_one_after_the_other_and_others_go_on() -> None:
    gate = asyncio.Event()
    began = []

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Awaitable[Payload] | Payload:
        began.append(bytes(body))

        async def wait() -> Payload:
            await gate.wait()
            return bytes(body)

        return wait() if body == b"slow" else bytes(body)

    async with serving(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(METADATA, 1, 1, b"slow") + request(METADATA, 1, 2, b"next") + request(METADATA, 1, 3, b"last"))
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        while began != [b"slow"]:
            await asyncio.sleep(0.01)
        other_writer.write(request(METADATA, 1, 9, b"other"))
        assert (await receive(other_reader))[4:] == b"other"
        assert began == [b"slow", b"other"]
        gate.set()
        assert [(await receive(reader))[4:] for _ in range(3)] == [b"slow", b"next", b"last"]
        writer.close()
        other_writer.close()


COMMIT = 8


class Answer:
    """An answer that is given by hand."""

    def __init__(self, body: bytes, given: bool = False) -> None:
        self.body = body
        self.given = given
        self.waits: list[Callable[[object], None]] = []

    def on_done(self, callback: Callable[[object], None]) -> None:
        if self.given:
            callback(self)
        else:
            self.waits.append(callback)

    def result(self) -> bytes:
        if self.body == b"bad":
            raise RuntimeError("no answer")
        return self.body

    def give(self) -> None:
        self.given = True
        for callback in self.waits:
            callback(self)


async def began(answers: list[Answer], count: int) -> list[bytes]:
    while len(answers) < count:
        await asyncio.sleep(0.01)
    return [answer.body for answer in answers]


async def test_requests_of_apis_that_overlap_begin_in_order_and_do_not_wait_for_each_other() -> None:
    answers: list[Answer] = []

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Answer:
        answers.append(Answer(bytes(body)))
        return answers[-1]

    async with serving(handler, overlap=(COMMIT,)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        commits = [request(COMMIT, 2, n, b"%d" % n) for n in range(3)]
        writer.write(b"".join(commits) + request(METADATA, 1, 3, b"other") + request(COMMIT, 2, 4, b"later"))
        assert await began(answers, 3) == [b"0", b"1", b"2"]
        for answer in reversed(answers):
            await asyncio.sleep(0.02)
            assert len(answers) == 3, "what does not overlap began before its time"
            answer.give()
        assert [(await receive(reader))[4:] for _ in range(3)] == [b"0", b"1", b"2"]
        assert await began(answers, 4) == [b"0", b"1", b"2", b"other"]
        await asyncio.sleep(0.02)
        assert len(answers) == 4, "what overlaps only with its like began before its time"
        answers[3].give()
        assert (await began(answers, 5))[4] == b"later"
        answers[4].give()
        assert [(await receive(reader))[4:] for _ in range(2)] == [b"other", b"later"]
        writer.close()


async def test_what_is_answered_quickly_overlaps_and_what_is_not_goes_to_the_handler() -> None:
    waiting: list[Callable[[bytes], object]] = []
    handled: list[bytes] = []

    def quick(_: Connection, frame: bytes, answer: Callable[[bytes], object]) -> bool:
        if frame.endswith(b"odd"):
            return False
        waiting.append(answer)
        return True

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        handled.append(bytes(body))
        return b"handled"

    async with serving(handler, quick={COMMIT: quick}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        frames = [request(COMMIT, 2, n, body) for n, body in enumerate((b"0", b"1", b"odd", b"2"))]
        writer.write(b"".join(frames) + request(METADATA, 1, 4, b"other"))
        while len(waiting) < 3:
            await asyncio.sleep(0.01)
        assert handled == [b"odd"], "what does not overlap began before its time"
        for number, answer in reversed(list(enumerate(waiting))):
            answer(b"quick %d" % number)
        assert [await receive(reader) for _ in range(5)] == [
            b"quick 0", b"quick 1", struct.pack(">i", 2) + b"handled", b"quick 2", struct.pack(">i", 4) + b"handled",
        ]  # fmt: skip
        assert handled == [b"odd", b"other"]
        writer.close()


async def test_a_quick_answer_that_fails_closes_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    def quick(_: Connection, frame: bytes, answer: Callable[[bytes], object]) -> bool:
        raise ValueError("quick")

    async with serving(lambda *_: b"handled", quick={COMMIT: quick}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(COMMIT, 2, 1, b"x"))
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
    assert "quick" in caplog.text


async def test_very_many_answers_that_are_there_at_once() -> None:
    gate = Answer(b"first")

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Answer:
        return gate if body == b"first" else Answer(bytes(body), given=True)

    async with serving(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        bodies = [b"first", *(b"%d" % n for n in range(2000))]
        writer.write(b"".join(request(METADATA, 1, n, body) for n, body in enumerate(bodies)))
        await asyncio.sleep(0.05)
        gate.give()
        assert [(await receive(reader))[4:] for _ in bodies] == bodies
        writer.close()


async def test_an_answer_that_fails_later_closes_its_connection() -> None:
    answers: list[Answer] = []

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Answer:
        answers.append(Answer(bytes(body)))
        return answers[-1]

    async with serving(handler, overlap=(COMMIT,)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(COMMIT, 2, 1, b"bad") + request(COMMIT, 2, 2, b"good") + request(METADATA, 1, 3, b"other"))
        await began(answers, 2)
        for answer in answers[:2]:
            answer.give()
        assert await asyncio.wait_for(reader.read(), 30) == b""
        assert len(answers) == 2
        writer.close()


async def test_requests_before_one_that_fails_are_answered_and_those_behind_it_are_not_handled() -> None:
    handled: list[int] = []

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        handled.append(header.correlation_id)
        if header.correlation_id == 3:
            raise CloseConnection("odd")
        return b"x"

    async with serving(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(request(METADATA, 1, number) for number in range(1, 6)))
        assert [await receive(reader) for _ in range(2)] == [struct.pack(">i", number) + b"x" for number in (1, 2)]
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert handled == [1, 2, 3]


async def test_no_answer_is_no_bytes() -> None:
    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload | None:
        return None if header.correlation_id == 1 else b"x"

    async with serving(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(METADATA, 1, 1) + request(METADATA, 1, 2))
        assert await receive(reader) == struct.pack(">i", 2) + b"x"
        writer.close()


@pytest.mark.parametrize("error", [ProtocolError("topic: 9 bytes of 4"), CloseConnection("not before SASL"), RuntimeError("bug")])
@pytest.mark.parametrize("late", [False, True])
async def test_a_handler_that_raises_closes_its_connection_and_says_why_once(
    error: Exception, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Awaitable[Payload]:
        async def fail() -> Payload:
            raise error

        if late:
            return fail()
        raise error

    with caplog.at_level(logging.WARNING, "kafkax.net"):
        async with serving(handler) as port:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request(METADATA, 1, 1))
                assert await asyncio.wait_for(reader.read(), 30) == b""
                writer.close()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "127.0.0.1:" in lines[0]
    assert str(error) in lines[0]


@pytest.mark.parametrize("frame", [struct.pack(">hhi", 999, 0, 1) + b"\0\0", struct.pack(">hhih", 3, 1, 1, 500)])
async def test_a_header_that_does_not_parse_closes_the_connection(frame: bytes) -> None:
    async with serving(lambda *_: b"") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack(">i", len(frame)) + frame)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_the_broker_learns_of_connections_that_are_gone() -> None:
    gone: list[Connection] = []

    def handler(connection: Connection, header: RequestHeader, body: memoryview) -> Payload:
        connection.state = "alice"
        return b""

    async with serving(handler, gone.append) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(METADATA, 1, 1))
        await receive(reader)
        writer.close()
        for _ in range(3000):
            if gone:
                break
            await asyncio.sleep(0.01)
    assert [connection.state for connection in gone] == ["alice"]
