"""Apache Kafka's Java administration tools print the same about this broker as about Apache Kafka 4.3.1.

Each story is a list of commands, run against both from the same beginnings.  A Java start takes a second or two, so ordinarily
only the first story runs; ``KAFKAX_ALL_TOOLS=1`` runs all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.compat.group_stories import Teller

TOPIC = "tools"
EMPTY, LIVING = "tools-empty", "tools-living"
USUAL = ("one group",)

GROUPS, REASSIGN = "consumer.group.ConsumerGroupCommand", "reassign.ReassignPartitionsCommand"
CONFIGS = "ConfigCommand"

Command = tuple[str, ...]

STORIES: dict[str, list[Command]] = {
    "one group": [(GROUPS, "--describe", "--group", EMPTY)],
    "groups": [
        (GROUPS, "--list"),
        (GROUPS, "--list", "--state"),
        (GROUPS, "--list", "--state", "empty"),
        (GROUPS, "--list", "--type"),
        (GROUPS, "--describe", "--group", EMPTY),
        (GROUPS, "--describe", "--group", EMPTY, "--offsets", "--verbose"),
        (GROUPS, "--describe", "--group", EMPTY, "--state"),
        (GROUPS, "--describe", "--group", LIVING, "--members"),
        (GROUPS, "--describe", "--group", LIVING, "--members", "--verbose"),
        (GROUPS, "--describe", "--group", LIVING, "--state", "--verbose"),
        (GROUPS, "--describe", "--all-groups", "--state"),
        (GROUPS, "--describe", "--group", "not-there"),
        (GROUPS, "--validate-regex", "a.*"),
    ],
    "offsets": [
        *(
            (GROUPS, "--reset-offsets", "--group", EMPTY, "--topic", TOPIC, *how)
            for how in (
                ("--to-earliest", "--dry-run"),
                ("--to-offset", "2", "--execute"),
                ("--shift-by", "1", "--execute"),
                ("--shift-by", "-100", "--dry-run"),
                ("--by-duration", "P1D", "--dry-run"),
                ("--to-datetime", "2001-01-01T00:00:00.000", "--dry-run"),
                ("--to-latest", "--execute", "--export"),
                ("--to-current", "--dry-run"),
            )
        ),
        (GROUPS, "--reset-offsets", "--group", EMPTY, "--all-topics", "--to-earliest", "--execute"),
        (GROUPS, "--reset-offsets", "--group", EMPTY, "--from-file", "{offsets}", "--dry-run"),
        (GROUPS, "--reset-offsets", "--group", LIVING, "--topic", TOPIC, "--to-earliest", "--execute"),
        (GROUPS, "--delete-offsets", "--group", EMPTY, "--topic", f"{TOPIC}:1"),
        (GROUPS, "--delete-offsets", "--group", LIVING, "--topic", TOPIC),
        (GROUPS, "--describe", "--group", EMPTY),
        (GROUPS, "--delete", "--group", LIVING),
        (GROUPS, "--delete", "--group", EMPTY),
        (GROUPS, "--delete", "--group", EMPTY),
    ],
    "quotas": [
        (CONFIGS, "--alter", "--add-config", "producer_byte_rate=1024", "--entity-type", "users", "--entity-name", "u"),
        (CONFIGS, "--describe", "--entity-type", "users", "--entity-name", "u"),
        (CONFIGS, "--alter", "--delete-config", "producer_byte_rate", "--entity-type", "users", "--entity-name", "u"),
    ],
    "configs": [
        (
            CONFIGS,
            *("--alter", "--add-config", "consumer_byte_rate=2048,request_percentage=50", "--entity-type", "clients"),
            "--entity-default",
        ),
        (CONFIGS, "--describe", "--entity-type", "clients", "--entity-default"),
        (CONFIGS, "--alter", "--delete-config", "consumer_byte_rate,request_percentage", "--client-defaults"),
        (CONFIGS, "--alter", "--add-config", "connection_creation_rate=10", "--ip", "127.0.0.1"),
        (CONFIGS, "--describe", "--ip", "127.0.0.1"),
        (CONFIGS, "--alter", "--delete-config", "connection_creation_rate", "--ip", "127.0.0.1"),
        (
            CONFIGS,
            *("--alter", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=secret]", "--entity-type", "users"),
            *("--entity-name", "alice"),
        ),
        (CONFIGS, "--describe", "--user", "alice"),
        (CONFIGS, "--alter", "--delete-config", "SCRAM-SHA-256", "--user", "alice"),
        (CONFIGS, "--alter", "--add-config", "retention.ms=1000000,cleanup.policy=[compact,delete]", "--topic", TOPIC),
        (CONFIGS, "--describe", "--topic", TOPIC),
        (CONFIGS, "--alter", "--delete-config", "retention.ms,cleanup.policy", "--topic", TOPIC),
        (CONFIGS, "--alter", "--add-config", "no.such=1", "--topic", TOPIC),
        (CONFIGS, "--alter", "--add-config", "log.cleaner.threads=2", "--broker-defaults"),
        (CONFIGS, "--describe", "--broker-defaults"),
        (CONFIGS, "--alter", "--delete-config", "log.cleaner.threads", "--broker-defaults"),
        (CONFIGS, "--alter", "--add-config", "consumer.session.timeout.ms=50000", "--group", "some-group"),
        (CONFIGS, "--alter", "--delete-config", "consumer.session.timeout.ms", "--group", "some-group"),
    ],
    "client metrics": [
        ("ClientMetricsCommand", "--list"),
        (
            "ClientMetricsCommand",
            *("--alter", "--name", "m", "--metrics", "org.apache.kafka.producer.", "--interval", "5000"),
            *("--match", "client_software_name=apache-kafka-java"),
        ),
        ("ClientMetricsCommand", "--describe", "--name", "m"),
        ("ClientMetricsCommand", "--list"),
        ("ClientMetricsCommand", "--alter", "--name", "m", "--interval", "1"),
        ("ClientMetricsCommand", "--delete", "--name", "m"),
        ("ClientMetricsCommand", "--list"),
    ],
    "features": [
        ("FeatureCommand", "describe"),
        ("FeatureCommand", "upgrade", "--feature", "group.version=9"),
    ],
    "placement": [
        ("LogDirsCommand", "--describe", "--topic-list", TOPIC),
        ("LeaderElectionCommand", "--election-type", "preferred", "--topic", TOPIC, "--partition", "0"),
        ("LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions"),
        ("LeaderElectionCommand", "--election-type", "unclean", "--topic", "not-there", "--partition", "0"),
        (REASSIGN, "--list"),
        (REASSIGN, "--generate", "--topics-to-move-json-file", "{topics}", "--broker-list", "1"),
        (REASSIGN, "--execute", "--reassignment-json-file", "{moves}"),
        (REASSIGN, "--verify", "--reassignment-json-file", "{moves}"),
        (REASSIGN, "--cancel", "--reassignment-json-file", "{moves}"),
        (REASSIGN, "--execute", "--reassignment-json-file", "{nowhere}"),
    ],
    "cluster": [
        ("ClusterTool", "cluster-id"),
        ("ClusterTool", "list-endpoints"),
        ("TransactionsCommand", "list"),
        ("TransactionsCommand", "describe-producers", "--topic", TOPIC, "--partition", "0"),
        ("TransactionsCommand", "find-hanging", "--broker-id", "1"),
    ],
}

_FILES = {
    "offsets": f"{TOPIC},0,1\n{TOPIC},1,2\n",
    "topics": f'{{"topics": [{{"topic": "{TOPIC}"}}], "version": 1}}',
    "moves": f'{{"version": 1, "partitions": [{{"topic": "{TOPIC}", "partition": 0, "replicas": [1]}}]}}',
    "nowhere": f'{{"version": 1, "partitions": [{{"topic": "{TOPIC}", "partition": 0, "replicas": [99]}}]}}',
}


@pytest.fixture(scope="module")
def prepared(apache_kafka: str, bootstrap: str) -> dict[str, Teller]:
    """Both brokers with the same topic, records and groups; the member of the living group lives as long as its teller."""
    tellers = {address: prepare(address) for address in (apache_kafka, bootstrap)}
    yield tellers
    for teller in tellers.values():
        teller.close()


def prepare(address: str) -> Teller:
    """Make a topic of two partitions with five records each, a group that has committed, and one that lives."""
    teller = Teller(address)
    teller.group = LIVING
    teller.ready()
    # the records are old: they are kept, whenever a broker looks for what is too old
    kept = [CreatableTopicConfig(name="retention.ms", value="-1")]
    topic = CreatableTopic(name=TOPIC, num_partitions=2, replication_factor=1, configs=kept)
    teller.quietly(CreateTopicsRequest(topics=[topic], timeout_ms=60_000), 5)
    for index in range(2):
        produce(teller, index)
    teller.form(session_timeout_ms=300_000)
    teller.group = EMPTY
    for index in range(2):
        teller.commit(topic=TOPIC, partition=index, offset=3)
    return teller


def produce(teller: Teller, index: int) -> None:
    """Five records for a partition, as soon as it has its leader."""
    records = build_batch([Record(b"k", b"v", [], 1_700_000_000_000) for _ in range(5)])
    data = TopicProduceData(name=TOPIC, partition_data=[PartitionProduceData(index=index, records=records)])
    deadline = time.monotonic() + 60
    while True:
        answer = teller.quietly(ProduceRequest(acks=-1, timeout_ms=60_000, topic_data=[data]), 9)
        code = answer.responses[0].partition_responses[0].error_code
        if code == ErrorCode.NONE:
            return
        assert time.monotonic() < deadline, f"partition {index} answers {ErrorCode(code).name}"
        time.sleep(0.1)


def run(launcher: Path, address: str, command: Command, folder: Path) -> str:
    """What a tool prints, standard output and error, with what belongs to one broker alone replaced."""
    files = {}
    for name, text in _FILES.items():
        files[name] = str(folder / f"{name}.txt")
        Path(files[name]).write_text(text)
    tool, *arguments = (part.format(**files) if part.startswith("{") else part for part in command)
    where = ["--bootstrap-server", address]
    first = tool == "TransactionsCommand" or tool == "FeatureCommand"
    called = [str(launcher), "tool", tool, *(where + arguments if first else arguments + where)]
    done = subprocess.run(called, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert "ClassNotFoundException" not in done.stderr, f"there is no tool {tool}, so that any two brokers look the same"
    return f"status {done.returncode}\n" + plain(done.stdout + done.stderr, address)


def plain(text: str, address: str) -> str:
    """Take addresses, ids, times, directories and the order and width of tables out of what a tool printed."""
    text = text.replace(address, "ADDRESS").replace(address.rpartition(":")[2], "PORT")
    text = re.sub(r"teller-[0-9a-f-]{36}", "MEMBER", text)
    text = re.sub(r"[A-Za-z0-9_-]{22}\b(?=\s*$)", "CLUSTER", text, flags=re.MULTILINE)
    text = re.sub(r'"logDir":"[^"]*"', '"logDir":"DIR"', text)
    text = re.sub(r'"log_dirs":\["/[^"]*"', '"log_dirs":["DIR"', text)
    text = re.sub(r"\d{13}", "TIME", text)
    text = re.sub(r"Epoch: \d+|-[0-9a-f]{4}-[0-9a-f]{4}-", "ID", text)
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if not line.lstrip().startswith("at ")]
    return "\n".join(sorted(line for line in lines if line))


def told(story: str, text: str) -> str:
    """What of an output the brokers have to agree about."""
    if story == "features":
        # this broker has one of the features that Apache Kafka's KRaft mode has
        lines = [line for line in text.splitlines() if "group.version" in line]
        return "\n".join(re.sub(r"ID|( to 9\.).*", r"\1", line) for line in lines)
    if story in ("one group", "groups", "offsets"):
        # other tests' groups are none of this story's business; the tools word errors by what the broker says
        lines = [line for line in text.splitlines() if not re.match(r"(?!tools-)\S+-group\b|.*Error:.*|.*Exception.*", line)]
        return "\n".join(lines)
    if story == "configs":
        # which of several synonyms has a default is said by one more here; KRaft sets one config by itself
        text = re.sub(r", DEFAULT_CONFIG:log\.retention\.hours=168|min\.insync\.replicas=1 .*", "", text)
        lines = [line for line in text.splitlines() if line and not re.search(r"InvalidConfigException|no\.such", line)]
        return "\n".join(lines)
    if story == "client metrics":
        return "\n".join(line for line in text.splitlines() if "interval.ms" not in line or "=" in line)
    if story == "placement":
        return "\n".join(
            re.sub(r"Successfully completed leader election.*", "elected", line)
            for line in text.splitlines()
            if not re.search(r"broker 99|brokers \[99\]|not-there", line)
        )
    return text


@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", [name for name in STORIES if name in USUAL or os.environ.get("KAFKAX_ALL_TOOLS")])
def test_tools_print_the_same(
    story: str, kafka_tools: Path, apache_kafka: str, bootstrap: str, prepared: dict[str, Teller], tmp_path: Path
) -> None:
    different = []
    for command in STORIES[story]:
        expected, answered = (told(story, run(kafka_tools, at, command, tmp_path)) for at in (apache_kafka, bootstrap))
        if answered != expected:
            different.append(f"{' '.join(command)}\n--- Apache Kafka\n{expected}\n--- kafkax\n{answered}\n")
    assert not different, "\n".join(different)
