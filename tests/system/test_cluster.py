"""Three brokers and a ZooKeeper: leaders are killed and stopped while idempotent producers go on; nothing acknowledged is lost.

``KAFKAX_CLUSTER_ROUNDS`` sets how often each fault strikes; ci/nightly asks for more.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.system.clusters import SESSION_MS, Admin, Node, TestCluster, wait_until
from tests.system.ledger import Workload, problems
from tests.system.work import PARTITIONS, TOPIC, World, at_work, replicas_of
from tests.zookeeper_server import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))


def strike(world: World, fault: Callable[[Node], None]) -> None:
    """Let a fault befall the leader of a partition; afterwards the producers go on, and then everybody is in sync again."""
    node = world.leader()
    fault(node)
    world.leads_no_more(node)
    world.goes_on()
    if not node.running:
        node.start()
    node.signal(signal.SIGCONT)
    world.all_in_sync()


def silence_zookeeper(world: World) -> None:
    """ZooKeeper is silent until every session is over: brokers register anew and somebody is controller again."""
    world.cluster.zookeeper.pause()
    time.sleep(2 * SESSION_MS / 1000)
    world.cluster.zookeeper.resume()
    world.goes_on("after ZooKeeper")
    strike(world, kill)


def kill(node: Node) -> None:
    """The process dies."""
    node.kill()


def stop(node: Node) -> None:
    """The process stops in order."""
    assert node.stop() == 0


def pause(node: Node) -> None:
    """The process is silent for longer than its session lasts."""
    node.signal(signal.SIGSTOP)
    time.sleep(SESSION_MS / 1000)


@pytest.mark.timeout(300 + 200 * ROUNDS)
def test_leaders_come_and_go_without_loss(tmp_path: Path) -> None:
    with at_work(TestCluster(tmp_path, configs={"min.insync.replicas": "2"})) as world:
        for fault in (kill, stop, *(pause, kill, stop) * ROUNDS):
            strike(world, fault)
        if ROUNDS:
            silence_zookeeper(world)


SLOW = """
import asyncio, sys
from kafkax.cli.main import main
from kafkax.net.outbound import BrokerLink
from kafkax.protocol.messages.fetch import FetchRequest
send = BrokerLink.send
async def slowly(self, request, version, response):
    if isinstance(request, FetchRequest):
        await asyncio.sleep(0.3)
    return await send(self, request, version, response)
BrokerLink.send = slowly
"""
"""Followers that take their time, which is no fault."""
EARLY = """
from functools import partial
from kafkax.replication.leaders import Leaders
def nobody_counts(self, led):
    led.replica.partition.set_replicas(
        self._queue, partial(self._may_join, led), [(follower, False) for follower in led.leadership.followers],
        leader_epoch=led.leadership.leader_epoch, epoch_start=led.leadership.epoch_start, lag_max_ms=0,
    )
Leaders._tell_core = nobody_counts
"""
"""Acknowledges before the followers have the records: none counts, and none that is about to join is waited for."""
UNFENCED = """
from kafkax.replication.fetcher import Fetcher
asked = Fetcher._request
def unfenced(self, partitions):
    request = asked(self, partitions)
    for topic in request.topics:
        for partition in topic.partitions:
            partition.current_leader_epoch = partition.last_fetched_epoch = -1
    return request
Fetcher._request = unfenced
"""
"""Followers that fetch on where their log ends, whoever leads and whatever it has there."""
BY_MARK = """
from kafkax.replication.followers import Followers
from kafkax.replication.following import Following
answered = Following.answered
def late(self, log, code, diverging, mark):
    known, self.mark = getattr(self, "mark", 0), mark
    return answered(self, log, code, diverging, min(mark, known))
Following.answered = late
follow = Followers._begin
def cut(self, key, replica):
    mark = replica.partition.high_watermark
    if mark < replica.partition.log.log_end_offset:
        self._logs.truncate(key, mark)
    follow(self, key, replica)
Followers._begin = cut
"""
"""Followers that cut their log at the high watermark whenever somebody else leads; that they hear of it late is no fault."""
RUN = "main(sys.argv[1:])\n"


def found(folder: Path, plant: str, *, kills: int = 1) -> bool:
    """Whether the checker finds fault with the planted cluster after this many leaders were killed, one right after the other."""
    folder.mkdir()
    program = (sys.executable, "-c", SLOW + plant + RUN, "broker")
    cluster = TestCluster(folder, configs={"min.insync.replicas": "2"}, program=program)
    workload: Workload | None = None
    try:
        cluster.start()
        admin = Admin(cluster.bootstrap)
        admin.create(TOPIC, PARTITIONS)
        workload = started = Workload(cluster.bootstrap, TOPIC, PARTITIONS)
        # The first records meet fetches that wait for them already; only later ones find the followers behind.
        wait_until(lambda: started.more(3000), "producers go on")
        killed: list[int] = []
        for _ in range(kills):
            wait_until(lambda: admin.leader(TOPIC) not in (*killed, -1), "somebody leads")
            killed.append(admin.leader(TOPIC))
            cluster.nodes[killed[-1]].kill()
        if kills == 1:
            wait_until(lambda: admin.leader(TOPIC) not in (*killed, -1), "another broker leads")
            wait_until(lambda: started.more() or bool(started.errors), "producers go on, or have noticed")
        for number in killed:
            cluster.nodes[number].start(wait=False)
        for number in killed:
            cluster.nodes[number].wait_ready()
        workload.abandon()
        try:
            admin.wait_in_sync(TOPIC, list(cluster.nodes))
        except AssertionError:
            # replicas that never agree again are a fault, too
            return True
        cluster.stop()
        return bool(workload.errors or problems(workload.acknowledged, replicas_of(cluster)))
    finally:
        if workload is not None:
            workload.abandon()
        cluster.close()


@pytest.mark.timeout(600)
@pytest.mark.skipif(ROUNDS == 0, reason="takes minutes; KAFKAX_CLUSTER_ROUNDS=1 asks for it")
@pytest.mark.parametrize(
    ("plant", "kills"),
    [
        pytest.param(EARLY, 1, id="acknowledging before the followers have it"),
        pytest.param(UNFENCED, 1, id="fetching without an epoch"),
        pytest.param(BY_MARK, 2, id="truncating by high watermark"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, plant: str, kills: int) -> None:
    # A single kill finds the followers behind only two times in three.
    assert any(found(tmp_path / str(attempt), plant, kills=kills) for attempt in range(5))


@pytest.mark.timeout(600)
@pytest.mark.skipif(ROUNDS == 0, reason="takes a minute; KAFKAX_CLUSTER_ROUNDS=1 asks for it")
def test_slow_followers_alone_are_no_fault(tmp_path: Path) -> None:
    assert not found(tmp_path / "slow", "", kills=2)
