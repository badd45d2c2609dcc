"""Two brokers with the same topics: one whose core serves what it can, one whose core leaves everything to the Python handlers.

Topics have the same names and ids on both, so a frame for the one is the frame for the other; sent the same frames, both have
the same history, and answers must be the same bytes.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kafkax.cluster.topic_admin
import kafkax.server
from kafkax._core.reactor import Reactor
from kafkax._core.registry import Registry
from kafkax.config import BrokerConfig
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from tests.system.wire import Wire

CLOSED = b"closed"
_MARKER = 0x7E57_7E57


class _Reference(Reactor):
    """Serves nothing itself."""

    def listen(self, host: str, port: int, listener_name: str, *, fast: bool = True, **options: Any) -> int:
        return super().listen(host, port, listener_name, fast=False, **options)


def _endpoint(address: str) -> bytes:
    """Host and port of a listener as answers name the leader's."""
    host, _, port = address.rpartition(":")
    return host.encode() + struct.pack(">i", int(port))


class Peer:
    """Connections to one of the two brokers, one at a time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._wire = Wire(address)

    def ask_all(self, frames: Sequence[bytes]) -> list[bytes]:
        """What comes back for frames that are sent at once, in order; ``CLOSED`` is the last where the connection ended."""
        answers: list[bytes] = []
        marker = struct.pack(">hhih", 18, 0, _MARKER, -1)
        try:
            self._wire.socket.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in (*frames, marker)))
            while not answers or struct.unpack_from(">i", answers[-1]) != (_MARKER,):
                answers.append(self._wire.receive_frame())
            return answers[:-1]
        except (EOFError, ConnectionError):
            self._wire.socket.close()
            self._wire = Wire(self._address)
            return [*answers, CLOSED]

    def ask(self, frame: bytes, *, silent: bool) -> bytes:
        """The answer to a frame, ``CLOSED``, or nothing for a request that has none (shown by the answer to a later one)."""
        try:
            self._wire.send_frame(frame)
            if silent:
                self._wire.send_frame(struct.pack(">hhih", 18, 0, _MARKER, -1))
            answer = self._wire.receive_frame()
            if silent and struct.unpack_from(">i", answer) == (_MARKER,):
                return b""
            if silent:
                self._wire.receive_frame()
            return answer
        except (EOFError, ConnectionError):
            self._wire.socket.close()
            self._wire = Wire(self._address)
            return CLOSED

    def close(self) -> None:
        self._wire.socket.close()


class Pair:
    """Both brokers.

    Attributes:
        servers: the one whose core serves, and the reference; both are told of changes by :meth:`tell`.
        admins: a connection to each for what is not compared.
        ids: of the topics, by name.
    """

    def __init__(
        self, servers: Sequence[kafkax.server.Server], reactors: Sequence[Reactor], run: Callable[[Callable[[], object]], object]
    ) -> None:
        self.servers, self._reactors, self._run = servers, reactors, run
        self._addresses = [f"{server.endpoints[0].host}:{server.endpoints[0].port}" for server in servers]
        self.connect()
        self.admins = [Wire(address) for address in self._addresses]
        self.ids: dict[str, uuid.UUID] = {}
        self._first = ""

    def connect(self) -> None:
        """Begin new connections."""
        self.core, self.reference = (Peer(address) for address in self._addresses)

    def create(self, name: str, partitions: int = 1, **configs: str) -> str:
        """Create a topic of which everything appended is visible at once; its name."""
        settings = [CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
        settings.append(CreatableTopicConfig(name="kafkax.durability", value="replicated"))
        new = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, configs=settings)
        self.ids[name] = uuid.uuid4()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kafkax.cluster.topic_admin, "uuid4", lambda: self.ids[name])
            for admin in self.admins:
                (result,) = admin.ask(CreateTopicsRequest(topics=[new], timeout_ms=60_000), 7).topics
                assert (result.error_code, result.topic_id) == (0, self.ids[name]), result.error_message
        return name

    def tell(self, change: Callable[[kafkax.server.Server], object]) -> None:
        """Change something in both, as the control plane does it: on its loop."""
        for server in self.servers:
            self._run(partial(change, server))

    def ask(self, frame: bytes, *, silent: bool = False) -> tuple[bytes, bytes]:
        """What the core and the reference path answer."""
        ours = self.core.ask(frame, silent=silent)
        return ours, self._as_core(self.reference.ask(frame, silent=silent))

    def _as_core(self, answer: bytes) -> bytes:
        """An answer of the reference, whose leaders are at the other broker's address."""
        ours, theirs = map(_endpoint, self._addresses)
        return answer.replace(theirs, ours)

    def same(self, frame: bytes, *, silent: bool = False) -> bytes:
        """The answer, which must be one and the same."""
        ours, theirs = self.ask(frame, silent=silent)
        self._compare([frame], [ours], [theirs])
        return ours

    def same_all(self, frames: Sequence[bytes]) -> list[bytes]:
        """The answers to frames that are sent at once, which must be the same on both ways."""
        ours = self.core.ask_all(frames)
        theirs = [self._as_core(answer) for answer in self.reference.ask_all(frames)]
        self._compare(frames, ours, theirs)
        return ours

    def same_later(self, frame: bytes, event: Callable[[], object]) -> bytes:
        """The answer to a request that waits for an event, which must be the same; it happens once both have the request."""
        ours, theirs = self._later(self._addresses, frame, event)
        self._compare([frame], [ours], [self._as_core(theirs)])
        return ours

    def core_later(self, frame: bytes, event: Callable[[], object]) -> bytes:
        """What the core answers to a Fetch that waits for an event."""
        (ours,) = self._later(self._addresses[:1], frame, event)
        return ours

    def _later(self, addresses: Sequence[str], frame: bytes, event: Callable[[], object]) -> list[bytes]:
        wires = [Wire(address) for address in addresses]
        (key,) = struct.unpack_from(">h", frame)
        before = self._requests(key)[: len(wires)]
        for wire in wires:
            wire.send_frame(frame)
        deadline = time.monotonic() + 60
        while any(now == then for now, then in zip(self._requests(key), before, strict=False)):
            assert time.monotonic() < deadline, "a request did not come"
            time.sleep(0.001)
        event()
        answers = [wire.receive_frame() for wire in wires]
        for wire in wires:
            wire.socket.close()
        return answers

    def _requests(self, key: int) -> list[int]:
        """Requests of an API that each broker has had."""
        return [reactor.counters()["requests"].get(key, 0) for reactor in self._reactors]

    def _compare(self, frames: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]) -> None:
        """Answers must be the same. Once they were not, the topics may differ for good, so the first is told ever after."""
        if ours == theirs:
            return
        sides = (("frames", frames), ("core", ours), ("reference", theirs))
        difference = "\n".join(f"{side} {[data.hex() for data in shown]}" for side, shown in sides)
        self._first = self._first or difference
        pytest.fail(f"{difference}\nthe first difference was\n{self._first}")

    def handed_over(self) -> int:
        """Requests that the core has left to the control plane so far."""
        count = self._reactors[0].counters()["handed_over"]
        assert isinstance(count, int)
        return count

    def close(self) -> None:
        for peer in (self.core, self.reference):
            peer.close()
        for admin in self.admins:
            admin.socket.close()


def _config(folder: Path) -> BrokerConfig:
    overrides = {
        "listeners": "PLAINTEXT://127.0.0.1:0",
        "log.dirs": str(folder),
        "log.cleaner.enable": "false",  # when a log is cleaned is nothing that both would do at once
    }
    return BrokerConfig.load(None, overrides)


@contextmanager
def pair(folder: Path, *, elsewhere: bool = False) -> Iterator[Pair]:
    """Both brokers, on a loop of their own thread; ``elsewhere``: their cores take what is not there to be on others, as in a
    cluster."""
    reactors: list[Reactor] = []
    servers: list[kafkax.server.Server] = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(60)

    def run_on_loop(step: Callable[[], object]) -> object:
        async def stepping() -> object:
            return step()

        return run(stepping())

    try:
        for name, kind in (("core", Reactor), ("reference", _Reference)):

            def made(*settings: Any, kind: type[Reactor] = kind) -> Reactor:
                reactors.append(kind(*settings))
                return reactors[-1]

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(kafkax.server, "Reactor", made)
                if elsewhere:
                    patch.setattr(kafkax.server, "Registry", lambda **given: Registry(**{**given, "elsewhere": True}))
                servers.append(kafkax.server.Server(_config(folder / name)))
                run(servers[-1].start())
        both = Pair(servers, reactors, run_on_loop)
        yield both
        both.close()
    finally:
        for server in servers:
            run(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
