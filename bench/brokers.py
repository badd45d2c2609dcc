"""Brokers that a comparison starts and stops: kafkax from this checkout, Apache Kafka 4.3.1, and the floor (``bench/floor``)."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from bench.ports import free_port
from kafkax.cli.perf.bootstrap import Address, Bootstrap, Topic
from kafkax.errors import ErrorCode, KafkaError

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 60.0
SETTLE_S = 0.5
FLOOR_TOPIC = "floor"


def real_kafka() -> Path | None:
    """The script that starts Apache Kafka: ``KAFKAX_REAL_KAFKA``, or where a checkout may have it beside itself."""
    path = Path(os.environ.get("KAFKAX_REAL_KAFKA") or ROOT.parent / "shared" / "tools" / "real-kafka")
    return path if path.exists() else None


class Broker(ABC):
    """A broker on loopback with its data in a directory of its own."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.port = free_port(1)  # the next one is for Apache Kafka's controller
        self.pid = 0
        self.start_seconds = 0.0
        """From the start of the process until it accepted a connection."""

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    def start(self) -> None:
        """Start it and wait until it accepts connections; raises RuntimeError when it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        self.launch()
        while True:
            try:
                socket.create_connection(self.address, timeout=1).close()
                break
            except OSError:
                if time.monotonic() - started > START_TIMEOUT_S or not self.alive():
                    raise RuntimeError(f"{self.name} does not listen on port {self.port}; see {self.directory}/out.log") from None
                time.sleep(0.005)
        self.start_seconds = time.monotonic() - started

    @abstractmethod
    def launch(self) -> None:
        """Start the process and set ``pid``."""

    def alive(self) -> bool:
        return self.pid > 0 and Path(f"/proc/{self.pid}").exists()

    @abstractmethod
    def stop(self) -> None:
        """End the process in an orderly way and wait for it."""

    def create_topic(self, name: str, partitions: int, configs: dict[str, str] | None = None) -> Topic:
        with Bootstrap(self.address) as bootstrap:
            bootstrap.create_topic(name, partitions, configs=configs)
            topic = bootstrap.topic(name)
        # Metadata names the leaders before they have all taken over.
        time.sleep(SETTLE_S)
        return topic

    def delete_topic(self, name: str) -> None:
        with Bootstrap(self.address) as bootstrap:
            try:
                bootstrap.delete_topic(name)
            except KafkaError as error:
                if error.code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                    raise

    def versions(self) -> dict[int, int]:
        """The newest version of each API that it and the generator both know."""
        with Bootstrap(self.address) as bootstrap:
            return bootstrap.versions

    def cpu_seconds(self) -> float:
        """Processor time that its process used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE


    def own_bytes(self) -> int:
        """Resident memory that is no file's: what may leak.  Maps of index files grow with the log and are the page cache's."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024


class Child(Broker):
    """A broker that is a child process of ours."""

    process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments."""

    def launch(self) -> None:
        with (self.directory / "out.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT)
        self.pid = self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Floor(Child):
    """The bare C server; its one topic starts empty whenever a topic is created."""

    name = "floor"

    @staticmethod
    def build(directory: Path) -> Path:
        """Compile it; raises RuntimeError with the compiler's words."""
        directory.mkdir(parents=True, exist_ok=True)
        core, program = ROOT / "kafkax" / "_core" / "c", directory / "floor.bin"
        sources = [ROOT / "bench" / "floor" / "floor.c", core / "crc32c_impl.c"]
        compiler = os.environ.get("CC", "gcc").split()
        command = [*compiler, "-O3", "-Wall", "-Wextra", f"-I{core}", *map(str, sources), "-o", str(program)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"the floor does not compile:\n{result.stderr}")
        return program

    partitions = 6

    def command(self) -> list[str]:
        return [str(self.build(self.directory)), str(self.port), str(self.directory), FLOOR_TOPIC, str(self.partitions)]

    def create_topic(self, name: str, partitions: int, configs: dict[str, str] | None = None) -> Topic:
        self.stop()
        self.partitions = partitions
        self.start()
        with Bootstrap(self.address) as bootstrap:
            return bootstrap.topic(FLOOR_TOPIC)

    def delete_topic(self, name: str) -> None:
        for path in self.directory.glob("*.log"):
            os.truncate(path, 0)


class Kafkax(Child):
    """kafkax from this checkout, with its defaults."""

    name = "kafkax"

    def __init__(self, directory: Path, overrides: dict[str, str] | None = None) -> None:
        super().__init__(directory)
        self.overrides = overrides or {}

    def command(self) -> list[str]:
        settings = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self.directory / "data"),
            "log.segment.delete.delay.ms": "1000",
            **self.overrides,
        }
        arguments = [argument for key, value in settings.items() for argument in ("--override", f"{key}={value}")]
        return [sys.executable, "-m", "kafkax", "broker", *arguments]


class Kafka(Broker):
    """Apache Kafka 4.3.1 in KRaft mode, one node, with its defaults."""

    name = "kafka"

    def launch(self) -> None:
        script = real_kafka()
        if script is None:
            raise RuntimeError("Apache Kafka is not there: KAFKAX_REAL_KAFKA names a script that starts it")
        command = [str(script), "kraft", str(self.directory), str(self.port), "log.segment.delete.delay.ms=1000"]
        subprocess.run(command, check=True, capture_output=True, timeout=180)
        self.pid = int((self.directory / "pid").read_text())

    def stop(self) -> None:
        if self.pid:
            subprocess.run([str(real_kafka()), "stop", str(self.directory)], check=True, capture_output=True, timeout=120)


def settle(brokers: Iterable[Broker], memory: int) -> None:
    """Wait until what the last run left behind is done with, so that the next one has the machine to itself.

    Deleted topics are gone from the disk and what was written is on it. The host has given the memory that the next ``memory``
    bytes of page cache will lie in: a virtual machine that hands free memory back (free page reporting) gets it again page by
    page, which takes twelve times as long as writing to it, and which run meets such pages depends on those before.  No more
    than half of what is free is taken for that.
    """
    until = time.monotonic() + SETTLE_TIMEOUT_S
    while any(name.endswith("-delete") for broker in brokers for _, names, _ in os.walk(broker.directory) for name in names):
        if time.monotonic() > until:
            raise RuntimeError(f"deleted topics are still there after {SETTLE_TIMEOUT_S:g} s")
        time.sleep(0.05)
    os.sync()
    size = min(memory, os.sysconf("SC_AVPHYS_PAGES") * PAGE // 2)
    if size:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def remove(broker: Broker) -> None:
    """Delete its data."""
    shutil.rmtree(broker.directory, ignore_errors=True)
