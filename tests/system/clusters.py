"""Clusters of real processes: kafkax brokers, each on an address of its own (127.0.0.N), with a real ZooKeeper."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.ports import free_port
from tests.compat.brokers import REPOSITORY
from tests.zookeeper_server import ZooKeeperEnsemble, ZooKeeperServer

SESSION_MS = 4000
START_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Poll until something holds; fails with ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


class Node:
    """One broker: started, killed, stopped, paused and started again on the same address and data."""

    def __init__(
        self, number: int, folder: Path, zookeeper: str, configs: dict[str, str], program: Sequence[str], host: str
    ) -> None:
        self.number = number
        self.host = host
        self.port = free_port(1, host)
        """The next one is free as well, for whoever wants another listener."""
        self.address = f"{self.host}:{self.port}"
        self.data = folder / f"broker-{number}"
        self.log = folder / f"broker-{number}.log"
        self.configs = {
            "node.id": str(number),
            "listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": str(self.data),
            "zookeeper.connect": zookeeper,
            "zookeeper.session.timeout.ms": str(SESSION_MS),
            # the members of an ensemble first elect a leader
            "zookeeper.connection.timeout.ms": "60000",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "3",
            "replica.lag.time.max.ms": "6000",
            "auto.leader.rebalance.enable": "false",
            **configs,
        }
        self._program = program
        self.process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait for its ready line unless told otherwise."""
        command = [*self._program]
        for key, value in self.configs.items():
            command += ["--override", f"{key}={value}"]
        self._ready.clear()
        with self.log.open("a") as sink:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=sink, text=True)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        if wait:
            self.wait_ready()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if "is ready" in line and process is self.process:
                self._ready.set()

    def wait_ready(self) -> None:
        """Wait for the ready line."""
        wait_until(lambda: self._ready.is_set() or not self.running, f"broker {self.number} is ready", START_SECONDS)
        assert self.running, f"broker {self.number} ended:\n{self.log.read_text()[-3000:]}"

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(START_SECONDS)


class TestCluster:
    """A ZooKeeper and some brokers.

    Args:
        program: how a broker is started; overrides are appended.
        same_host: whether all have the address 127.0.0.1.
        zookeeper: a server or an ensemble to use instead of a server of its own.

    Attributes:
        client: what clients need beside the addresses.
    """

    __test__ = False

    def __init__(
        self,
        folder: Path,
        numbers: Sequence[int] = (11, 12, 13),
        configs: dict[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "kafkax", "broker"),
        *,
        same_host: bool = False,
        zookeeper: ZooKeeperServer | ZooKeeperEnsemble | None = None,
    ) -> None:
        self.client: dict[str, str] = {}
        self.zookeeper = zookeeper or ZooKeeperServer(folder)
        self.nodes = {
            n: Node(n, folder, self.zookeeper.address, configs or {}, program, "127.0.0.1" if same_host else f"127.0.0.{n}")
            for n in numbers
        }

    @property
    def bootstrap(self) -> str:
        """Addresses of all brokers."""
        return ",".join(node.address for node in self.nodes.values())

    def start(self) -> None:
        """Start all brokers."""
        for node in self.nodes.values():
            node.start(wait=False)
        for node in self.nodes.values():
            node.wait_ready()

    def close(self) -> None:
        """Kill everything that runs."""
        for node in self.nodes.values():
            node.kill()
        self.zookeeper.kill()

    def stop(self) -> None:
        """Stop all brokers in order, one after the other."""
        for node in self.nodes.values():
            if node.running:
                assert node.stop() == 0

    def logs(self) -> str:
        """The ends of the brokers' logs, for a failure's message."""
        logs = {node.number: node.log.read_text()[-2500:] for node in self.nodes.values() if node.log.exists()}
        return "\n".join(f"== {number}\n{log}" for number, log in logs.items())


class Admin:
    """What the tests ask a cluster, with a client of somebody else."""

    def __init__(self, bootstrap: str, **configs: str) -> None:
        from confluent_kafka.admin import AdminClient

        self._client = AdminClient(
            {"bootstrap.servers": bootstrap, "log_level": 0, "topic.metadata.refresh.interval.ms": 500, **configs}
        )

    def create(self, name: str, partitions: int, replicas: int = 3, **configs: str) -> None:
        """Create a topic; ``_`` in config names stand for dots."""
        from confluent_kafka.admin import NewTopic

        config = {key.replace("_", "."): value for key, value in configs.items()}
        topic = NewTopic(name, partitions, replicas, config=config)
        self._client.create_topics([topic], operation_timeout=30)[name].result(60)

    def elect_preferred(self, name: str) -> None:
        """Let the first replica of each partition lead."""
        from confluent_kafka import ElectionType, TopicPartition

        partitions = [TopicPartition(name, number) for number in self._partitions(name)]
        self._client.elect_leaders(ElectionType.PREFERRED, partitions).result(60)

    def _partitions(self, name: str) -> dict[int, object]:
        from confluent_kafka import KafkaException

        try:
            return dict(self._client.list_topics(name, timeout=5).topics[name].partitions)
        except KafkaException:
            return {}

    def leader(self, name: str, partition: int = 0) -> int:
        """Broker id of a partition's leader, -1 when there is none at the moment."""
        found = self._partitions(name).get(partition)
        return -1 if found is None else int(found.leader)  # type: ignore[attr-defined]

    def isrs(self, name: str) -> dict[int, frozenset[int]]:
        """In-sync replicas by partition."""
        return {n: frozenset(found.isrs) for n, found in self._partitions(name).items()}  # type: ignore[attr-defined]

    def wait_in_sync(self, name: str, brokers: Sequence[int], seconds: float = 60.0) -> None:
        """Wait until these are in sync everywhere."""

        def all_in_sync() -> bool:
            isrs = self.isrs(name)
            return bool(isrs) and all(isr == frozenset(brokers) for isr in isrs.values())

        wait_until(all_in_sync, f"{name} is in sync on {list(brokers)}", seconds)
