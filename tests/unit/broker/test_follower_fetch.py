"""The reference path of a follower's fetch: throttled replicas that lag get nothing while the leader's rate is used up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from kafkax._core.log import Log, LogSettings
from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Partition
from kafkax._core.replication_quota import ReplicationQuota
from kafkax.broker import follower_fetch as module
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ReplicaState
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

IN_SYNC, BEHIND = 2, 9
NOW = 100.0


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    folder = tmp_path / "t-0"
    folder.mkdir()
    log = Log.open(str(folder), LogSettings(flushed=False))
    partition = Partition("t", 0, uuid4(), log)
    partition.become_leader(1, in_sync=2, mark="external")
    partition.append(build_batch([Record(value=b"x" * 5000)]), acks=1)
    replicas = [(IN_SYNC, True), (BEHIND, False)]
    partition.set_replicas(NotifyQueue(), pytest.fail, replicas, leader_epoch=1, epoch_start=9, lag_max_ms=0, throttled=True)
    yield partition
    log.close()


@pytest.fixture
def context(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "require_broker", lambda _: None)
    services = SimpleNamespace(
        partition_by_id=lambda *_: partition,
        member=SimpleNamespace(throttles=SimpleNamespace(leader=ReplicationQuota(11, 1000))),
        clock=SimpleNamespace(monotonic=lambda: NOW),
    )
    services.member.throttles.leader.limit = 1000
    return SimpleNamespace(version=17, services=services)


async def fetched(context: Any, partition: Partition, replica: int) -> int:
    asked = FetchPartition(
        partition=0, current_leader_epoch=1, fetch_offset=0, last_fetched_epoch=-1, partition_max_bytes=1 << 20
    )
    request = FetchRequest(
        replica_state=ReplicaState(replica_id=replica, replica_epoch=5),
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=1 << 20,
        topics=[FetchTopic(topic_id=partition.topic_id, partitions=[asked])],
    )
    response = await module.follower_fetch(context, request)
    data = response.responses[0].partitions[0]
    assert data.error_code == 0
    return len(data.records or b"")


async def test_what_goes_to_throttled_replicas_counts_and_only_those_that_lag_wait(context: Any, partition: Partition) -> None:
    assert await fetched(context, partition, IN_SYNC) > 5000
    assert await fetched(context, partition, IN_SYNC) > 5000
    assert await fetched(context, partition, BEHIND) == 0
    assert [known.offset for known in partition.replicas()] == [0, 0]
    context.services.member.throttles.leader.limit = 1 << 40
    assert await fetched(context, partition, BEHIND) > 5000
