"""Log directories across brokers: Apache Kafka reads and serves what we wrote, and we serve what it wrote."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.ports import free_port
from tests.compat.brokers import launch, running_broker
from tests.compat.dataset import Digest, samples

confluent_kafka = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
admin = pytest.importorskip("confluent_kafka.admin", reason="confluent-kafka is not installed")

TOPIC = "interchange"
PARTITIONS = 2
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
SETTINGS = {"segment.bytes": "1048576", "index.interval.bytes": "4096"}


def create(bootstrap: str) -> None:
    client = admin.AdminClient({"bootstrap.servers": bootstrap})
    new = admin.NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=1, config=SETTINGS)
    client.create_topics([new])[TOPIC].result(60)


def produce(bootstrap: str, sent: Digest) -> None:
    """The data set once in every compression, by idempotent producers."""
    for compression in COMPRESSIONS:
        # small batches, so that every segment has index entries
        settings = {"bootstrap.servers": bootstrap, "compression.type": compression, "enable.idempotence": True}
        producer = confluent_kafka.Producer({**settings, "linger.ms": 5, "batch.size": 20_000})
        for sample in samples(2_000_000, PARTITIONS, 1500):
            sent.add(sample.partition, sample.timestamp, sample.key, sample.value, sample.headers)
            producer.produce(
                TOPIC, sample.value, sample.key, sample.partition, timestamp=sample.timestamp, headers=list(sample.headers)
            )
            producer.poll(0)
        assert producer.flush(60) == 0


def consume(bootstrap: str, expected: int) -> Digest:
    got = Digest(PARTITIONS)
    settings = {"bootstrap.servers": bootstrap, "group.id": "interchange", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer(settings)
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, index, 0) for index in range(PARTITIONS)])
    try:
        while got.total < expected:
            messages = consumer.consume(10_000, 30)
            assert messages, f"{got.total} of {expected} records came"
            for message in messages:
                assert message.error() is None
                got.add(message.partition(), message.timestamp()[1], message.key(), message.value(), message.headers() or ())
    finally:
        consumer.close()
    return got


@contextmanager
def real_broker(tools: Path, home: Path) -> Iterator[str]:
    """Apache Kafka 4.3.1 in KRaft mode with its data in ``home/data``."""
    port = free_port(1)
    home.mkdir(parents=True, exist_ok=True)
    try:
        launch(tools, "kraft", home, port)
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([str(tools), "stop", str(home)], check=True, timeout=60)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digest]:
    """A data directory that kafkax wrote, closed in order, and what was produced to it."""
    data, sent = tmp_path_factory.mktemp("ours") / "data", Digest(PARTITIONS)
    with running_broker(data) as broker:
        create(broker.address)
        produce(broker.address, sent)
    return data, sent


@pytest.fixture
def dump(kafka_tools: Path) -> Callable[..., str]:
    """DumpLogSegments of one of the two versions."""

    def run(version: str, *arguments: str) -> str:
        tool, name = ("tool", "DumpLogSegments") if version == "4.3.1" else ("tool39", "kafka.tools.DumpLogSegments")
        done = subprocess.run(
            [str(kafka_tools), tool, name, *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "Exception" not in done.stderr, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", ["3.9.2", "4.3.1"])
def test_dump_log_segments_reads_ours_without_complaint(
    ours: tuple[Path, Digest], dump: Callable[..., str], version: str
) -> None:
    data, sent = ours
    for index in range(PARTITIONS):
        folder = data / f"{TOPIC}-{index}"
        logs = sorted(folder.glob("*.log"))
        assert len(logs) > 2, "there should be several segments"
        text = dump(version, "--deep-iteration", "--files", ",".join(map(str, logs)))
        assert text.count("| offset: ") == sent.counts[index]
        assert "isvalid: false" not in text
        indexes = sorted([*folder.glob("*.index"), *folder.glob("*.timeindex")])
        report = dump(version, "--index-sanity-check", "--files", ",".join(map(str, indexes)))
        assert report.count("passed sanity check") == len(indexes), report
        mismatches = dump(version, "--verify-index-only", "--files", ",".join(map(str, indexes)))
        assert "Mismatches in" not in mismatches, mismatches[-2000:]
        assert "Index timestamp mismatch" not in mismatches


@pytest.mark.timeout(300)
def test_apache_kafka_serves_what_we_wrote(ours: tuple[Path, Digest], kafka_tools: Path, tmp_path: Path) -> None:
    data, sent = ours
    home = tmp_path / "kafka"
    with real_broker(kafka_tools, home) as address:
        create(address)
    for index in range(PARTITIONS):
        theirs = home / "data" / f"{TOPIC}-{index}"
        topic_id = (theirs / "partition.metadata").read_bytes()
        shutil.rmtree(theirs)
        shutil.copytree(data / f"{TOPIC}-{index}", theirs)
        (theirs / "partition.metadata").write_bytes(topic_id)
    # without these Kafka looks at the logs themselves instead of what it remembers of the empty ones
    for checkpoint in ("recovery-point-offset-checkpoint", "replication-offset-checkpoint", ".kafka_cleanshutdown"):
        (home / "data" / checkpoint).unlink(missing_ok=True)
    with real_broker(kafka_tools, home) as address:
        assert consume(address, sent.total).result == sent.result


@pytest.mark.timeout(300)
def test_we_serve_what_apache_kafka_wrote(kafka_tools: Path, tmp_path: Path) -> None:
    sent = Digest(PARTITIONS)
    with real_broker(kafka_tools, tmp_path / "kafka") as address:
        create(address)
        produce(address, sent)
    with running_broker(tmp_path / "kafka" / "data") as broker:
        assert consume(broker.address, sent.total).result == sent.result
        again = confluent_kafka.Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
        reports: list[object] = []
        again.produce(TOPIC, b"more", partition=0, on_delivery=lambda error, message: reports.append(error))
        assert again.flush(30) == 0
        assert reports == [None]
