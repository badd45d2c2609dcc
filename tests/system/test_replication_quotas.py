"""A partition gets a new replica at a limited rate, while others are not held up; without the limit it goes on at full speed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import Producer

from kafkax.client.admin import AdminClient
from kafkax.client.admin.types import ConfigAlteration, ConfigOperation, ConfigResource, ResourceType
from tests.compat.brokers import REPOSITORY
from tests.system.clusters import Admin, TestCluster, wait_until
from tests.zookeeper_server import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

RATE = 2_000_000
MEGABYTES = 60
MEASURED_SECONDS = 10.0
OLD, NEW = (11, 12), 13
PIECE = {"replica.fetch.max.bytes": "262144", "replica.fetch.wait.max.ms": "100"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[TestCluster]:
    cluster = TestCluster(tmp_path, configs=PIECE)
    try:
        cluster.start()
        yield cluster
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        cluster.close()


def tool(cluster: TestCluster, *arguments: str) -> str:
    """What ``kafkax reassign-partitions`` prints."""
    command = [sys.executable, "-m", "kafkax", "reassign-partitions", "--bootstrap-server", cluster.bootstrap, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def size(cluster: TestCluster, topic: str) -> int:
    """Bytes of the topic's partition 0 on the new broker."""
    return sum(file.stat().st_size for file in (cluster.nodes[NEW].data / f"{topic}-0").glob("*.log"))


def fill(cluster: TestCluster, topic: str) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "compression.type": "none", "linger.ms": 20})
    for _ in range(MEGABYTES * 10):
        producer.produce(topic, b"x" * 100_000, partition=0)
        producer.poll(0)
    assert producer.flush(60) == 0


def configs(admin: AdminClient, kind: ResourceType, name: str) -> set[str]:
    """Names of the throttles that are set for a topic or broker."""
    (found,) = [future.result() for future in admin.describe_configs([ConfigResource(kind, name)]).values()]
    return {each.name for each in found.values() if "replication.throttled" in each.name and not each.is_default}


class Others:
    """Writes to a topic that nobody throttles, and notes how long acknowledgements take."""

    def __init__(self, cluster: TestCluster, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 0})
        self._topic = topic
        self._ended = threading.Event()
        self._seconds: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            began = time.monotonic()
            self._producer.produce(self._topic, b"y" * 1000, partition=0)
            assert self._producer.flush(60) == 0
            self._seconds.append(time.monotonic() - began)

    def median(self, least: int = 20) -> float:
        """The median time of the acknowledgements since the last call, of which there are so many at least."""
        wait_until(lambda: len(self._seconds) >= least, "others are acknowledged")
        seconds, self._seconds = sorted(self._seconds), []
        return seconds[len(seconds) // 2]

    def end(self) -> None:
        """Write no more."""
        self._ended.set()
        self._thread.join()


def throttle_and_measure(cluster: TestCluster, topic: str, plan: Path) -> float:
    """Begin the move; bytes a second that the new replica gets once it has begun."""
    tool(cluster, "--execute", "--reassignment-json-file", str(plan), "--throttle", str(RATE))
    wait_until(lambda: size(cluster, topic) > 0, "the new replica has something")
    began, before = time.monotonic(), size(cluster, topic)
    time.sleep(MEASURED_SECONDS)
    return (size(cluster, topic) - before) / (time.monotonic() - began)


@pytest.mark.timeout(240)
def test_a_throttled_move_keeps_to_its_rate_and_holds_nobody_else_up(cluster: TestCluster, tmp_path: Path) -> None:
    admin = Admin(cluster.bootstrap)
    admin.create("other", 1)
    admin.create("moved", 1, 2)
    plan, old = tmp_path / "plan.json", tmp_path / "old.json"
    begin = {"other": (*OLD, NEW), "moved": OLD}
    for path, places in ((old, begin), (plan, {"moved": (*OLD, NEW)})):
        parts = [{"topic": topic, "partition": 0, "replicas": replicas} for topic, replicas in places.items()]
        path.write_text(json.dumps({"partitions": parts}))
    tool(cluster, "--execute", "--reassignment-json-file", str(old))
    wait_until(lambda: set(admin.isrs("moved").get(0, ())) == set(OLD), "the topic is on two brokers")
    wait_until(lambda: "complete" in tool(cluster, "--verify", "--reassignment-json-file", str(old)), "it has moved there")
    for topic in begin:
        admin.elect_preferred(topic)
        wait_until(lambda topic=topic: admin.leader(topic) == OLD[0], "the same broker leads both")  # type: ignore[misc]
    fill(cluster, "moved")
    others = Others(cluster, "other")
    usual = others.median()
    rate = throttle_and_measure(cluster, "moved", plan)
    meanwhile = others.median()
    others.end()
    assert 0.7 * RATE < rate < 1.3 * RATE
    assert meanwhile < 0.1 + 3 * usual, "a topic that is not throttled, with the same brokers and fetchers, goes on as ever"
    with AdminClient({"bootstrap.servers": cluster.bootstrap}) as client:
        assert len(configs(client, ResourceType.TOPIC, "moved")) == 2
        set_to = ConfigOperation.SET
        raised = [ConfigAlteration(f"{side}.replication.throttled.rate", set_to, "1000000000") for side in ("leader", "follower")]
        changes = {ConfigResource(ResourceType.BROKER, str(number)): raised for number in cluster.nodes}
        for future in client.incremental_alter_configs(changes).values():
            future.result()
        began = time.monotonic()
        admin.wait_in_sync("moved", [*OLD, NEW])
        left = MEGABYTES * 1_000_000 - rate * MEASURED_SECONDS
        assert time.monotonic() - began < 0.7 * left / rate, "without the limit what is left comes much faster"
        verified = tool(cluster, "--verify", "--reassignment-json-file", str(plan))
        assert "complete" in verified
        assert configs(client, ResourceType.TOPIC, "moved") == set()
        assert all(configs(client, ResourceType.BROKER, str(number)) == set() for number in cluster.nodes)
