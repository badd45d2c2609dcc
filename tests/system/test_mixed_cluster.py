"""A cluster of Apache Kafka 3.9 moved to kafkax broker by broker and back, on the same directories, under load.

Each side is controller in turn and has its brokers killed.

Takes minutes: ``KAFKAX_CLUSTER_ROUNDS`` asks for it, as ci/nightly does.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.compat.brokers import real_kafka
from tests.system.apache import Apache, make_controller
from tests.system.clusters import TestCluster, wait_until
from tests.system.work import at_work
from tests.zookeeper_server import missing

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(real_kafka() is None, reason="needs a launcher of Apache Kafka, Java and Maven"),
    pytest.mark.skipif(ROUNDS == 0, reason="takes minutes; KAFKAX_CLUSTER_ROUNDS=1 asks for it"),
]


@pytest.mark.timeout(1500)
def test_every_broker_is_exchanged_and_exchanged_back(tmp_path: Path) -> None:
    configs = {"min.insync.replicas": "2", "offsets.topic.num.partitions": "3", "auto.leader.rebalance.enable": "false"}
    cluster = TestCluster(tmp_path, numbers=(1, 2, 3), configs=configs, same_host=True)
    kafka = {number: Apache(node, cluster.zookeeper.address, configs) for number, node in cluster.nodes.items()}

    def start() -> None:
        for apache in kafka.values():
            apache.start()

    def stop() -> None:
        for apache in kafka.values():
            apache.stop()

    try:
        with at_work(cluster, start=start, stop=stop) as world:
            for number, node in cluster.nodes.items():
                kafka[number].stop()
                node.start()
                world.all_in_sync()
                make_controller(cluster, node)
                world.goes_on(f"with {number}, kafkax, as the controller")
                node.kill()
                node.start()
                world.all_in_sync()
            for number, node in cluster.nodes.items():
                assert node.stop() == 0
                kafka[number].start()
                world.all_in_sync()
                make_controller(cluster, node)
                world.goes_on(f"with {number}, Apache Kafka again, as the controller")
                kafka[number].kill()
                wait_until(lambda of=kafka[number]: not of.running, f"Apache Kafka {number} ended")  # type: ignore[misc]
                kafka[number].start()
                world.all_in_sync()
            assert len(world.workload.acknowledged) > 1000
    finally:
        for apache in kafka.values():
            apache.kill()
