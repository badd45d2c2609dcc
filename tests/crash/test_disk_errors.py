"""A disk that begins to fail under a running broker: its log directory goes out of service, all of it, and the others go on.

A small library preloaded into the broker lets system calls on the files of one log directory fail with EIO.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from kafkax.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.compat.brokers import RunningBroker, start_broker
from tests.system.wire import Wire

LIMIT = 60
"""Seconds that a busy machine may take for anything."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CC", "gcc").split()[-1]
    if shutil.which(compiler) is None:
        pytest.skip(f"no C compiler {compiler}")
    built = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


class Cluster:
    """One broker over two log directories, each with one partition of topic ``t``; one of them may fail."""

    def __init__(self, root: Path, library: Path, monkeypatch: pytest.MonkeyPatch, failing: int = 1) -> None:
        self.folders = [root / "d0", root / "d1"]
        self.kind = root / "kind"
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("KAFKAX_FAULT_FOLDER", str(self.folders[failing]))
        monkeypatch.setenv("KAFKAX_FAULT_KIND", str(self.kind))
        self.broker = self.start()
        self.wire = Wire(self.broker.address, timeout=LIMIT)
        topic = CreatableTopic(name="t", num_partitions=2, replication_factor=1, assignments=[], configs=[])
        answer = self.wire.ask(CreateTopicsRequest(topics=[topic], timeout_ms=LIMIT * 1000), 5)
        assert answer.topics[0].error_code == ErrorCode.NONE
        self.sound, self.failing = (self.partitions_in(folder)[0] for folder in self.folders)

    def start(self) -> RunningBroker:
        """The broker over both directories."""
        data = self.folders[0]
        return start_broker(data, overrides={"log.dirs": ",".join(map(str, self.folders))})

    def repair(self) -> None:
        """Start again, with both directories well."""
        assert self.broker.stop(timeout=LIMIT) == 0
        self.kind.unlink()
        self.broker = self.start()
        self.wire = Wire(self.broker.address, timeout=LIMIT)

    def directories(self) -> dict[str, tuple[ErrorCode, list[int]]]:
        """Each log directory's error and the partitions of ``t`` in it."""
        answer = self.wire.ask(DescribeLogDirsRequest(topics=None), 4)
        return {
            result.log_dir: (
                ErrorCode(result.error_code),
                [each.partition_index for topic in result.topics if topic.name == "t" for each in topic.partitions],
            )
            for result in answer.results
        }

    def partitions_in(self, folder: Path) -> list[int]:
        return self.directories()[str(folder)][1]

    def produce(self, partition: int, size: int = 50_000, acks: int = -1) -> ErrorCode:
        data = build_batch([Record(b"k", b"v" * size, (), int(time.time() * 1000))])
        topic = TopicProduceData(name="t", partition_data=[PartitionProduceData(index=partition, records=data)])
        request = ProduceRequest(transactional_id=None, acks=acks, timeout_ms=LIMIT * 1000, topic_data=[topic])
        return ErrorCode(self.wire.ask(request, 9).responses[0].partition_responses[0].error_code)

    def fetch(self, partition: int) -> tuple[ErrorCode, int]:
        """The error and the number of bytes; a connection that the broker closes under way counts as no bytes."""
        wanted = FetchPartition(partition=partition, fetch_offset=0, partition_max_bytes=1 << 20)
        topic = FetchTopic(topic="t", partitions=[wanted])
        request = FetchRequest(max_wait_ms=100, min_bytes=1, topics=[topic], forgotten_topics_data=[])
        try:
            with Wire(self.broker.address, timeout=LIMIT) as wire:
                (data,) = wire.ask(request, 11).responses[0].partitions
        except (OSError, EOFError):
            return ErrorCode.NONE, 0
        return ErrorCode(data.error_code), len(data.records or b"")

    def replicas(self) -> dict[int, tuple[int, list[int]]]:
        """By partition: its leader and the brokers whose replica is offline."""
        answer = self.wire.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
        return {each.partition_index: (each.leader_id, list(each.offline_replicas)) for each in answer.topics[0].partitions}


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["read", "write", "sync", "sendfile"])
def test_a_failing_disk_takes_its_directory_out_of_service(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    cluster = Cluster(tmp_path, library, monkeypatch)
    try:
        for partition in (cluster.sound, cluster.failing):
            assert cluster.produce(partition) is ErrorCode.NONE
        cluster.kind.write_text(kind)
        if kind in ("read", "sendfile"):
            cluster.fetch(cluster.failing)
        else:
            assert cluster.produce(cluster.failing) is ErrorCode.KAFKA_STORAGE_ERROR
        until(
            lambda: cluster.directories()[str(cluster.folders[1])] == (ErrorCode.KAFKA_STORAGE_ERROR, []),
            "the directory stays in service",
        )
        assert cluster.produce(cluster.failing) is ErrorCode.KAFKA_STORAGE_ERROR
        assert cluster.fetch(cluster.failing)[0] is ErrorCode.KAFKA_STORAGE_ERROR
        until(lambda: cluster.replicas()[cluster.failing][1] != [], "the controller does not hear of it")
        assert cluster.replicas()[cluster.failing][0] == -1
        # The other directory knows nothing of all this.
        assert cluster.directories()[str(cluster.folders[0])] == (ErrorCode.NONE, [cluster.sound])
        assert cluster.produce(cluster.sound) is ErrorCode.NONE
        code, size = cluster.fetch(cluster.sound)
        assert code is ErrorCode.NONE
        assert size > 100_000
        if kind == "write":
            cluster.repair()
            until(lambda: cluster.fetch(cluster.failing)[0] is ErrorCode.NONE, "no leader after the repair")
            assert cluster.fetch(cluster.failing)[1] > 50_000
            assert cluster.produce(cluster.failing) is ErrorCode.NONE
    finally:
        cluster.broker.process.kill()
        cluster.broker.process.wait()


def test_a_page_that_the_disk_does_not_have_takes_its_directory_out_of_service(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, library, monkeypatch)
    file = cluster.folders[1] / f"t-{cluster.failing}" / f"{0:020}.log"
    try:
        for _ in range(20):
            assert cluster.produce(cluster.failing, size=50, acks=1) is ErrorCode.NONE
        assert file.stat().st_size == 65536, "there is a window for small appends"
        os.truncate(file, 0)
        assert cluster.produce(cluster.failing, size=50, acks=1) is ErrorCode.KAFKA_STORAGE_ERROR
        until(
            lambda: cluster.directories()[str(cluster.folders[1])] == (ErrorCode.KAFKA_STORAGE_ERROR, []),
            "the directory stays in service",
        )
        assert cluster.produce(cluster.sound) is ErrorCode.NONE
    finally:
        cluster.broker.process.kill()
        cluster.broker.process.wait()


def test_a_broker_without_a_directory_left_ends(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(tmp_path, library, monkeypatch, failing=0)
    try:
        cluster.kind.write_text("sync")
        cluster.produce(cluster.sound)
        assert cluster.broker.process.wait(LIMIT) == 1
    finally:
        cluster.broker.process.kill()
        cluster.broker.process.wait()
    assert "is out of service" in (tmp_path / "d0.log").read_text()
