"""Three brokers and a ZooKeeper: leaders are killed and stopped while idempotent producers go on; nothing acknowledged is lost.

``KAFKAX_CLUSTER_ROUNDS`` sets how often each fault strikes; ci/nightly asks for more.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.system.clusters import SESSION_MS, Admin, Node, TestCluster, wait_until
from tests.system.ledger import Workload, problems, read_replica
from tests.zookeeper_server import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
PARTITIONS = 3
TOPIC = "ledger"


def check(cluster: TestCluster, admin: Admin, workload: Workload) -> None:
    """End the workload and compare what it was told with what every replica holds."""
    workload.finish()
    assert workload.errors == []
    admin.wait_in_sync(TOPIC, list(cluster.nodes))
    cluster.stop()
    replicas = {
        partition: {number: read_replica(node.data / f"{TOPIC}-{partition}") for number, node in cluster.nodes.items()}
        for partition in range(PARTITIONS)
    }
    assert problems(workload.acknowledged, replicas) == []


def strike(cluster: TestCluster, admin: Admin, workload: Workload, fault: Callable[[Node], None]) -> None:
    """Let a fault befall the leader of a partition; afterwards the producers go on, and then everybody is in sync again."""
    leader = admin.leader(TOPIC)
    node = cluster.nodes[leader]
    fault(node)
    workload.renew_mark()
    wait_until(lambda: admin.leader(TOPIC) not in (leader, -1), f"another broker leads {TOPIC}-0 instead of {leader}")
    wait_until(workload.more, "producers go on")
    if not node.running:
        node.start()
    node.signal(signal.SIGCONT)
    admin.wait_in_sync(TOPIC, list(cluster.nodes))
    wait_until(workload.more, "producers go on")


def kill(node: Node) -> None:
    """The process dies."""
    node.kill()


def stop(node: Node) -> None:
    """The process stops in order."""
    assert node.stop() == 0


def pause(node: Node) -> None:
    """The process is silent for longer than its session lasts."""
    node.signal(signal.SIGSTOP)
    time.sleep(SESSION_MS / 1000)


@pytest.mark.timeout(300 + 200 * ROUNDS)
def test_leaders_come_and_go_without_loss(tmp_path: Path) -> None:
    cluster = TestCluster(tmp_path, configs={"min.insync.replicas": "2"})
    workload: Workload | None = None
    try:
        cluster.start()
        admin = Admin(cluster.bootstrap)
        admin.create(TOPIC, PARTITIONS)
        workload = Workload(cluster.bootstrap, TOPIC, PARTITIONS)
        wait_until(workload.more, "producers go on")
        for fault in (kill, stop, *(pause, kill, stop) * ROUNDS):
            strike(cluster, admin, workload, fault)
        check(cluster, admin, workload)
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        if workload is not None:
            workload.abandon()
        cluster.close()
