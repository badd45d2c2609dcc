"""``kafkax cluster``: counts and choices from metadata."""

from __future__ import annotations

from kafkax.cli.admin.cluster import brokers, command, partitions
from kafkax.client.metadata import BrokerMetadata, ClusterMetadata, PartitionMetadata, TopicMetadata


def metadata() -> ClusterMetadata:
    cluster = ClusterMetadata()
    cluster.controller_id = 2
    cluster.brokers = {1: BrokerMetadata(1, "a", 9092), 2: BrokerMetadata(2, "b", 9092, "r")}
    states = {
        0: PartitionMetadata(0, 1, [1, 2, 3], [1, 2]),
        1: PartitionMetadata(1, 2, [2, 3, 1], [2]),
        2: PartitionMetadata(2, -1, [3], [3], offline=[3]),
    }
    cluster.topics = {"t": TopicMetadata("t", states)}
    return cluster


def test_brokers_are_counted_the_dead_ones_too() -> None:
    rows = {row["id"]: row for row in brokers(metadata())}
    assert rows[1] == {
        "id": 1, "host": "a", "port": 9092, "rack": None, "controller": False, "leaders": 1, "replicas": 2, "out_of_sync": 1,
    }  # fmt: skip
    assert rows[2]["controller"] is True
    assert (rows[3]["host"], rows[3]["replicas"], rows[3]["out_of_sync"]) == (None, 3, 2)


def test_partitions_are_chosen_by_their_state_and_min_insync_replicas() -> None:
    def chosen(wanted):
        return [row["partition"] for row in partitions(metadata(), wanted, lambda _: 2)]

    assert chosen(lambda p, _: len(p.isrs) < len(p.replicas)) == [0, 1]
    assert chosen(lambda p, minimum: len(p.isrs) == minimum) == [0]
    assert chosen(lambda p, minimum: len(p.isrs) < minimum) == [1, 2]
    assert chosen(lambda p, _: p.leader < 0) == [2]


def test_every_question_has_a_command() -> None:
    assert set(command.commands) == {"brokers", "controller", "under-replicated", "at-min-isr", "under-min-isr", "offline"}
