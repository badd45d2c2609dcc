"""The listener for Prometheus answers what a scraper asks, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kafkax.net.scrape import MetricsListener

LINES = [f"metric{at} {at}" for at in range(2_500)]
"""More than leave at a time."""


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = MetricsListener(lambda: iter(LINES))
    yield await listener.start("127.0.0.1", 0)
    await listener.stop()


async def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """The status line and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(-1), 30)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body


@pytest.mark.parametrize("target", [b"/metrics", b"/metrics?name=x"])
async def test_metrics_are_told(port: int, target: bytes) -> None:
    status, body = await ask(port, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == b"HTTP/1.1 200 OK"
    assert body.decode().splitlines() == LINES


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\0\0\0\x12\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
    ],
)
async def test_other_requests_are_refused(port: int, request_: bytes, status: bytes) -> None:
    try:
        got, body = await ask(port, request_)
    except ConnectionResetError:
        # what was not read of a request that is too large resets the connection behind the answer
        assert len(request_) > 20_000
        return
    assert got.split()[1] == status
    assert body == b""


async def test_a_scraper_that_goes_away_disturbs_nobody(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /me")
    writer.close()
    assert (await ask(port, b"GET /metrics HTTP/1.0\r\n\r\n"))[0] == b"HTTP/1.1 200 OK"
