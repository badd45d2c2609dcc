"""Apache Kafka 3.9 as a member of a cluster of real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from tests.compat.brokers import real_kafka
from tests.processes import alive
from tests.system.clusters import Node, TestCluster, wait_until


class Apache:
    """Apache Kafka in a node's place: the same id, address and directory."""

    def __init__(self, node: Node, zookeeper: str, configs: dict[str, str]) -> None:
        self._node = node
        self._folder = node.data.parent / f"kafka-{node.number}"
        self._folder.mkdir()
        self._zookeeper = zookeeper
        self._configs = configs

    def start(self) -> None:
        """Start it, and wait until it listens."""
        launcher = real_kafka()
        assert launcher is not None
        self._wait_until_forgotten()
        configs = {"log.dirs": str(self._node.data), "zookeeper.session.timeout.ms": "6000", **self._configs}
        given = [f"{key}={value}" for key, value in configs.items()]
        command = [str(launcher), "zkbroker", str(self._folder), str(self._node.port), str(self._node.number), self._zookeeper]
        # the launcher gives up earlier than a busy machine needs
        subprocess.run([*command, *given], check=False, timeout=120, env={**os.environ, "HEAP": "300m"})
        wait_until(self._listens, f"Apache Kafka {self._node.number} listens", 180)

    def _wait_until_forgotten(self) -> None:
        """No earlier session of the broker may be left: Apache Kafka begins to serve, and ends when it finds one."""
        zookeeper = KazooClient(self._zookeeper)
        zookeeper.start()
        try:
            path = f"/brokers/ids/{self._node.number}"
            wait_until(lambda: zookeeper.exists(path) is None, f"the session of broker {self._node.number} is over")
        finally:
            zookeeper.stop()
            zookeeper.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._node.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """SIGTERM, and wait."""
        pid = int((self._folder / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), f"Apache Kafka {self._node.number} ended", 120)

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return alive(int((self._folder / "pid").read_text()))

    def kill(self) -> None:
        """Kill it if it runs."""
        try:
            os.kill(int((self._folder / "pid").read_text()), signal.SIGKILL)
        except (OSError, ValueError):
            return


def make_controller(cluster: TestCluster, node: Node) -> None:
    """Let the office of controller be vacated until this broker has it."""
    zookeeper = KazooClient(cluster.zookeeper.address)
    zookeeper.start()
    try:
        for _ in range(200):
            try:
                holder = json.loads(zookeeper.get("/controller")[0])["brokerid"]
                if holder == node.number:
                    return
                zookeeper.delete("/controller")
            except NoNodeError:
                holder = None
            time.sleep(0.5)
    finally:
        zookeeper.stop()
    raise AssertionError(f"broker {node.number} did not become controller")
