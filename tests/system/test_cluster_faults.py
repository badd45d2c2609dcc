"""Disks, directories, ZooKeeper and connections of a cluster fail while producers and consumers go on; nothing is lost.

Real processes and a real ZooKeeper; the checker of :mod:`tests.system.work` has the last word.  ``KAFKAX_CLUSTER_ROUNDS``
asks for them, as ci/nightly does.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from tests.system import work
from tests.system.clusters import SESSION_MS, TestCluster, wait_until
from tests.system.proxy import Proxy
from tests.system.work import PARTITIONS, TOPIC, World, log_dirs
from tests.zookeeper_server import ZooKeeperEnsemble, missing

ROUNDS = int(os.environ.get("KAFKAX_CLUSTER_ROUNDS", "0"))
pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(ROUNDS == 0, reason="each takes half a minute; KAFKAX_CLUSTER_ROUNDS=1 asks for them"),
    pytest.mark.timeout(420),
]
BEYOND_SESSION = 2 * SESSION_MS / 1000
CONFIGS = {"min.insync.replicas": "2"}


def at_work(cluster: TestCluster) -> AbstractContextManager[World]:
    """A cluster at work whose segments are small."""
    return work.at_work(cluster, segment_bytes="60000")


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take what is left of a file system but a little."""
    ballast = folder / "ballast"
    # without a buffer, which closing the file would try to write once more
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(65_536)):
            continue
    os.truncate(ballast, max(0, ballast.stat().st_size - 131_072))
    return ballast


def test_a_full_disk_ends_its_broker_and_costs_nothing(tmp_path: Path, small_disk: Path) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    node = cluster.nodes[11]
    node.configs["log.dirs"] = str(small_disk / "data")
    with at_work(cluster) as world:
        ballast = fill(small_disk)
        wait_until(lambda: not node.running, "a broker whose only disk is full ends")
        assert node.process is not None
        assert node.process.returncode == 1
        world.goes_on()
        ballast.unlink()
        node.start()


def test_a_lost_directory_of_two_takes_its_replicas_only(tmp_path: Path) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    for each in cluster.nodes.values():
        each.configs["log.dirs"] = f"{each.data}-1,{each.data}-2"
    with at_work(cluster) as world:
        node = world.leader()
        (lost,) = [Path(folder) for folder in log_dirs(node) if (Path(folder) / f"{TOPIC}-0").is_dir()]
        stays = {n for n in range(PARTITIONS) if not (lost / f"{TOPIC}-{n}").is_dir()}
        assert stays
        lost.rename(f"{lost}.gone")
        world.leads_no_more(node)
        world.goes_on()
        assert node.running
        assert all(node.number in isr for n, isr in world.admin.isrs(TOPIC).items() if n in stays)
        assert node.stop() == 0
        Path(f"{lost}.gone").rename(lost)
        node.start()


def test_a_directory_that_comes_back_empty_is_filled_again(tmp_path: Path) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    for each in cluster.nodes.values():
        each.configs["log.dirs"] = f"{each.data}-1,{each.data}-2"
    with at_work(cluster) as world:
        node = world.leader()
        (lost,) = [Path(folder) for folder in log_dirs(node) if (Path(folder) / f"{TOPIC}-0").is_dir()]
        lost.rename(f"{lost}.gone")
        world.leads_no_more(node)
        world.goes_on()
        assert node.stop() == 0
        node.start()


# ZooKeeper


def test_members_of_the_ensemble_come_and_go(tmp_path: Path) -> None:
    ensemble = ZooKeeperEnsemble(tmp_path)
    cluster = TestCluster(tmp_path, configs=CONFIGS, zookeeper=ensemble)
    with at_work(cluster) as world:
        for member in ensemble.members:
            member.kill()
            world.goes_on()
            node = world.leader()
            node.kill()
            world.leads_no_more(node)
            world.goes_on()
            member.start()
            node.start()
            world.all_in_sync()


@contextmanager
def through_proxies(cluster: TestCluster) -> Iterator[dict[int, Proxy]]:
    """Let every broker reach ZooKeeper by a way of its own that can be cut."""
    host, _, port = cluster.zookeeper.address.partition(":")
    proxies = {number: Proxy(host, int(port)) for number in cluster.nodes}
    for number, node in cluster.nodes.items():
        node.configs["zookeeper.connect"] = proxies[number].address
    try:
        yield proxies
    finally:
        for proxy in proxies.values():
            proxy.close()


@pytest.mark.parametrize("how", [Proxy.cut, Proxy.silence])
def test_a_broker_loses_its_session_and_comes_back(tmp_path: Path, how: Callable[[Proxy], None]) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    with through_proxies(cluster) as ways, at_work(cluster) as world:
        for _ in range(3):
            node = world.leader()
            how(ways[node.number])
            world.leads_no_more(node)
            world.goes_on()
            time.sleep(1)
            assert node.running
            ways[node.number].restore()
            world.all_in_sync()


def test_all_brokers_lose_their_sessions_at_once(tmp_path: Path) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    with through_proxies(cluster) as ways, at_work(cluster) as world:
        for way in ways.values():
            way.cut()
        time.sleep(BEYOND_SESSION)
        for way in ways.values():
            way.restore()
        world.all_in_sync()


# Connections between brokers


@contextmanager
def apart(cluster: TestCluster) -> Iterator[dict[int, Proxy]]:
    """Let brokers reach each other by ways that can be cut: one to each broker."""
    proxies = {}
    for number, node in cluster.nodes.items():
        inner = node.port + 1
        proxies[number] = proxy = Proxy(node.host, inner)
        node.configs |= {
            "listeners": f"PLAINTEXT://{node.address},INTERNAL://{node.host}:{inner}",
            "advertised.listeners": f"PLAINTEXT://{node.address},INTERNAL://{proxy.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
            "inter.broker.listener.name": "INTERNAL",
        }
    try:
        yield proxies
    finally:
        for proxy in proxies.values():
            proxy.close()


@pytest.mark.parametrize("how", [Proxy.cut, Proxy.silence])
def test_a_leader_that_others_cannot_reach(tmp_path: Path, how: Callable[[Proxy], None]) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    with apart(cluster) as ways, at_work(cluster) as world:
        for _ in range(3):
            node = world.leader()
            how(ways[node.number])
            # longer than replica.lag.time.max.ms: the leader shrinks the in-sync replicas, or is failed over
            time.sleep(8)
            ways[node.number].restore()
            world.all_in_sync()


def test_brokers_that_do_not_reach_each_other_at_all(tmp_path: Path) -> None:
    cluster = TestCluster(tmp_path, configs=CONFIGS)
    with apart(cluster) as ways, at_work(cluster) as world:
        for how in (Proxy.silence, Proxy.cut):
            for way in ways.values():
                how(way)
            time.sleep(8)
            for way in ways.values():
                way.restore()
            world.all_in_sync()
