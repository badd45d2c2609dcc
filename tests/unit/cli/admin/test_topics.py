"""``kafkax topics --describe``: which partitions its filters show."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from kafkax.cli.admin import topics
from kafkax.client.admin import ConfigResource

ISR = {0: [1, 2, 3], 1: [1, 2], 2: [1]}
"""In-sync replicas of three partitions with three replicas, of which two have to be in sync."""


class Admin:
    """An administration client for one topic."""

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list_topics(self) -> Any:
        partitions = {
            number: SimpleNamespace(
                id=number, leader=-1 if number == 2 else 1, leader_epoch=0, replicas=[1, 2, 3], isrs=isr, offline=[]
            )
            for number, isr in ISR.items()
        }
        return SimpleNamespace(topics={"t": SimpleNamespace(topic="t", partitions=partitions, is_internal=False, topic_id="x")})

    def describe_configs(self, resources: list[ConfigResource]) -> dict[ConfigResource, Future[Any]]:
        described: Future[Any] = Future()
        least = SimpleNamespace(name="min.insync.replicas", value="2", source="DYNAMIC_TOPIC_CONFIG")
        described.set_result({"min.insync.replicas": least})
        return {resources[0]: described}


@pytest.mark.parametrize(
    ("filter_", "shown"),
    [
        (None, [0, 1, 2]),
        ("--under-replicated-partitions", [1, 2]),
        ("--under-min-isr-partitions", [2]),
        ("--at-min-isr-partitions", [1]),
        ("--unavailable-partitions", [2]),
    ],
)
def test_filters(filter_: str | None, shown: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "connect", lambda *_: Admin())
    arguments = ["--bootstrap-server", "127.0.0.1:1", "--describe", "--topic", "t", *([filter_] if filter_ else [])]
    done = CliRunner().invoke(topics.command, arguments)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    header = next(at for at, row in enumerate(rows) if row[0] == "TOPIC")
    assert [int(row[1]) for row in rows[header + 1 :]] == shown
    assert (header == 0) is (filter_ is not None), "the topic itself is told about where nothing is filtered"
