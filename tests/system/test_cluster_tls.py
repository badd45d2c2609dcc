"""Clusters whose brokers speak TLS to each other, each with a certificate of its own that the others ask for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.compat.brokers import real_kafka
from tests.system.apache import Apache, make_controller
from tests.system.clusters import Node, TestCluster, wait_until
from tests.system.work import TOPIC, World, at_work
from tests.unit.net.certificates import self_signed
from tests.zookeeper_server import missing

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(420),
]


CONFIGS = {"min.insync.replicas": "2"}


def tls_cluster(folder: Path, numbers: Sequence[int] = (11, 12, 13), *, same_host: bool = False) -> TestCluster:
    """Three brokers that let nobody speak to them by an SSL listener who has no certificate that they trust."""
    cluster = TestCluster(folder, numbers, CONFIGS, same_host=same_host)
    names = {node.number: f"broker-{node.number}" for node in cluster.nodes.values()}
    pems = {number: self_signed(folder, name, f"IP:{cluster.nodes[number].host}") for number, name in names.items()}
    client = self_signed(folder, "client")
    trusted = folder / "trusted.crt"
    trusted.write_text("".join((folder / f"{name}.crt").read_text() for name in (*names.values(), "client")))
    for node in cluster.nodes.values():
        node.configs |= {
            "listeners": f"SSL://{node.address}",
            "security.inter.broker.protocol": "SSL",
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(pems[node.number]),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(trusted),
        }
    cluster.client = {
        "security.protocol": "SSL",
        "ssl.ca.location": str(trusted),
        "ssl.certificate.location": str(client),
        "ssl.key.location": str(client),
    }
    return cluster


def with_plain_listeners(cluster: TestCluster) -> None:
    """Let clients connect without TLS; brokers go on with it, by a listener of another name."""
    for node in cluster.nodes.values():
        inner = node.port + 1
        del node.configs["security.inter.broker.protocol"]
        node.configs |= {
            "listeners": f"PLAINTEXT://{node.address},INSIDE://{node.host}:{inner}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:SSL",
            "inter.broker.listener.name": "INSIDE",
        }
    cluster.client = {}


def fail_over(world: World, node: Node) -> None:
    """Wait until another broker leads than this one, which is gone; then it comes back."""
    wait_until(lambda: world.admin.leader(TOPIC) not in (node.number, -1), "another broker leads")
    world.goes_on()
    node.start()
    world.all_in_sync()


def test_brokers_replicate_and_fail_over_by_tls_alone(tmp_path: Path) -> None:
    with at_work(tls_cluster(tmp_path)) as world:
        node = world.leader()
        node.kill()
        fail_over(world, node)
        node = world.leader()
        assert node.stop() == 0
        fail_over(world, node)


@pytest.mark.skipif(ROUNDS == 0, reason="takes half a minute; KAFKAX_CLUSTER_ROUNDS=1 asks for it")
def test_clients_need_no_tls_where_only_brokers_use_it(tmp_path: Path) -> None:
    cluster = tls_cluster(tmp_path)
    with_plain_listeners(cluster)
    with at_work(cluster) as world:
        for _ in range(ROUNDS):
            node = world.leader()
            node.kill()
            fail_over(world, node)


@pytest.mark.skipif(real_kafka() is None, reason="needs a launcher of Apache Kafka, Java and Maven")
@pytest.mark.skipif(ROUNDS == 0, reason="takes minutes; KAFKAX_CLUSTER_ROUNDS=1 asks for it")
def test_apache_kafka_is_a_peer_by_tls(tmp_path: Path) -> None:
    cluster = tls_cluster(tmp_path, (1, 2, 3), same_host=True)
    first, _, third = cluster.nodes.values()
    kept = ("listeners", "security.", "ssl.")
    apache = Apache(third, cluster.zookeeper.address, {k: v for k, v in third.configs.items() if k.startswith(kept)} | CONFIGS)

    def start() -> None:
        apache.start()
        for node in cluster.nodes.values():
            if node is not third:
                node.start()

    def stop() -> None:
        cluster.stop()
        apache.stop()

    try:
        with at_work(cluster, start=start, stop=stop) as world:
            world.all_in_sync()
            make_controller(cluster, third)
            first.kill()
            world.goes_on("with Apache Kafka as the controller")
            first.start()
            world.all_in_sync()
            make_controller(cluster, first)
            apache.stop()
            world.goes_on("without Apache Kafka")
            apache.start()
            world.all_in_sync()
            world.admin.elect_preferred(TOPIC)
            world.goes_on("with Apache Kafka leading again")
    finally:
        apache.kill()
