"""One broker, two ways into it: frames that the core may serve itself, and the same frames served by the Python handlers.

Every topic exists twice, as ``core-...`` and ``twin-...``: a frame for the one, with names and ids exchanged, is the frame for
the other, so both have the same history, and answers must be the same bytes once names and ids are exchanged back.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kafkax.server
from kafkax._core.reactor import Reactor
from kafkax.config import BrokerConfig
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from tests.system.wire import Wire

REFERENCE = "REFERENCE"
CLOSED = b"closed"
_MARKER = 0x7E57_7E57


class _Reactor(Reactor):
    """Serves nothing itself on the listener of the reference path."""

    def listen(self, host: str, port: int, listener_name: str, *, fast: bool = True, **options: Any) -> int:
        return super().listen(host, port, listener_name, fast=fast and listener_name != REFERENCE, **options)


def _endpoint(address: str) -> bytes:
    """Host and port of a listener as answers name the leader's."""
    host, _, port = address.rpartition(":")
    return host.encode() + struct.pack(">i", int(port))


class Peer:
    """Connections to one of the two listeners, one at a time."""

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
    """Both ways into the broker, and its topics."""

    def __init__(self, server: kafkax.server.Server, reactor: Reactor) -> None:
        self.server, self._reactor = server, reactor
        addresses = {endpoint.name: f"{endpoint.host}:{endpoint.port}" for endpoint in server.endpoints}
        self._addresses = addresses["PLAINTEXT"], addresses[REFERENCE]
        self.connect()
        self.admin = Wire(addresses["PLAINTEXT"])
        self.ids: dict[str, uuid.UUID] = {}
        self._first = ""

    def connect(self) -> None:
        """Begin new connections."""
        self.core, self.reference = (Peer(address) for address in self._addresses)

    def create(self, name: str, partitions: int = 1, **configs: str) -> str:
        """Create ``core-NAME`` and ``twin-NAME``; the name of the first."""
        settings = [CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
        settings.append(CreatableTopicConfig(name="kafkax.durability", value="replicated"))
        for prefix in ("core", "twin"):
            new = CreatableTopic(name=f"{prefix}-{name}", num_partitions=partitions, replication_factor=1, configs=settings)
            (result,) = self.admin.ask(CreateTopicsRequest(topics=[new], timeout_ms=60_000), 7).topics
            assert result.error_code == 0, result.error_message
            self.ids[f"{prefix}-{name}"] = result.topic_id
        return f"core-{name}"

    def exchanged(self, data: bytes, *, back: bool = False) -> bytes:
        """The same bytes about the other topic of each pair; ``back``: of an answer, whose leaders are at the first listener."""
        for name, topic_id in self.ids.items():
            if name.startswith("core-"):
                twin = "twin-" + name[5:]
                for ours, theirs in ((name.encode(), twin.encode()), (topic_id.bytes, self.ids[twin].bytes)):
                    data = data.replace(theirs, ours) if back else data.replace(ours, theirs)
        if back:
            ours, theirs = (_endpoint(address) for address in self._addresses)
            data = data.replace(theirs, ours)
        return data

    def ask(self, frame: bytes, *, silent: bool = False) -> tuple[bytes, bytes]:
        """What the core and the reference path answer, in the core's names."""
        ours = self.core.ask(frame, silent=silent)
        theirs = self.reference.ask(self.exchanged(frame), silent=silent)
        return ours, self.exchanged(theirs, back=True)

    def same(self, frame: bytes, *, silent: bool = False) -> bytes:
        """The answer, which must be one and the same."""
        ours, theirs = self.ask(frame, silent=silent)
        self._compare([frame], [ours], [theirs])
        return ours

    def same_all(self, frames: Sequence[bytes]) -> list[bytes]:
        """The answers to frames that are sent at once, which must be the same on both ways."""
        ours = self.core.ask_all(frames)
        theirs = [self.exchanged(answer, back=True) for answer in self.reference.ask_all([self.exchanged(f) for f in frames])]
        self._compare(frames, ours, theirs)
        return ours

    def _compare(self, frames: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]) -> None:
        """Answers must be the same. Once they were not, the topics may differ for good, so the first is told ever after."""
        if ours == theirs:
            return
        sides = (("frames", frames), ("core", ours), ("reference", theirs))
        difference = "\n".join(f"{side} {[data.hex() for data in shown]}" for side, shown in sides)
        self._first = self._first or difference
        pytest.fail(f"{difference}\nthe first difference was\n{self._first}")

    def handed_over(self) -> int:
        """Requests that the core has left to the control plane so far, on either way."""
        count = self._reactor.counters()["handed_over"]
        assert isinstance(count, int)
        return count

    def close(self) -> None:
        for peer in (self.core, self.reference):
            peer.close()
        self.admin.socket.close()


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """A broker with both listeners, on a loop of its own thread."""
    overrides = {
        "listeners": f"PLAINTEXT://127.0.0.1:0,{REFERENCE}://127.0.0.1:0",
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,{REFERENCE}:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(folder),
        "log.cleaner.enable": "false",  # when a log is cleaned is nothing that both would do at once
    }
    reactors: list[Reactor] = []

    def made(*settings: Any) -> Reactor:
        reactors.append(_Reactor(*settings))
        return reactors[0]

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(60)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafkax.server, "Reactor", made)
        server = kafkax.server.Server(BrokerConfig.load(None, overrides))
        try:
            run(server.start())
            both = Pair(server, reactors[0])
            yield both
            both.close()
        finally:
            run(server.stop())
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()
