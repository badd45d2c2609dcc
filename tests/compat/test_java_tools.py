"""Apache Kafka's own command line tools against the broker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.dataset import TOTAL_BYTES, samples

Tool = Callable[..., str]
RECORD_BYTES = 100
COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
MEASURED = COMPRESSIONS if os.environ.get("KAFKAX_ALL_TOOLS") else ["none", "lz4"]


@pytest.fixture
def tool(kafka_tools: Path) -> Tool:
    """Run a Java tool and return what it prints; it must end with status 0."""

    def run(name: str, *arguments: str, stdin: Path | None = None, seconds: float = 200) -> str:
        with (stdin or Path("/dev/null")).open("rb") as source:
            done = subprocess.run(
                [str(kafka_tools), "tool", name, *arguments],
                stdin=source,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout.decode()[-2000:]} {done.stderr.decode()[-4000:]}"
        return done.stdout.decode()

    return run


@pytest.fixture
def create(tool: Tool, bootstrap: str, topic: str) -> Callable[..., None]:
    """Create the test's topic with TopicCommand."""

    def run(partitions: int = 1, **config: str) -> None:
        options = [option for key, value in config.items() for option in ("--config", f"{key.replace('_', '.')}={value}")]
        tool(
            "TopicCommand",
            *("--bootstrap-server", bootstrap, "--create", "--topic", topic),
            *("--partitions", str(partitions), "--replication-factor", "1", *options),
        )

    return run


def lines(total_bytes: int) -> bytes:
    """Console producer input: headers, key and value, tab-separated; NULL stands for null."""
    out = []
    for sample in samples(total_bytes, 1, 1000):
        value = b"NULL" if sample.value is None else re.sub(rb"[\t\r\n]", b" ", sample.value)
        headers = b",".join(b"%s:%s" % (k.encode(), v or b"none") for k, v in sample.headers) or b"NULL"
        out.append(b"\t".join((headers, sample.key or b"NULL", value)))
    return b"\n".join(out) + b"\n"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.timeout(300)
def test_console_tools_carry_a_file(
    tool: Tool, create: Callable[..., None], bootstrap: str, topic: str, tmp_path: Path, compression: str
) -> None:
    create()
    source = tmp_path / "lines"
    source.write_bytes(lines(TOTAL_BYTES))
    produced = source.read_bytes()
    read = ("parse.key=true", "parse.headers=true", "null.marker=NULL")
    tool(
        "ConsoleProducer",
        *("--bootstrap-server", bootstrap, "--topic", topic, "--compression-codec", compression),
        *(option for each in read for option in ("--reader-property", each)),
        stdin=source,
    )
    shown = ("print.key=true", "print.headers=true", "null.literal=NULL", "headers.separator=,")
    consumed = tool(
        "consumer.ConsoleConsumer",
        *("--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning"),
        *("--max-messages", str(produced.count(b"\n")), "--timeout-ms", "60000"),
        *(option for each in shown for option in ("--formatter-property", each)),
    ).encode()
    assert consumed.replace(b"NO_HEADERS\t", b"NULL\t") == produced


@pytest.mark.parametrize("compression", MEASURED)
@pytest.mark.timeout(300)
def test_performance_tools_move_every_record(
    tool: Tool, create: Callable[..., None], bootstrap: str, topic: str, compression: str
) -> None:
    create(partitions=3)
    count = TOTAL_BYTES // RECORD_BYTES
    report = tool(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", str(count), "--record-size", str(RECORD_BYTES), "--throughput", "-1"),
        *("--bootstrap-server", bootstrap, "--command-property", f"compression.type={compression}"),
    )
    assert f"{count} records sent" in report
    offsets = tool("GetOffsetShell", "--bootstrap-server", bootstrap, "--topic", topic)
    ends = [int(line.rsplit(":", 1)[1]) for line in offsets.split()]
    assert len(ends) == 3
    assert sum(ends) == count
    consumed = tool(
        "ConsumerPerformance",
        *("--bootstrap-server", bootstrap, "--topic", topic, "--num-records", str(count), "--hide-header"),
        *("--timeout", "60000"),
    )
    assert int(consumed.split(",")[4]) >= count


def test_verifiable_tools_agree_on_every_record(
    tool: Tool, kafka_tools: Path, create: Callable[..., None], bootstrap: str, topic: str
) -> None:
    create(partitions=3)
    count = 50_000
    produced = tool(
        "VerifiableProducer",
        *("--bootstrap-server", bootstrap, "--topic", topic, "--max-messages", str(count), "--repeating-keys", "100"),
    )
    events = [json.loads(line) for line in produced.splitlines() if line.startswith("{")]
    acknowledged = [int(event["value"]) for event in events if event["name"] == "producer_send_success"]
    assert sorted(acknowledged) == list(range(count))
    consumed = tool(
        "VerifiableConsumer",
        *("--bootstrap-server", bootstrap, "--topic", topic, "--max-messages", str(count), "--group-id", topic),
        *("--reset-policy", "earliest", "--verbose"),
    )
    events = [json.loads(line) for line in consumed.splitlines() if line.startswith("{")]
    values = [int(event["value"]) for event in events if event["name"] == "record_data"]
    assert sorted(values) == list(range(count))


def test_topic_command_makes_describes_grows_and_deletes(
    tool: Tool, create: Callable[..., None], bootstrap: str, topic: str
) -> None:
    create(partitions=2, retention_ms="7200000")
    where = ("--bootstrap-server", bootstrap)
    described = tool("TopicCommand", *where, "--describe", "--topic", topic)
    assert re.search(rf"Topic: {topic}\s+TopicId: \S{{22}}\s+PartitionCount: 2\s+ReplicationFactor: 1", described)
    assert "retention.ms=7200000" in described
    tool("TopicCommand", *where, "--alter", "--topic", topic, "--partitions", "5")
    assert "PartitionCount: 5" in tool("TopicCommand", *where, "--describe", "--topic", topic)
    assert topic in tool("TopicCommand", *where, "--list").split()
    tool("TopicCommand", *where, "--delete", "--topic", topic)
    deadline = time.monotonic() + 60
    while topic in (names := tool("TopicCommand", *where, "--list").split()) and time.monotonic() < deadline:
        pass
    assert topic not in names


def test_config_command_sets_and_shows_topic_and_broker_configs(
    tool: Tool, create: Callable[..., None], bootstrap: str, topic: str
) -> None:
    create()
    where = ("--bootstrap-server", bootstrap)
    on_topic = (*where, "--entity-type", "topics", "--entity-name", topic)
    tool("ConfigCommand", *on_topic, "--alter", "--add-config", "segment.bytes=1048576,cleanup.policy=[compact,delete]")
    described = tool("ConfigCommand", *on_topic, "--describe")
    assert "segment.bytes=1048576" in described
    assert "cleanup.policy=compact,delete" in described
    tool("ConfigCommand", *on_topic, "--alter", "--delete-config", "segment.bytes")
    assert "segment.bytes" not in tool("ConfigCommand", *on_topic, "--describe")
    everything = tool("ConfigCommand", *where, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all")
    assert "log.segment.bytes=1073741824" in everything


def test_log_dirs_command_shows_sizes(tool: Tool, create: Callable[..., None], bootstrap: str, topic: str) -> None:
    create()
    tool(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", "1000", "--record-size", "1000", "--throughput", "-1"),
        *("--bootstrap-server", bootstrap),
    )
    output = tool("LogDirsCommand", "--bootstrap-server", bootstrap, "--describe", "--topic-list", topic)
    described = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    partitions = [p for broker in described["brokers"] for directory in broker["logDirs"] for p in directory["partitions"]]
    assert [p["partition"] for p in partitions] == [f"{topic}-0"]
    assert partitions[0]["size"] > 1_000_000
