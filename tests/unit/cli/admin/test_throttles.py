"""Throttles of moves: what sends and what is filled is named by topic, and every broker concerned gets the rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from kafkax.cli.admin.throttles import set_throttles, take_throttles_away
from kafkax.client.admin.types import ConfigAlteration, ConfigOperation, ConfigResource


class Admin:
    """Notes what is altered."""

    def __init__(self, under_way: Sequence[Any] = ()) -> None:
        self.under_way = under_way
        self.altered: dict[str, dict[str, str | None]] = {}

    def list_partition_reassignments(self) -> Sequence[Any]:
        return self.under_way

    def list_topics(self) -> Any:
        return SimpleNamespace(topics={"t": None, "u": None}, brokers={1: None, 2: None})

    def incremental_alter_configs(
        self, changes: Mapping[ConfigResource, Sequence[ConfigAlteration]]
    ) -> dict[ConfigResource, Future[None]]:
        done: Future[None] = Future()
        done.set_result(None)
        for resource, alterations in changes.items():
            for each in alterations:
                assert (each.operation is ConfigOperation.DELETE) == (each.value is None)
                self.altered.setdefault(resource.name, {})[each.name] = each.value
        return dict.fromkeys(changes, done)


LEADER, FOLLOWER = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"
RATES = {f"{side}.replication.throttled.rate" for side in ("leader", "follower")}


def test_sources_and_targets_are_named_and_their_brokers_limited() -> None:
    admin: Any = Admin()
    current = {("t", 0): [1, 2], ("t", 1): [2, 3], ("u", 0): [1]}
    set_throttles(admin, current, {("t", 0): [2, 4], ("t", 1): [3, 2], ("u", 0): [5]}, 700)
    assert admin.altered["t"] == {LEADER: "0:1,0:2,1:2,1:3", FOLLOWER: "0:4"}
    assert admin.altered["u"] == {LEADER: "0:1", FOLLOWER: "0:5"}
    assert {name: admin.altered[name] for name in "12345"} == {name: dict.fromkeys(RATES, "700") for name in "12345"}


def test_moves_under_way_keep_their_throttles() -> None:
    admin: Any = Admin([SimpleNamespace(topic="t", partition=0, replicas=[4, 1, 2], adding=[4], removing=[1])])
    set_throttles(admin, {("t", 1): [1]}, {("t", 1): [3]}, 700)
    assert admin.altered["t"] == {LEADER: "0:1,0:2,1:1", FOLLOWER: "0:4,1:3"}


def test_all_of_it_goes_away() -> None:
    admin: Any = Admin()
    take_throttles_away(admin, ["t", "gone"])
    assert admin.altered == {"t": {LEADER: None, FOLLOWER: None}, "1": dict.fromkeys(RATES), "2": dict.fromkeys(RATES)}
