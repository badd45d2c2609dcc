"""A system call may be interrupted or do less than it was asked at any time; no answer stops half-way because of it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.compat.brokers import running_broker
from tests.system.test_protocol_rules import batch, create, fetch_request, produce
from tests.system.wire import Wire

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/types.h>

typedef ssize_t (*sendfile_t)(int, int, off64_t *, size_t);

static ssize_t shortened(int out, int in, off64_t *at, size_t size) {
    static sendfile_t real;
    static unsigned calls;
    if (!real) real = (sendfile_t)dlsym(RTLD_NEXT, "sendfile64");
    if (++calls % 3 == 0) { errno = EINTR; return -1; }
    return real(out, in, at, size > 5000 ? 5000 : size);
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t size) { return shortened(out, in, at, size); }
#ifdef __LP64__
ssize_t sendfile(int out, int in, off_t *at, size_t size) { return shortened(out, in, (off64_t *)at, size); }
#endif
"""


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here on have every third ``sendfile`` interrupted, and the others send at most 5,000 bytes."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))


def test_answers_arrive_whole_when_sendfile_is_interrupted(shim: None, tmp_path: Path, topic: str) -> None:
    records = batch(*[bytes([number % 251]) * 10_000 for number in range(60)])
    with running_broker(tmp_path / "data") as broker, Wire(broker.address, timeout=30) as wire:
        create(wire, topic)
        assert produce(wire, topic, records).error_code == 0  # type: ignore[attr-defined]
        for _ in range(3):
            fetched = wire.ask(fetch_request(topic, 0), 11).responses[0].partitions[0].records
            assert bytes(fetched)[61:] == records[61:]


def test_a_peer_that_hangs_up_with_its_last_request_is_answered_and_closed(tmp_path: Path, topic: str) -> None:
    with running_broker(tmp_path / "data") as broker, Wire(broker.address, timeout=30) as wire:
        create(wire, topic)
        for _ in range(20):
            with Wire(broker.address, timeout=30) as other:
                other.send(fetch_request(topic, 0), 11)
                other.socket.shutdown(socket.SHUT_WR)
                assert other.receive().responses[0].partitions[0].error_code == 0
                assert other.closed()
