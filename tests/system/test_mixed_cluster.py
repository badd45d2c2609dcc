"""A cluster of Apache Kafka 3.9 moved to kafkax broker by broker and back, on the same directories, under load.

Each side is controller in turn and has its brokers killed.

Takes minutes: ``KAFKAX_CLUSTER_ROUNDS`` asks for it, as ci/nightly does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.compat.brokers import real_kafka
from tests.system.clusters import Admin, Node, TestCluster, wait_until
from tests.system.ledger import Readers, Workload, problems, read_replica
from tests.zookeeper_server import missing

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
PARTITIONS = 4
TOPIC = "ledger"

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(real_kafka() is None, reason="needs a launcher of Apache Kafka, Java and Maven"),
    pytest.mark.skipif(ROUNDS == 0, reason="takes minutes; KAFKAX_CLUSTER_ROUNDS=1 asks for it"),
]


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
        configs = {"log.dirs": str(self._node.data), "zookeeper.session.timeout.ms": "6000", **self._configs}
        given = [f"{key}={value}" for key, value in configs.items()]
        command = [str(launcher), "zkbroker", str(self._folder), str(self._node.port), str(self._node.number), self._zookeeper]
        # the launcher gives up earlier than a busy machine needs
        subprocess.run([*command, *given], check=False, timeout=120, env={**os.environ, "HEAP": "300m"})
        wait_until(self._listens, f"Apache Kafka {self._node.number} listens", 180)

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
        wait_until(lambda: not _alive(pid), f"Apache Kafka {self._node.number} ended", 120)

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return _alive(int((self._folder / "pid").read_text()))

    def kill(self) -> None:
        """Kill it if it runs."""
        try:
            os.kill(int((self._folder / "pid").read_text()), signal.SIGKILL)
        except (OSError, ValueError):
            return


def make_controller(cluster: TestCluster, node: Node) -> None:
    """Let the office of controller be vacated until this broker has it."""
    from kazoo.client import KazooClient
    from kazoo.exceptions import NoNodeError

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


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timeout(1500)
def test_every_broker_is_exchanged_and_exchanged_back(tmp_path: Path) -> None:
    configs = {"min.insync.replicas": "2", "offsets.topic.num.partitions": "3", "auto.leader.rebalance.enable": "false"}
    cluster = TestCluster(tmp_path, numbers=(1, 2, 3), configs=configs, same_host=True)
    kafka = {number: Apache(node, cluster.zookeeper.address, configs) for number, node in cluster.nodes.items()}
    workload: Workload | None = None
    readers: Readers | None = None
    try:
        for apache in kafka.values():
            apache.start()
        admin = Admin(cluster.bootstrap)
        admin.create(TOPIC, PARTITIONS)
        workload = Workload(cluster.bootstrap, TOPIC, PARTITIONS)
        readers = Readers(cluster.bootstrap, TOPIC)
        wait_until(workload.more, "producers go on")
        for number, node in cluster.nodes.items():
            kafka[number].stop()
            node.start()
            admin.wait_in_sync(TOPIC, list(cluster.nodes), 120)
            wait_until(workload.more, f"producers go on, {number} being kafkax", 120)
            make_controller(cluster, node)
            wait_until(workload.more, f"producers go on, {number} being the controller", 120)
            node.kill()
            node.start()
            admin.wait_in_sync(TOPIC, list(cluster.nodes), 120)
            wait_until(workload.more, f"producers go on, {number} having been killed", 120)
        for number, node in cluster.nodes.items():
            assert node.stop() == 0
            kafka[number].start()
            admin.wait_in_sync(TOPIC, list(cluster.nodes), 120)
            wait_until(workload.more, f"producers go on, {number} being Apache Kafka again", 120)
            make_controller(cluster, node)
            wait_until(workload.more, f"producers go on, {number} being the controller", 120)
            kafka[number].kill()
            wait_until(lambda of=kafka[number]: not of.running, f"Apache Kafka {number} ended")  # type: ignore[misc]
            kafka[number].start()
            admin.wait_in_sync(TOPIC, list(cluster.nodes), 120)
            wait_until(workload.more, f"producers go on, {number} having been killed", 120)
        workload.finish()
        assert workload.errors == []
        told, seen = workload.acknowledged, readers
        wait_until(lambda: seen.has_all(told), "everything acknowledged was read", 120)
        readers.end()
        assert readers.changed == []
        admin.wait_in_sync(TOPIC, list(cluster.nodes), 120)
        for apache in kafka.values():
            apache.stop()
        replicas = {
            partition: {number: read_replica(node.data / f"{TOPIC}-{partition}") for number, node in cluster.nodes.items()}
            for partition in range(PARTITIONS)
        }
        assert len(workload.acknowledged) > 1000
        assert problems(workload.acknowledged, replicas) == []
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        if workload is not None:
            workload.abandon()
        if readers is not None:
            readers.end()
        for apache in kafka.values():
            apache.kill()
        cluster.close()
