"""Brokers that authenticate themselves to ZooKeeper, with znodes of their own: as Apache Kafka has it, and together with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from kazoo.client import KazooClient

from tests.compat.brokers import real_kafka
from tests.system.apache import Apache
from tests.system.clusters import Admin, TestCluster
from tests.zookeeper_server import ZooKeeperServer, missing

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(real_kafka() is None, reason="needs a launcher of Apache Kafka, Java and Maven"),
    pytest.mark.skipif(ROUNDS == 0, reason="takes a minute; KAFKAX_CLUSTER_ROUNDS=1 asks for it"),
    pytest.mark.timeout(420),
]
PASSWORD = "kafka-secret"
AUTH = {"zookeeper.set.acl": "true", "zookeeper.auth.username": "kafka", "zookeeper.auth.password": PASSWORD}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper that knows Kafka's user, whom Apache Kafka is told of, too."""
    server = ZooKeeperServer(tmp_path, users={"kafka": PASSWORD})
    login = tmp_path / "client.conf"
    module = "org.apache.zookeeper.server.auth.DigestLoginModule"
    login.write_text(f'Client {{ {module} required username="kafka" password="{PASSWORD}"; }};\n')
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Djava.security.auth.login.config={login}")
    yield server
    server.kill()


def acls(server: ZooKeeperServer, root: str) -> dict[str, list[str]]:
    """Who may do what with each node below a root."""
    client = KazooClient(
        server.address + root, sasl_options={"mechanism": "DIGEST-MD5", "username": "kafka", "password": PASSWORD}
    )
    client.start()
    found: dict[str, list[str]] = {}
    try:
        paths = ["/"]
        while paths:
            path = paths.pop()
            found[path] = sorted(f"{acl.id.scheme}:{acl.id.id}:{acl.perms}" for acl in client.get_acls(path)[0])
            paths += [f"{path.rstrip('/')}/{name}" for name in client.get_children(path)]
    finally:
        client.stop()
        client.close()
    return found


def test_znodes_belong_to_whom_apache_kafka_gives_them_and_both_may_write_them(tmp_path: Path, server: ZooKeeperServer) -> None:
    cluster = TestCluster(tmp_path, (1, 2, 3), AUTH, same_host=True, zookeeper=server)
    alone, theirs, joining = cluster.nodes.values()
    alone.configs["zookeeper.connect"] = f"{server.address}/kafkax"
    joining.configs["zookeeper.connect"] = f"{server.address}/apache"
    apache = Apache(theirs, f"{server.address}/apache", {"zookeeper.set.acl": "true", "offsets.topic.num.partitions": "3"})
    try:
        alone.start()
        apache.start()
        for node in (alone, theirs):
            Admin(node.address).create("t", 2, 1)
        ours, known = acls(server, "/kafkax"), acls(server, "/apache")
        common = ours.keys() & known.keys()
        assert {"/brokers/topics/t/partitions/0/state", "/config/topics/t", "/config/users", "/consumers"} <= common
        assert {path: ours[path] for path in common} == {path: known[path] for path in common}
        joining.start()
        admin = Admin(theirs.address)
        admin.create("both", 4, 2)
        admin.wait_in_sync("both", (2, 3))
        assert joining.stop() == 0
    finally:
        apache.kill()
        cluster.close()
