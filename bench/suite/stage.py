"""What the benchmarks set up: logs and partitions in a temporary directory, and network threads that serve them."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from uuid import UUID

from kafkax._core.flush import Flusher
from kafkax._core.load import Load
from kafkax._core.load_connection import Target
from kafkax._core.log import Log, LogSettings
from kafkax._core.partition import Partition
from kafkax._core.reactor import Reactor
from kafkax._core.registry import Registry
from kafkax.cli.perf.bootstrap import Topic
from kafkax.cli.perf.workload import record_batch
from kafkax.net.settings import ReactorSettings

RECORD_SIZE = 100
TOPIC_ID = UUID(int=7)


def batch_of(records: int, size: int = RECORD_SIZE) -> bytes:
    """A record batch as a producer sends it."""
    return record_batch(records, size)


class LogStage:
    """One log in a temporary directory; without a flush thread, so that the disk has no say."""

    def __init__(self, **settings: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kafkax-bench-"))
        self.log = Log.open(str(self.directory), LogSettings(**settings))

    def fill(self, batches: int, records: int) -> None:
        batch = batch_of(records)
        for _ in range(batches):
            self.log.append(batch)

    def close(self) -> None:
        self.log.close()
        shutil.rmtree(self.directory)


class BrokerStage:
    """Partitions of one topic behind a listener whose network thread answers Produce and Fetch without the control plane."""

    def __init__(self, partitions: int = 1, threads: int = 1) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kafkax-bench-"))
        self.flusher = Flusher(str(self.directory))
        self.registry = Registry()
        self.logs = []
        for index in range(partitions):
            folder = self.directory / f"events-{index}"
            folder.mkdir()
            log = Log.open(str(folder), LogSettings(flushed=False), flusher=self.flusher)
            partition = Partition("events", index, TOPIC_ID, log)
            partition.become_leader(0)
            self.registry.add(partition)
            self.logs.append(log)
        self.reactor = Reactor(self.registry, ReactorSettings())
        self.port = self.reactor.listen("127.0.0.1", 0, "PLAINTEXT")
        self.reactor.start(threads)
        self.topic = Topic("events", TOPIC_ID, (("127.0.0.1", self.port),) * partitions)
        self.sockets: list[socket.socket] = []

    def load(self, targets: list[list[Target]], in_flight: int, requests: int, refused: bool = False) -> Load:
        """So many requests over as many connections as there are lists of targets.

        Raises RuntimeError unless they are taken, or all refused where that is expected.
        """
        while len(self.sockets) < len(targets):
            self.sockets.append(socket.create_connection(("127.0.0.1", self.port)))
            self.sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        load = Load(list(zip(self.sockets, targets, strict=False)), in_flight=in_flight, max_requests=requests)
        load.run()
        if load.failed != (load.requests if refused else 0):
            raise RuntimeError(f"errors {load.errors}")
        return load

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.reactor.stop(1.0)
        self.flusher.stop()
        for log in self.logs:
            log.close()
        shutil.rmtree(self.directory)
