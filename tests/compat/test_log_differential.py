"""The same produce sequence into kafkax and into Apache Kafka 3.9.2 is answered alike and leaves the same logs, indexes and
surviving records."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_port
from kafkax._core.log import Log, LogSettings
from kafkax.clock import SystemClock
from kafkax.config import BrokerConfig, TopicConfig
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import RecordBatch, build_batch, iter_batches
from kafkax.storage.cleaner import Cleaner
from kafkax.storage.loading import LoadProgress
from kafkax.storage.manager import LogManager
from kafkax.storage.producer_snapshot import read_snapshot
from kafkax.storage.txn_index import read_transactions
from tests.compat.brokers import running_broker
from tests.compat.conftest import started
from tests.compat.log_stories import (
    COMPRESSIONS,
    DAY_MS,
    Side,
    Transaction,
    as_sent,
    batches,
    eventually,
    keyed_records,
    plain_batches,
)
from tests.unit._core.batches import Rec
from tests.unit._core.batches import batch as raw_batch

pytestmark = pytest.mark.timeout(300)

SMALL = {"segment_bytes": "20000", "index_interval_bytes": "1000"}
COMPACTED = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": "0.01", "file_delete_delay_ms": "1"}
KEY, VALUE = 1, 2
"""Places in what survives."""
CLEANING = {"log.cleaner.backoff.ms": "200", "log.cleaner.dedupe.buffer.size": "4194304"}


@contextmanager
def quick_java() -> Iterator[None]:
    """Have Java start quickly rather than run fast: it does little here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        yield


@pytest.fixture(scope="module")
def sides(kafka_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    """Apache Kafka 3.9.2 and kafkax."""
    home = tmp_path_factory.mktemp("differential")
    keeper_port, port = free_port(), free_port()
    alone = ("offsets.topic.replication.factor", "transaction.state.log.replication.factor", "transaction.state.log.min.isr")
    settings = {**dict.fromkeys(alone, "1"), **CLEANING, "transaction.state.log.num.partitions": "1"}
    configs = [f"{key}={value}" for key, value in settings.items()]
    keeper, kafka = home / "zookeeper", home / "kafka"
    with (
        quick_java(),
        running_broker(home / "kafkax", overrides=CLEANING) as broker,
        started(kafka_tools, "zookeeper", keeper, keeper_port),
        started(kafka_tools, "zkbroker", kafka, port, 1, f"127.0.0.1:{keeper_port}", *configs),
    ):
        yield [Side(f"127.0.0.1:{port}", kafka / "data"), Side(broker.address, broker.data)]
        for folder in (kafka, keeper):
            # nobody looks at what they would leave behind
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def described(name: str, batch: RecordBatch, *, own_time: bool) -> tuple[object, ...]:
    """A batch to compare; what the broker's clock decides is left out unless it is the producer's time."""
    header = (name, batch.base_offset, batch.last_offset, batch.leader_epoch, batch.attributes, batch.count)
    producer = (batch.producer_id, batch.producer_epoch, batch.base_sequence)
    if own_time:
        return (*header, *producer, batch.base_timestamp, batch.max_timestamp, batch.crc, bytes(batch.data))
    records = [(record.offset, record.key, record.value, record.headers) for record in batch.records()]
    return (*header, *producer, records)


def logs(sides: list[Side], topic: str, *, append_time: bool = False) -> list[list[tuple[object, ...]]]:
    return [
        [described(name, batch, own_time=not batch.control and not append_time) for name, batch in batches(side.folder(topic))]
        for side in sides
    ]


def closed_files(side: Side, topic: str, suffix: str) -> dict[str, bytes]:
    """Name and content of the files of all segments but the active one."""
    return {path.name: path.read_bytes() for path in sorted(side.folder(topic).glob(f"*{suffix}"))[:-1]}


def found_by_time(side: Side, topic: str, timestamps: list[int]) -> list[tuple[int, int]]:
    return [side.listed(topic, timestamp) for timestamp in timestamps]


def found_by_offset(side: Side, topic: str, offsets: range) -> list[tuple[int, int]]:
    """Bounds of the batch that a fetch from each offset begins with."""
    found = []
    for offset in offsets:
        wanted = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1)
        request = FetchRequest(topics=[FetchTopic(topic=topic, partitions=[wanted])], max_wait_ms=0, min_bytes=0)
        (data,) = side.wire.ask(request, 11).responses[0].partitions
        assert data.error_code == 0
        first = next(iter_batches(data.records))
        found.append((first.base_offset, first.last_offset))
    return found


def same(values: list[object]) -> object:
    """The value of both sides."""
    assert values[0] == values[1]
    return values[1]


def test_logs_agree_batch_for_batch(sides: list[Side]) -> None:
    """All compressions, an idempotent producer, segments that end by size and by time, CreateTime."""
    topic, first = "plain", int(time.time() * 1000) - 20 * DAY_MS
    sent = [*plain_batches(first, 80), *plain_batches(first + 9 * DAY_MS, 40, seed=2)]
    # the producer goes on where it was, so the second part has none
    sent = [*sent[:80], *(data for data in sent[80:] if next(iter_batches(data)).producer_id < 0)]
    for side in sides:
        side.create(topic, **SMALL)
        for data in sent:
            side.produce(topic, data)
    held = same(logs(sides, topic))
    assert isinstance(held, list)
    assert len(held) == len(sent)
    assert len({name for name, *_ in held}) > 4, "there should be several segments"
    for suffix in (".index", ".timeindex"):
        files = same([closed_files(side, topic, suffix) for side in sides])
        assert isinstance(files, dict)
        assert all(files.values()), "every closed segment should have entries"
    epochs = [(side.folder(topic) / "leader-epoch-checkpoint").read_text() for side in sides]
    assert same(epochs) == "0\n1\n0 0\n"
    assert same([snapshots(side, topic) for side in sides])
    chosen = random.Random(3)
    moments = [-1, -2, -3, 0, *(first + chosen.randrange(-10_000, 10 * DAY_MS) for _ in range(60))]
    moments += [first + number * 1000 + chosen.randrange(-3000, 3000) for number in range(0, 80, 2)]
    same([found_by_time(side, topic, moments) for side in sides])
    end = sides[1].end(topic)
    same([found_by_offset(side, topic, range(0, end, 7)) for side in sides])


def snapshots(side: Side, topic: str) -> dict[str, list[tuple[object, ...]]]:
    return {path.name: sorted(map(tuple, read_snapshot(path))) for path in sorted(side.folder(topic).glob("*.snapshot"))}


def test_logs_with_log_append_time_agree(sides: list[Side]) -> None:
    topic, first = "append-time", int(time.time() * 1000)
    for side in sides:
        side.create(topic, message_timestamp_type="LogAppendTime", **SMALL)
        for data in plain_batches(first, 60):
            side.produce(topic, data)
    held = same(logs(sides, topic, append_time=True))
    assert isinstance(held, list)
    assert len(held) == 60
    for side in sides:
        for _, batch in batches(side.folder(topic)):
            assert batch.log_append_time
            assert first - 1 <= batch.max_timestamp <= time.time() * 1000
    same([closed_files(side, topic, ".index") for side in sides])


def answered(side: Side, version: int, parts: list[tuple[str, bytes]], **fields: Any) -> list[tuple[Any, ...]]:
    """What is said of partition 0 of each topic; of refused records only which they are, since each broker has its own words."""
    topics = [TopicProduceData(name=name, partition_data=[PartitionProduceData(records=data)]) for name, data in parts]
    request = ProduceRequest(**{"acks": 1, "timeout_ms": 30_000, **fields}, topic_data=topics)
    said = []
    for topic in side.wire.ask(request, version).responses:
        for part in topic.partition_responses:
            numbers = (part.error_code, part.base_offset, part.log_append_time_ms, part.log_start_offset)
            refused = [error.batch_index for error in part.record_errors]
            said.append((topic.name, part.index, numbers, part.error_message is not None, refused))
    return sorted(said)


@pytest.mark.parametrize("version", [3, 7, 8, 9, 11])
def test_odd_requests_are_answered_alike(sides: list[Side], version: int) -> None:
    now = int(time.time() * 1000)
    fine, keyless, old = Rec(timestamp=now), Rec(key=None, timestamp=now), Rec(timestamp=5)
    plain, compact, bounded, both, packed = (f"{name}-{version}" for name in ("odd", "compact", "bounded", "both", "packed"))
    for side in sides:
        side.create(plain, min_insync_replicas="2")
        side.create(compact, cleanup_policy="compact")
        side.create(bounded, message_timestamp_before_max_ms="100000")
        side.create(both, cleanup_policy="compact", message_timestamp_before_max_ms="100000")
        side.create(packed, cleanup_policy="compact", compression_type="zstd")
    good, numbered = raw_batch([fine]), raw_batch([fine], producer_id=77, epoch=0, sequence=4)
    requests: list[tuple[list[tuple[str, bytes]], dict[str, Any]]] = [
        ([(plain, good)], {"acks": -1}),
        ([(compact, raw_batch([fine, keyless, fine, keyless]))], {}),
        ([(plain, good), (compact, raw_batch([fine, keyless])), (bounded, good)], {"acks": -1}),
        ([(bounded, raw_batch([fine, old])), (plain, good)], {}),
        ([(both, raw_batch([keyless, fine, old, Rec(key=None, timestamp=7)]))], {}),
        ([(packed, raw_batch([fine, keyless])), (plain, good)], {}),
        ([(packed, good + good[:20])], {}),
        ([(plain, good), (plain, raw_batch([fine, fine]))], {}),
        ([(plain, good), (compact, raw_batch([fine], crc_error=1)), (bounded, b"")], {}),
        ([(plain, numbered)], {}),
        ([(plain, numbered)], {}),
        ([(plain, raw_batch([fine], producer_id=77, epoch=0, sequence=7))], {}),
        ([(plain, good), (compact, raw_batch([fine], producer_id=78, epoch=0, sequence=0, attributes=0x10))], {}),
        ([(plain, good), ("absent", good)], {"acks": 2}),
    ]
    for parts, fields in requests:
        same([answered(side, version, parts, **fields) for side in sides])
    nothing = ProduceRequest(acks=1, timeout_ms=30_000, topic_data=[TopicProduceData(name=plain, partition_data=[])])
    assert same([side.wire.ask(nothing, version).responses for side in sides]) == []


def write_transactions(side: Side, topic: str, rounds: int, **configs: str) -> None:
    """Transactions that are committed and aborted in turn, with records between them that belong to none."""
    chosen, now = random.Random(4), int(time.time() * 1000)
    side.create(topic, **SMALL, **configs)
    transaction = Transaction(side, topic, topic)
    for number in range(rounds):
        transaction.write(keyed_records(now + number, 20, chosen))
        if number % 3 == 1:
            transaction.write(keyed_records(now + number, 60, chosen))
        transaction.finish(committed=number % 2 == 0)
        compression = COMPRESSIONS[number % len(COMPRESSIONS)]
        side.produce(topic, build_batch(keyed_records(now + number, 10, chosen), compression=compression))
    side.produce(topic, build_batch([Record(b"large", chosen.randbytes(19_000), (), now)]))


def test_transactions_leave_the_same_log(sides: list[Side], tmp_path: Path) -> None:
    """What producers and the coordinator sent to Apache Kafka, appended to a log of ours."""
    side, topic = sides[0], "transactions"
    write_transactions(side, topic, 16)
    (tmp_path / f"{topic}-0").mkdir()
    ours = Side("", tmp_path)
    log = Log.open(str(ours.folder(topic)), LogSettings(segment_bytes=20_000, index_interval_bytes=1000))
    for _, batch in batches(side.folder(topic)):
        log.append(as_sent(batch), origin="coordinator" if batch.control else "client")
    log.flush()
    held = same([[(name, bytes(batch.data)) for name, batch in batches(each.folder(topic))] for each in (side, ours)])
    assert isinstance(held, list)
    assert len({name for name, _ in held}) > 1
    for suffix in (".log", ".index", ".timeindex"):
        same([closed_files(each, topic, suffix) for each in (side, ours)])
    aborted = [
        {path.name: [tuple(entry) for entry in read_transactions(path)] for path in each.folder(topic).glob("*.txnindex")}
        for each in (side, ours)
    ]
    found = same([{name: entries for name, entries in each.items() if entries} for each in aborted])
    assert isinstance(found, dict)
    assert sum(map(len, found.values())) == 8
    assert same([snapshots(each, topic) for each in (side, ours)])


def survivors(side: Side, topic: str) -> list[tuple[object, ...]]:
    return [
        (record.offset, record.key, record.value, record.timestamp, record.headers,
         batch.base_offset, batch.last_offset, batch.producer_id, batch.base_sequence, batch.compression)
        for _, batch in batches(side.folder(topic))
        if not batch.control
        for record in batch.records()
    ]  # fmt: skip


def wait_until_clean(side: Side, topic: str) -> None:
    def clean() -> bool | None:
        active = max(int(path.stem) for path in side.folder(topic).glob("*.log"))
        return True if side.cleaned_to(topic) == active else None

    eventually(clean, f"clean log of {topic} at {side.address}")


NIGHTLY = pytest.mark.skipif("KAFKAX_ALL_TOOLS" not in os.environ, reason="hangs on when each side cleans: only in ci/nightly")


@pytest.mark.parametrize(
    "retention_ms", [pytest.param(DAY_MS, id="tombstones stay"), pytest.param(1, id="tombstones go", marks=NIGHTLY)]
)
def test_compaction_leaves_the_same_records(sides: list[Side], retention_ms: int) -> None:
    topic, now = f"compacted-{retention_ms}", int(time.time() * 1000)
    for side in sides:
        side.create(topic, **COMPACTED, **SMALL, delete_retention_ms=str(retention_ms))
        chosen = random.Random(8)
        # the second time finds the horizons that the first one wrote; how often a side cleans meanwhile is its own affair, so
        # a third time, with hardly anything new, finds those that the second one wrote
        for kind, count, tombstones in (("first", 25, 0.15), ("second", 25, 0.0), ("third", 0, 0.0)):
            for number in range(count):
                compression = COMPRESSIONS[number % len(COMPRESSIONS)]
                records = keyed_records(now + number, 20, chosen, kind, tombstones)
                side.produce(topic, build_batch(records, compression=compression))
            # a batch too large for the rest of the segment begins the next one
            side.produce(topic, build_batch([Record(b"large", chosen.randbytes(19_000), (), now)]))
            wait_until_clean(side, topic)
    left = same([survivors(side, topic) for side in sides])
    assert isinstance(left, list)
    assert len({side.cleaned_to(topic) for side in sides}) == 1
    clean = [entry for entry in left if entry[KEY] != b"large"]
    assert len({entry[KEY] for entry in clean}) == len(clean), "a key should be there once"
    assert any(entry[VALUE] is None for entry in clean) == (retention_ms == DAY_MS)


def test_compaction_of_transactions_leaves_the_same_records(sides: list[Side], tmp_path: Path) -> None:
    """A copy of Apache Kafka's log under our cleaner, and the log under its own."""
    side, topic = sides[0], "compacted-transactions"
    write_transactions(side, topic, 16, **COMPACTED, min_compaction_lag_ms=str(DAY_MS))
    shutil.copytree(side.folder(topic), tmp_path / f"{topic}-0")
    before = survivors(side, topic)
    side.set(topic, "min.compaction.lag.ms", "0")
    wait_until_clean(side, topic)
    broker = BrokerConfig({"node.id": "1", "log.dirs": str(tmp_path)})
    topic_config = TopicConfig({name.replace("_", "."): value for name, value in {**COMPACTED, **SMALL}.items()}, broker)
    manager = LogManager([str(tmp_path)], broker, lambda _: topic_config, SystemClock())
    manager.load("differential", 1, LoadProgress())
    for hosted in manager.logs():
        hosted.log.high_watermark = hosted.log.log_end_offset
    assert Cleaner(manager, broker, SystemClock()).clean_dirtiest() is not None
    ours = Side("", tmp_path)
    left = same([survivors(each, topic) for each in (side, ours)])
    markers = [[batch.base_offset for _, batch in batches(each.folder(topic)) if batch.control] for each in (side, ours)]
    assert same(markers)
    assert isinstance(left, list)
    assert 0 < len(left) < len(before) / 2
    manager.shutdown()
