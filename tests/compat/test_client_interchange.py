"""What kafkax's client writes is read by other clients, and the reverse, in every compression."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import kafkax
from kafkax.client.admin import NewTopic
from tests.compat.test_java_tools import Tool, tool  # noqa: F401 - a fixture

COUNT = 500
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
WRITTEN_BY_JAVA = CODECS if os.environ.get("KAFKAX_ALL_TOOLS") else ["lz4"]
"""A Java machine each: all of them only in ci/nightly."""


@pytest.fixture
def created(bootstrap: str, topic: str) -> str:
    with kafkax.AdminClient({"bootstrap.servers": bootstrap}) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    return topic


def write(bootstrap: str, topic: str, codec: str) -> list[tuple[bytes, bytes]]:
    """Keys and values that kafkax has written."""
    records = [(b"%s-%d" % (codec.encode(), number), b"value %d " % number * 20) for number in range(COUNT)]
    with kafkax.Producer({"bootstrap.servers": bootstrap, "compression.type": codec}) as producer:
        for key, value in records:
            producer.produce(topic, value, key, headers=[("codec", codec.encode())])
    return records


def read(bootstrap: str, topic: str, count: int) -> list[Any]:
    """Records that kafkax reads."""
    found: list[Any] = []
    with kafkax.Consumer({"bootstrap.servers": bootstrap}) as consumer:
        consumer.assign([kafkax.TopicPartition(topic, 0, 0)])
        while len(found) < count:
            messages = consumer.consume(count - len(found), 60)
            assert messages, f"{len(found)} of {count} records came"
            found += messages
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_exchange_with_kafka_python(bootstrap: str, created: str, codec: str) -> None:
    kafka = pytest.importorskip("kafka", reason="kafka-python is not installed")
    if codec not in ("none", "gzip"):
        library = {"snappy": "snappy", "lz4": "lz4", "zstd": "zstandard"}[codec]
        pytest.importorskip(library, reason=f"kafka-python needs {library} for {codec}")
    ours = write(bootstrap, created, codec)
    compression = None if codec == "none" else codec
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, compression_type=compression, acks="all", linger_ms=5)
    theirs = [(b"theirs-%d" % number, b"value %d " % number * 20) for number in range(COUNT)]
    for key, value in theirs:
        producer.send(created, value, key, headers=[("codec", codec.encode())])
    producer.flush(60)
    producer.close()
    by_us = read(bootstrap, created, 2 * COUNT)
    assert [(each.key(), each.value()) for each in by_us] == ours + theirs
    assert all(each.headers() == [("codec", codec.encode())] for each in by_us)
    consumer = kafka.KafkaConsumer(created, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000)
    by_them = [next(consumer) for _ in range(2 * COUNT)]
    consumer.close()
    assert [(each.key, each.value) for each in by_them] == ours + theirs
    assert all(list(each.headers) == [("codec", codec.encode())] for each in by_them)


@pytest.mark.timeout(300)
def test_java_reads_every_compression_of_ours(tool: Tool, bootstrap: str, created: str) -> None:  # noqa: F811
    written = [record for codec in CODECS for record in write(bootstrap, created, codec)]
    shown = tool(
        "consumer.ConsoleConsumer",
        *("--bootstrap-server", bootstrap, "--topic", created, "--from-beginning"),
        *("--max-messages", str(len(written)), "--timeout-ms", "60000", "--formatter-property", "print.key=true"),
    )
    assert shown.encode() == b"".join(b"%s\t%s\n" % record for record in written)


@pytest.mark.parametrize("compression", WRITTEN_BY_JAVA)
@pytest.mark.timeout(300)
def test_we_read_what_java_wrote(tool: Tool, bootstrap: str, created: str, tmp_path: Path, compression: str) -> None:  # noqa: F811
    records = [(b"k%d" % number, b"value %d " % number * 20) for number in range(COUNT)]
    source = tmp_path / "lines"
    source.write_bytes(b"".join(b"%s\t%s\n" % record for record in records))
    tool(
        "ConsoleProducer",
        *("--bootstrap-server", bootstrap, "--topic", created, "--compression-codec", compression),
        *("--reader-property", "parse.key=true"),
        stdin=source,
    )
    assert [(each.key(), each.value()) for each in read(bootstrap, created, COUNT)] == records
