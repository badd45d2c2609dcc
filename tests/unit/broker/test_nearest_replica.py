"""Consumers are sent to a replica in their rack if it is in sync, reachable and has what they ask for; otherwise nowhere else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kafkax._core.partition import ReplicaProgress
from kafkax.broker.nearest_replica import nearest_replica
from kafkax.cluster.image import BrokerImage, PartitionImage
from kafkax.cluster.znodes import Endpoint

LEADER = 1
RACKS = {1: "a", 2: "b", 3: "b", 4: "c", 5: None}
PROGRESS = [(2, 10, 100), (3, 12, 90), (4, 12, 100), (5, 12, 100)]


def image(isr=(1, 2, 3, 4, 5), away=()):
    endpoints = {"PLAINTEXT": Endpoint("PLAINTEXT", "127.0.0.1", 9092, "PLAINTEXT")}
    brokers = {b: BrokerImage(b, endpoints, rack) for b, rack in RACKS.items() if b not in away}
    known = PartitionImage(LEADER, 0, tuple(RACKS), isr, (), 0)
    return SimpleNamespace(brokers=brokers, partition=lambda *_: known)


def nearest(rack, offset=5, listener="PLAINTEXT", **how):
    partition = SimpleNamespace(topic="t", index=0, replicas=lambda: [ReplicaProgress(r, end, 0, at) for r, end, at in PROGRESS])
    return nearest_replica(image(**how), partition, LEADER, listener, rack, offset)


@pytest.mark.parametrize(
    ("rack", "how", "expected"),
    [
        pytest.param("b", {}, 3, id="the one that has most"),
        pytest.param("b", {"isr": (1, 2)}, 2, id="only in sync"),
        pytest.param("b", {"offset": 11}, 3, id="only what has the offset"),
        pytest.param("b", {"offset": 13}, None, id="nobody has the offset"),
        pytest.param("b", {"away": (3,)}, 2, id="only the living"),
        pytest.param("b", {"listener": "OTHER"}, None, id="only by the same listener"),
        pytest.param("a", {}, None, id="the leader is there itself"),
        pytest.param("z", {}, None, id="no replica there"),
    ],
)
def test_the_nearest_replica(rack, how, expected):
    assert nearest(rack, **how) == expected
