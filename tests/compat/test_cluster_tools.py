"""The Java tools of Apache Kafka 4.3.1 and of 3.9.2 administer a cluster of three brokers.

Takes minutes: ``KAFKAX_CLUSTER_ROUNDS`` asks for it, as ci/nightly does.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.system.clusters import Admin, TestCluster, wait_until
from tests.zookeeper_server import missing

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
TOPIC = "tools"
BROKERS = (11, 12, 13)

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(ROUNDS == 0, reason="takes minutes; KAFKAX_CLUSTER_ROUNDS=1 asks for it"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """Three brokers with two log directories each, and a topic of two partitions with a group that has read it."""
    # the clients that look on would make a topic anew that was just deleted
    made = TestCluster(tmp_path_factory.mktemp("tools"), BROKERS, {"auto.create.topics.enable": "false"})
    for node in made.nodes.values():
        node.configs["log.dirs"] = f"{node.data}-1,{node.data}-2"
    try:
        made.start()
        yield made
    finally:
        made.close()


_PACKAGES = {
    "ConsumerGroupCommand": "org.apache.kafka.tools.consumer.group",
    "ReassignPartitionsCommand": "org.apache.kafka.tools.reassign",
}


class Tools:
    """One version's tools on the cluster."""

    def __init__(self, launcher: Path, version: str, cluster: TestCluster, folder: Path) -> None:
        self._launcher = launcher
        self._version = version
        self._bootstrap = cluster.bootstrap
        self._folder = folder

    def __call__(self, tool: str, *arguments: str, status: int = 0) -> str:
        """What a tool prints."""
        name = f"{_PACKAGES[tool]}.{tool}" if tool in _PACKAGES else tool
        called = [str(self._launcher), self._version, name, "--bootstrap-server", self._bootstrap, *arguments]
        done = subprocess.run(called, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)
        text = done.stdout + done.stderr
        assert done.returncode == status, f"{tool} {arguments} ended with {done.returncode}:\n{text}"
        return text

    def file(self, name: str, content: object) -> str:
        """A file with JSON in it."""
        path = self._folder / name
        path.write_text(json.dumps(content))
        return str(path)


@pytest.mark.parametrize("version", ["tool", "tool39"], ids=["4.3.1", "3.9.2"])
def test_the_tools_administer_a_cluster(kafka_tools: Path, cluster: TestCluster, tmp_path: Path, version: str) -> None:
    tools, topic = Tools(kafka_tools, version, cluster, tmp_path), f"{TOPIC}-{version}"
    admin = Admin(cluster.bootstrap)
    administer_topics(tools, topic)
    write_and_read(cluster, topic, f"group-{version}")
    administer_groups(tools, topic, f"group-{version}")
    administer_configs(tools, topic)
    administer_replicas(tools, admin, topic)
    administer_log_dirs(tools, cluster, topic)
    elect_leaders(tools, cluster, admin, topic)
    assert "marked for deletion" not in tools("TopicCommand", "--delete", "--topic", topic)
    wait_until(lambda: topic not in tools("TopicCommand", "--list").split(), "the topic is gone")


def administer_topics(tools: Tools, topic: str) -> None:
    created = ("--create", "--topic", topic, "--partitions", "2", "--replication-factor", "2", "--config", "retention.ms=3600000")
    assert f"Created topic {topic}" in tools("TopicCommand", *created)
    assert topic in tools("TopicCommand", "--list").split()
    tools("TopicCommand", "--alter", "--topic", topic, "--partitions", "3")
    wait_until(lambda: "PartitionCount: 3" in tools("TopicCommand", "--describe", "--topic", topic), "it has grown")
    described = tools("TopicCommand", "--describe", "--topic", topic)
    assert "ReplicationFactor: 2" in described
    assert "retention.ms=3600000" in described
    assert topic not in tools("TopicCommand", "--describe", "--under-replicated-partitions")
    assert topic not in tools("TopicCommand", "--describe", "--unavailable-partitions")
    assert "exists" in tools("TopicCommand", *created, status=1)


def write_and_read(cluster: TestCluster, topic: str, group: str) -> None:
    from confluent_kafka import Consumer, KafkaException, Producer

    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number in range(300):
        producer.produce(topic, b"%d" % number, partition=number % 3)
    assert producer.flush(60) == 0
    settings = {"bootstrap.servers": cluster.bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    seen: list[object] = []
    wait_until(lambda: seen.extend(consumer.consume(300, 0.5)) or len(seen) >= 300, "everything is read")

    def committed() -> bool:
        try:
            return bool(consumer.commit(asynchronous=False))
        except KafkaException:
            return False

    wait_until(committed, "what was read is committed")
    consumer.close()


def administer_groups(tools: Tools, topic: str, group: str) -> None:
    assert group in tools("ConsumerGroupCommand", "--list").split()
    lines = [line.split() for line in tools("ConsumerGroupCommand", "--describe", "--group", group).splitlines()]
    assert sorted(line[2:6] for line in lines if line[1:2] == [topic]) == [[str(n), "100", "100", "0"] for n in range(3)]
    assert "Empty" in tools("ConsumerGroupCommand", "--describe", "--group", group, "--state")
    tools("ConsumerGroupCommand", "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    lines = [line.split() for line in tools("ConsumerGroupCommand", "--describe", "--group", group).splitlines()]
    assert sorted(line[2:6] for line in lines if line[1:2] == [topic]) == [[str(n), "0", "100", "100"] for n in range(3)]
    assert "successful" in tools("ConsumerGroupCommand", "--delete", "--group", group)
    assert group not in tools("ConsumerGroupCommand", "--list").split()


def administer_configs(tools: Tools, topic: str) -> None:
    of_topic = ("--entity-type", "topics", "--entity-name", topic)
    tools("ConfigCommand", "--alter", *of_topic, "--add-config", "max.message.bytes=20000")
    wait_until(lambda: "max.message.bytes=20000" in tools("ConfigCommand", "--describe", *of_topic), "the topic's config is set")
    tools("ConfigCommand", "--alter", *of_topic, "--delete-config", "max.message.bytes")
    wait_until(lambda: "max.message.bytes" not in tools("ConfigCommand", "--describe", *of_topic), "the topic's config is gone")
    for entity in (("--entity-name", "12"), ("--entity-default",)):
        of_broker = ("--entity-type", "brokers", *entity)
        tools("ConfigCommand", "--alter", *of_broker, "--add-config", "log.cleaner.threads=2")
        wait_until(lambda of=of_broker: "log.cleaner.threads=2" in tools("ConfigCommand", "--describe", *of), "it is set")
        tools("ConfigCommand", "--alter", *of_broker, "--delete-config", "log.cleaner.threads")


def administer_replicas(tools: Tools, admin: Admin, topic: str) -> None:
    topics = tools.file("topics.json", {"topics": [{"topic": topic}], "version": 1})
    proposed = tools("ReassignPartitionsCommand", "--generate", "--topics-to-move-json-file", topics, "--broker-list", "11,12,13")
    assert "Proposed partition reassignment configuration" in proposed
    moves = [{"topic": topic, "partition": n, "replicas": [13, 12, 11]} for n in range(3)]
    plan = tools.file("moves.json", {"version": 1, "partitions": moves})
    begun = tools("ReassignPartitionsCommand", "--execute", "--reassignment-json-file", plan, "--throttle", "50000000")
    assert "Successfully started partition reassignments" in begun
    throttled = tools("ConfigCommand", "--describe", "--entity-type", "topics", "--entity-name", topic)
    assert "leader.replication.throttled.replicas" in throttled
    admin.wait_in_sync(topic, BROKERS)

    def done() -> bool:
        return "is still in progress" not in tools("ReassignPartitionsCommand", "--verify", "--reassignment-json-file", plan)

    wait_until(done, "every partition has moved")
    assert "No partition reassignments found" in tools("ReassignPartitionsCommand", "--list")
    # --verify takes the throttles away
    throttled = tools("ConfigCommand", "--describe", "--entity-type", "topics", "--entity-name", topic)
    assert "throttled.replicas" not in throttled
    rates = tools("ConfigCommand", "--describe", "--entity-type", "brokers", "--entity-name", "11")
    assert "throttled.rate=50000000" not in rates


def administer_log_dirs(tools: Tools, cluster: TestCluster, topic: str) -> None:
    def places() -> dict[str, str]:
        described = tools("LogDirsCommand", "--describe", "--broker-list", "11", "--topic-list", topic)
        (line,) = [line for line in described.splitlines() if line.startswith("{")]
        (broker,) = json.loads(line)["brokers"]
        return {each["partition"]: where["logDir"] for where in broker["logDirs"] for each in where["partitions"]}

    before = places()
    assert sorted(before) == [f"{topic}-{n}" for n in range(3)]
    node = cluster.nodes[11]
    (other,) = {f"{node.data}-1", f"{node.data}-2"} - {before[f"{topic}-0"]}
    move = {"topic": topic, "partition": 0, "replicas": [13, 12, 11], "log_dirs": ["any", "any", other]}
    plan = tools.file("dirs.json", {"version": 1, "partitions": [move]})
    tools("ReassignPartitionsCommand", "--execute", "--reassignment-json-file", plan)
    wait_until(lambda: places()[f"{topic}-0"] == other, "it has moved to the other directory")


def elect_leaders(tools: Tools, cluster: TestCluster, admin: Admin, topic: str) -> None:
    node = cluster.nodes[13]
    assert node.stop() == 0
    wait_until(lambda: admin.leader(topic) not in (13, -1), "another broker leads")
    assert topic in tools("TopicCommand", "--describe", "--under-replicated-partitions")
    node.start()
    admin.wait_in_sync(topic, BROKERS)
    elected = tools("LeaderElectionCommand", "--election-type", "preferred", "--topic", topic, "--partition", "0")
    assert "Successfully completed leader election" in elected
    wait_until(lambda: admin.leader(topic) == 13, "the preferred replica leads")
    tools("LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")
