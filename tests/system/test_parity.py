"""Every Produce and Fetch frame, ordinary, odd or broken, is answered with the same bytes by the core and by the Python handlers.

What is left out, and why: fetch sessions (KIP-227) are the core's alone.  The reference path never begins one, which the KIP
allows, so a request that asks for one is compared without the session's id, and requests within a
session are not compared, but for the leaders that they tell of (``test_parity_leaders``).
Timestamps that the broker sets (``message.timestamp.type=LogAppendTime``) are compared without their value.
"""

from __future__ import annotations

import json
import os
import random
import struct
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kafkax.protocol.headers import request_header
from kafkax.protocol.message import Request
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.reference import reference
from tests.system.parity import CLOSED, Pair, pair
from tests.unit._core.batches import Rec
from tests.unit._core.batches import batch as raw_batch

PRODUCE_VERSIONS = range(3, 14)
FETCH_VERSIONS = range(4, 19)
NOW = int(time.time() * 1000)
SEED = int(os.environ.get("KAFKAX_PARITY_SEED", "20260"))
MUTATIONS = int(os.environ.get("KAFKAX_PARITY_MUTATIONS", "60"))
"""Broken frames of each kind; ci/nightly asks for more."""
UNKNOWN = uuid.UUID("7fffffff-0000-4000-8000-0123456789ab")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("parity") / "data") as opened:
        yield opened


def frame(request: Request, version: int, correlation_id: int = 7, client_id: str = "parity") -> bytes:
    return request_header(request.api_key, version, correlation_id, client_id) + request.encode(version)


def batch(*values: bytes | None, key: bytes | None = b"k", **options: Any) -> bytes:
    return build_batch([Record(key, value, [], NOW + at) for at, value in enumerate(values)], **options)


def producing(both: Pair, parts: list[tuple[str, int, bytes | None]], version: int, *, acks: int = 1, **fields: Any) -> bytes:
    """A Produce frame with an entry for each (topic, partition, records); neighbours of one topic share theirs."""
    topics: list[TopicProduceData] = []
    for name, index, records in parts:
        named: dict[str, Any] = {"topic_id": both.ids.get(name, UNKNOWN)} if version >= 13 else {"name": name}
        if not topics or any(getattr(topics[-1], field) != value for field, value in named.items()):
            topics.append(TopicProduceData(**named, partition_data=[]))
        topics[-1].partition_data.append(PartitionProduceData(index=index, records=records))
    return frame(ProduceRequest(acks=acks, timeout_ms=60_000, topic_data=topics, **fields), version)


def fetching(both: Pair, parts: list[tuple[str, int, int]], version: int, *, limit: int = 1 << 20, epoch: int = -1,
             last_epoch: int = -1, **fields: Any) -> bytes:  # fmt: skip
    """A Fetch frame without a session for each (topic, partition, offset)."""
    topics: list[FetchTopic] = []
    for name, index, offset in parts:
        named: dict[str, Any] = {"topic_id": both.ids.get(name, UNKNOWN)} if version >= 13 else {"topic": name}
        if not topics or any(getattr(topics[-1], field) != value for field, value in named.items()):
            topics.append(FetchTopic(**named, partitions=[]))
        asked = FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=limit)
        if version >= 9:
            asked.current_leader_epoch = epoch
        if version >= 12:
            asked.last_fetched_epoch = last_epoch
        topics[-1].partitions.append(asked)
    fields = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 24, **fields}
    if version >= 7:
        fields.setdefault("session_epoch", -1)
    return frame(FetchRequest(topics=topics, **fields), version)


def decoded(answer: bytes, response: Any, version: int, flexible_since: int) -> Any:
    return response.decode(answer[5 if version >= flexible_since else 4 :], version)


def error_of(answer: bytes, version: int) -> int:
    found = decoded(answer, ProduceResponse, version, 9).responses[0].partition_responses[0].error_code
    assert isinstance(found, int)
    return found


BATCHES: dict[str, bytes | None] = {
    "ordinary": batch(b"a", b"b", b"c"),
    "without keys": batch(b"a", b"b", key=None),
    "tombstones": batch(None, None),
    "headers": raw_batch([Rec(headers=((b"h", b"1"), (b"i", None))), Rec(value=b"x" * 300)]),
    "gzip": batch(b"a" * 100, b"b", compression="gzip"),
    "snappy": batch(b"a" * 100, b"b", compression="snappy"),
    "lz4": batch(b"a" * 100, b"b", compression="lz4"),
    "zstd": batch(b"a" * 100, b"b", compression="zstd"),
    "gzip that is not": raw_batch(2, attributes=1, payload=b"\x1f\x8b\x08 this is not gzip"),
    "snappy that is not": raw_batch(2, attributes=2, payload=b"\xff\xff\xff\xff\xff"),
    "lz4 that is not": raw_batch(2, attributes=3, payload=b"\x04\x22\x4d\x18"),
    "zstd that is not": raw_batch(2, attributes=4, payload=b"\x28\xb5\x2f\xfd\x00"),
    "unknown codec": raw_batch(2, attributes=5),
    "append time": raw_batch(2, attributes=8),
    "control": raw_batch(1, attributes=0x20),
    "transactional": raw_batch(1, attributes=0x10, producer_id=900, epoch=0, sequence=0),
    "wrong checksum": raw_batch(2, crc_error=1),
    "wrong checksum, compressed": batch(b"a", compression="lz4")[:-1] + b"!",
    "magic 1": raw_batch(2, magic=1),
    "magic 0": raw_batch(2, magic=0),
    "magic 3": raw_batch(2, magic=3),
    "count too large": raw_batch(2, count=3),
    "count too small": raw_batch(2, count=1, last_offset_delta=0),
    "count 0": raw_batch(0, count=0),
    "count negative": raw_batch(2, count=-1),
    "last offset delta": raw_batch(2, last_offset_delta=5),
    "length too large": raw_batch(2, length_error=1),
    "length too small": raw_batch(2, length_error=-1),
    "base offset": raw_batch(2, base_offset=100),
    "leader epoch": raw_batch(2, leader_epoch=9),
    "max timestamp": raw_batch(2, max_timestamp=0),
    "two batches": batch(b"a") + batch(b"b"),
    "a batch and bytes": batch(b"a") + b"rest",
    "cut off": batch(b"a", b"b")[:-1],
    "header only": batch(b"a")[:61],
    "few bytes": b"abc",
    "nothing": b"",
    "null": None,
    "producer without sequence": raw_batch(1, producer_id=5, epoch=0, sequence=-1),
    "far future": raw_batch([Rec(timestamp=NOW + (1 << 40))]),
    "far past": raw_batch([Rec(timestamp=1)]),
    "negative time": raw_batch([Rec(timestamp=-1)]),
    "too large": raw_batch([Rec(value=bytes(2000))] * 600),
}  # fmt: skip


@pytest.mark.parametrize("kind", BATCHES)
def test_produce_of_any_batch(both: Pair, kind: str) -> None:
    topic = both.create("batch-" + kind.replace(" ", "-").replace(",", ""))
    for version in PRODUCE_VERSIONS:
        both.same(producing(both, [(topic, 0, BATCHES[kind])], version))
    for acks in (-1, 0):
        both.same(producing(both, [(topic, 0, BATCHES[kind])], 9, acks=acks), silent=acks == 0)
    assert kind != "ordinary" or error_of(both.same(producing(both, [(topic, 0, BATCHES[kind])], 9)), 9) == 0
    both.same(fetching(both, [(topic, 0, 0)], 12))


TOPICS = {
    "compacted": {"cleanup_policy": "compact"},
    "small": {"max_message_bytes": "100"},
    "recompressed": {"compression_type": "zstd"},
    "uncompressed": {"compression_type": "uncompressed"},
    "in time": {"message_timestamp_before_max_ms": "60000", "message_timestamp_after_max_ms": "60000"},
    "small segments": {"segment_bytes": "200"},
    "two in sync where there is one": {"min_insync_replicas": "2"},
}


@pytest.mark.parametrize("kind", TOPICS)
def test_produce_to_topics_with_rules_of_their_own(both: Pair, kind: str) -> None:
    topic = both.create("rules-" + kind.replace(" ", "-"), **TOPICS[kind])
    for version in (3, 8, 13):
        for records in ("ordinary", "without keys", "gzip", "lz4", "wrong checksum", "far future", "far past", "tombstones"):
            for acks in (1, -1):
                both.same(producing(both, [(topic, 0, BATCHES[records])], version, acks=acks))
    both.same(fetching(both, [(topic, 0, 0)], 12))


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_produce_to_several_partitions_some_of_which_are_not_there(both: Pair, version: int) -> None:
    one, two = both.create(f"several-{version}", 3), both.create(f"severe-{version}", 2)
    good, bad = batch(b"good"), BATCHES["wrong checksum"]
    requests: list[list[tuple[str, int, bytes | None]]] = [
        [(one, 0, good), (one, 1, good), (two, 1, good), (two, 0, good)],
        [(one, 0, good), (one, 1, bad), (one, 2, good)],
        [(one, 0, good), (one, 9, good)],
        [(one, -1, good)],
        [("absent", 0, good), (one, 0, good)],
        [(one, 0, good), (two, 0, bad), (one, 1, good)],
        [(one, 0, good), (one, 0, good)],
        [(one, 0, BATCHES["gzip"]), (two, 0, BATCHES["zstd"]), (two, 1, BATCHES["snappy"])],
        [(one, 0, None), (two, 0, good)],
        [],
    ]
    for parts in requests:
        for acks in (1, -1, 0, 2, -7):
            both.same(producing(both, parts, version, acks=acks), silent=acks == 0)
    both.same(producing(both, [(one, 0, good)], version, transactional_id="tx"))
    both.same(frame(ProduceRequest(acks=1, topic_data=[]), version))
    if version < 13:
        both.same(frame(ProduceRequest(acks=1, topic_data=[TopicProduceData(name=one, partition_data=[])]), version))
    both.same(fetching(both, [(one, index, 0) for index in range(3)] + [(two, index, 0) for index in range(2)], 12))


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_refused_records_are_named_alike_whether_or_not_others_were_appended(both: Pair, version: int) -> None:
    plain = both.create(f"beside-{version}", 2)
    strict = both.create(f"strict-{version}", cleanup_policy="compact", message_timestamp_before_max_ms="3600000")
    good = batch(b"good")
    refused = [
        batch(b"a", b"b", key=None),
        batch(b"a", key=None, compression="lz4"),
        raw_batch([Rec(timestamp=1), Rec(timestamp=NOW), Rec(key=None, timestamp=1), Rec(key=None, timestamp=NOW)]),
    ]
    for records in refused:
        for acks in (1, -1):
            for parts in (
                [(strict, 0, records)],
                [(plain, 0, good), (strict, 0, records)],
                [(strict, 0, records), (plain, 0, good), (plain, 1, good)],
            ):
                answer = decoded(both.same(producing(both, parts, version, acks=acks)), ProduceResponse, version, 9)
                (told,) = (part for topic in answer.responses for part in topic.partition_responses if part.error_code)
                assert bool(told.record_errors) is (version >= 8)


def test_produce_of_idempotent_producers(both: Pair) -> None:
    topic = both.create("idempotent")
    for version in (3, 9, 13):
        producer = 1000 + version
        steps = [(0, 0), (0, 1), (0, 1), (0, 0), (0, 5), (0, 2), (1, 0), (0, 3), (1, 1), (1, 3), (1, 1), (3, 7)]
        for epoch, sequence in steps:
            records = batch(b"%d" % sequence, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
            for acks in (1, -1):
                both.same(producing(both, [(topic, 0, records)], version, acks=acks))


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_fetch_of_any_place(both: Pair, version: int) -> None:
    topic, other = both.create(f"places-{version}", 2), both.create(f"empty-{version}")
    for value in (b"a", b"b" * 500, b"c"):
        both.same(producing(both, [(topic, 0, batch(value, value)), (topic, 1, batch(value))], 9))
    for offset in (-2, -1, 0, 1, 2, 5, 6, 7, 1 << 40):
        both.same(fetching(both, [(topic, 0, offset)], version))
        both.same(fetching(both, [(topic, 0, offset), (other, 0, 0), (topic, 1, 0)], version))
    parts = [(topic, 0, 0), (topic, 1, 0), (other, 0, 0)]
    for fields in (
        {"max_bytes": 0}, {"max_bytes": 100}, {"max_bytes": 700}, {"limit": 0}, {"limit": 50}, {"limit": 650}, {"limit": -1},
        {"max_bytes": -1}, {"isolation_level": 1}, {"isolation_level": 7}, {"min_bytes": 0}, {"min_bytes": -5},
        {"min_bytes": 100_000, "max_wait_ms": 3}, {"max_wait_ms": -1, "min_bytes": 100_000}, {"replica_id": -2},
        {"replica_id": 1}, {"replica_id": 7}, {"epoch": 0}, {"epoch": 5}, {"epoch": -3}, {"rack_id": "a"},
    ):  # fmt: skip
        if version >= 15 and "replica_id" in fields:
            continue
        known = {key: value for key, value in fields.items() if key != "rack_id" or version >= 11}
        both.same(fetching(both, parts, version, **known))  # type: ignore[arg-type]
    for asked in ([("absent", 0, 0)], [(topic, 9, 0)], [(topic, -1, 0)], [(topic, 0, 0), ("absent", 0, 0)], []):
        both.same(fetching(both, asked, version))
    both.same(fetching(both, [(topic, 0, 0), (other, 0, 0), (topic, 0, 3)], version))


@pytest.mark.parametrize("version", range(12, 19))
def test_fetch_of_a_consumer_that_knows_the_epoch_of_its_last_record(both: Pair, version: int) -> None:
    topic = both.create(f"epochs-{version}")
    both.same(producing(both, [(topic, 0, batch(b"a", b"b"))], 9))
    for last_epoch in (-2, 0, 1, 7):
        for offset in (-1, 0, 1, 2, 3):
            for isolation in (0, 1):
                for more in ({}, {"epoch": 0}, {"epoch": 4}, {"rack_id": "a"}):
                    fields = {"last_epoch": last_epoch, "isolation_level": isolation, "max_wait_ms": 1, **more}
                    both.same(fetching(both, [(topic, 0, offset)], version, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", range(7, 19))
def test_fetch_that_asks_for_a_session_but_for_its_id(both: Pair, version: int) -> None:
    topic = both.create(f"session-{version}")
    both.same(producing(both, [(topic, 0, batch(b"a"))], 9))
    ours, theirs = both.ask(fetching(both, [(topic, 0, 0)], version, session_epoch=0))
    first, second = (decoded(answer, FetchResponse, version, 12) for answer in (ours, theirs))
    assert (first.session_id > 0, second.session_id) == (True, 0)
    first.session_id = 0
    assert first.encode(version) == second.encode(version)
    for session_id, epoch in ((0, 5), (12345, 3)):
        both.same(fetching(both, [(topic, 0, 0)], version, session_id=session_id, session_epoch=epoch))


def test_fetch_of_zstandard_by_old_clients(both: Pair) -> None:
    topic, other = both.create("zstandard", compression_type="zstd"), both.create("beside-zstandard")
    for name in (topic, other):
        both.same(producing(both, [(name, 0, BATCHES["zstd"])], 9))
    for version in FETCH_VERSIONS:
        for offset in (0, 100):
            for limit in (1 << 20, 0):
                both.same(fetching(both, [(topic, 0, offset), (other, 0, 0)], version, limit=limit))
        # What is not told counts for the bytes that are waited for, and for what others may have.
        both.same(fetching(both, [(topic, 0, 0)], version, min_bytes=100_000, max_wait_ms=1))


def test_the_time_of_appending_is_the_only_difference_where_the_broker_sets_it(both: Pair) -> None:
    topic = both.create("append-time", message_timestamp_type="LogAppendTime")
    for version in PRODUCE_VERSIONS:
        ours, theirs = both.ask(producing(both, [(topic, 0, batch(b"a"))], version))
        first, second = (decoded(answer, ProduceResponse, version, 9) for answer in (ours, theirs))
        for response in (first, second):
            part = response.responses[0].partition_responses[0]
            assert abs(part.log_append_time_ms - time.time() * 1000) < 60_000
            part.log_append_time_ms = 0
        assert first.encode(version) == second.encode(version)


def recorded(key: int) -> list[tuple[int, bytes]]:
    """(version, frame) of every request of an API that real clients and brokers were seen to send."""
    found = {}
    for name in ("kafka-4.3.1.jsonl", "kafka-3.9.2-zookeeper.jsonl"):
        for line in reference("frames", name).read_text().splitlines():
            seen = json.loads(line)
            if seen["key"] == key:
                found[seen["request"]] = (seen["version"], bytes.fromhex(seen["request"]))
    return list(found.values())


@pytest.mark.parametrize("key", [0, 1])
def test_recorded_frames(both: Pair, key: int) -> None:
    frames = recorded(key)
    assert frames
    for _, sent in frames:
        both.same(patient(sent) if key == 1 else sent, silent=key == 0 and acks_of(sent) == 0)


def body_at(sent: bytes, flexible_since: int) -> int:
    """Where a request's body begins; its header has no tagged fields."""
    version, client = struct.unpack_from(">h", sent, 2)[0], struct.unpack_from(">h", sent, 8)[0]
    return 10 + max(client, 0) + (1 if version >= flexible_since else 0)


def patient(sent: bytes) -> bytes:
    """A Fetch frame that does not wait and is without a session."""
    at = body_at(sent, 12) + (4 if struct.unpack_from(">h", sent, 2)[0] < 15 else 0)
    out = bytearray(sent)
    out[at : at + 4] = bytes(4)
    if struct.unpack_from(">h", sent, 2)[0] >= 7:
        out[at + 13 : at + 21] = struct.pack(">ii", 0, -1)
    return bytes(out)


def acks_of(sent: bytes) -> int:
    version = struct.unpack_from(">h", sent, 2)[0]
    at = body_at(sent, 9)
    if version >= 9:
        at += max(sent[at], 1)
    else:
        at += 2 + max(struct.unpack_from(">h", sent, at)[0], 0)
    found: int = struct.unpack_from(">h", sent, at)[0]
    return found


def mutated(sent: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut, doubled or put in, behind API key, version and correlation id."""
    out = bytearray(sent)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(8, len(out))
        match chance.randrange(6):
            case 0:
                out[at] = chance.randrange(256)
            case 1:
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                del out[at : at + chance.choice((1, 2, 4, 16))]
            case 3:
                out[at:at] = chance.randbytes(chance.choice((1, 2, 4)))
            case 4:
                out[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0"))
            case _:
                del out[at:]
        if len(out) < 12:
            return sent
    return bytes(out)


@pytest.mark.parametrize("version", [3, 8, 9, 12, 13])
def test_produce_frames_with_any_byte_wrong(both: Pair, version: int) -> None:
    topic = both.create(f"mutated-{version}", 2)
    chance = random.Random(SEED + version)
    whole = producing(both, [(topic, 0, batch(b"a", b"b")), (topic, 1, batch(b"c", compression="lz4"))], version)
    single = producing(both, [(topic, 0, batch(b"a", b"b"))], version)
    answers = set()
    for _ in range(MUTATIONS):
        sent = mutated(chance.choice((whole, single)), chance)
        answers.add(both.same(sent, silent=True))
    assert CLOSED in answers
    assert len(answers) > 5
    both.same(fetching(both, [(topic, 0, 0), (topic, 1, 0)], 12))


@pytest.mark.parametrize("version", [4, 7, 11, 12, 13, 17])
def test_fetch_frames_with_any_byte_wrong(both: Pair, version: int) -> None:
    topic = both.create(f"crooked-{version}", 2)
    both.same(producing(both, [(topic, 0, batch(b"a")), (topic, 1, batch(b"b"))], 9))
    chance = random.Random(SEED + version)
    whole = fetching(both, [(topic, 0, 0), (topic, 1, 0)], version)
    fixed = body_at(whole, 12) + (25 if version < 15 else 21)
    answers = set()
    for _ in range(MUTATIONS):
        # What stands before the topics says how long to wait and in which session: those stay as they are.
        sent = whole[:fixed] + mutated(bytes(8) + whole[fixed:], chance)[8:]
        answers.add(both.same(sent, silent=True))
    assert CLOSED in answers
    assert len(answers) > 5
