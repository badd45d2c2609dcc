"""A cluster at work: producers and consumers that go on through everything, and a look at what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from tests.system.clusters import Admin, Node, TestCluster, wait_until
from tests.system.ledger import Readers, ReplicaLog, Workload, problems, read_replica
from tests.system.wire import Wire

PARTITIONS = 4
TOPIC = "ledger"
PATIENCE_SECONDS = 120.0


class World(NamedTuple):
    """A cluster at work."""

    cluster: TestCluster
    admin: Admin
    workload: Workload

    def leader(self) -> Node:
        """The leader of the first partition."""
        wait_until(lambda: self.admin.leader(TOPIC) in self.cluster.nodes, "somebody leads")
        return self.cluster.nodes[self.admin.leader(TOPIC)]

    def leads_no_more(self, node: Node) -> None:
        """Wait until the others know that somebody else leads the first partition; it itself may be out of touch."""
        others = [other for other in self.cluster.nodes.values() if other is not node and other.running]
        wait_until(
            lambda: all(led_by(other) not in (node.number, -1) for other in others),
            f"another broker leads instead of {node.number}",
        )

    def goes_on(self, when: str = "") -> None:
        """Wait until producers have more acknowledged."""
        self.workload.renew_mark()
        wait_until(self.workload.more, f"producers go on {when}", PATIENCE_SECONDS)

    def all_in_sync(self) -> None:
        """Wait until every broker has everything, and producers have more acknowledged."""
        self.admin.wait_in_sync(TOPIC, list(self.cluster.nodes), PATIENCE_SECONDS)
        self.goes_on()


def led_by(node: Node) -> int:
    """Who leads the first partition as this broker has it."""
    with Wire(node.address, timeout=30) as wire:
        answer = wire.ask(MetadataRequest(topics=[MetadataRequestTopic(name=TOPIC)]), 9)
    return next((each.leader_id for each in answer.topics[0].partitions if each.partition_index == 0), -1)


def log_dirs(node: Node) -> list[str]:
    """A broker's directories."""
    return node.configs["log.dirs"].split(",")


def replicas_of(cluster: TestCluster) -> dict[int, dict[int, ReplicaLog]]:
    """What every broker has of every partition, in whichever of its directories."""

    def replica(node: Node, partition: int) -> ReplicaLog:
        (found,) = [at for folder in log_dirs(node) if (at := Path(folder) / f"{TOPIC}-{partition}").is_dir()]
        return read_replica(found)

    return {n: {node.number: replica(node, n) for node in cluster.nodes.values()} for n in range(PARTITIONS)}


@contextmanager
def at_work(
    cluster: TestCluster, *, start: Callable[[], None] | None = None, stop: Callable[[], None] | None = None, **topic: str
) -> Iterator[World]:
    """Start a cluster with producers and consumers; at the end everybody must be in sync and everything as it was told.

    Args:
        start: starts the brokers, if that is not what the cluster itself does.
        stop: stops them in order.
        topic: configs of the topic; ``_`` stands for dots.
    """
    readers: Readers | None = None
    workload: Workload | None = None
    try:
        (start or cluster.start)()
        admin = Admin(cluster.bootstrap, **cluster.client)
        admin.create(TOPIC, PARTITIONS, **topic)
        workload = Workload(cluster.bootstrap, TOPIC, PARTITIONS, **cluster.client)
        readers = Readers(cluster.bootstrap, TOPIC, **cluster.client)
        world = World(cluster, admin, workload)
        world.goes_on()
        yield world
        world.all_in_sync()
        workload.finish()
        assert workload.errors == []
        told, seen = workload.acknowledged, readers
        wait_until(lambda: seen.has_all(told), "everything acknowledged was read", PATIENCE_SECONDS)
        readers.end()
        assert readers.changed == []
        admin.wait_in_sync(TOPIC, list(cluster.nodes), PATIENCE_SECONDS)
        (stop or cluster.stop)()
        assert problems(told, replicas_of(cluster)) == []
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        if workload is not None:
            workload.abandon()
        if readers is not None:
            readers.end()
        cluster.close()
