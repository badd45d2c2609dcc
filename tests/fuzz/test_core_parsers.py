"""Broken bytes for the parsers of frames, batches and compressed records: they say what is wrong, and nothing else happens.

No coverage guides the mutations (the core is not built with a fuzzer's instrumentation); they start from whole, valid input of
every kind.  ci/test gives each target ``KAFKAX_FUZZ_SECONDS``, ci/nightly sets ``KAFKAX_FUZZ_RUNS`` instead.
"""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest

from kafkax._core.batch import read_header, validate_records
from kafkax._core.batch_writer import BatchWriter
from kafkax._core.commit_request import CommitRequest
from kafkax._core.fetched import FetchedBatch
from kafkax._core.inflate import available, decompress
from kafkax._core.load_answers import parse_answer
from kafkax._core.reactor import HandedRequest
from kafkax.errors import KafkaError, ProtocolError
from kafkax.protocol.compression import compress
from kafkax.protocol.headers import request_header
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from tests.unit._core.batches import Rec
from tests.unit._core.batches import batch as raw_batch
from tests.unit._core.topics import batch, encode, fetch, produce, serving
from tests.unit._core.wire import Broker, Client

SECONDS = float(os.environ.get("KAFKAX_FUZZ_SECONDS", "1"))
RUNS = int(os.environ.get("KAFKAX_FUZZ_RUNS", "0"))
SEED = int(os.environ.get("KAFKAX_FUZZ_SEED", "1")) or random.SystemRandom().randrange(1 << 32)
"""0: another one every time."""
TARGETS = 5
pytestmark = pytest.mark.timeout(120 + RUNS // 1000)
FRAMES = 100
"""Frames under way at once."""
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HARMLESS = (b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff\x0f", b"\x80" * 10)


def chances() -> Iterator[random.Random]:
    """Randomness for one run after the other, until the time or the number of runs is over."""
    end = time.monotonic() + SECONDS
    chance, runs = random.Random(SEED), 0
    while runs < RUNS // TARGETS if RUNS else time.monotonic() < end:
        runs += 1
        yield chance


def mutated(data: bytes, chance: random.Random, first: int = 0) -> bytes:
    """The data with a few bytes behind ``first`` changed, cut out, put in, or the rest cut off."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if len(out) <= first + 1:
            break
        at = chance.randrange(first, len(out))
        kind = chance.randrange(6)
        if kind == 0:
            out[at] = chance.randrange(256)
        elif kind == 1:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del out[at : at + chance.randint(1, 9)]
        elif kind == 3:
            out[at:at] = chance.randbytes(chance.randint(1, 9))
        elif kind == 4:
            harmful = chance.choice(HARMLESS)
            out[at : at + len(harmful)] = harmful
        else:
            del out[at:]
    return bytes(out)


def whole_batches() -> list[bytes]:
    many = [Rec(key=None, value=b"v" * n, headers=((b"h", None), (b"i", b"x" * n))) for n in range(20)]
    return [raw_batch(many), raw_batch(1), *(batch(b"a" * 200, b"b", compression=codec) for codec in CODECS)]


def test_batches() -> None:
    """Checksums are not set right again here: what lies behind them is reached by the frames, which name the bytes themselves."""
    samples = whole_batches()
    for chance in chances():
        data = mutated(chance.choice(samples), chance)
        with suppress(KafkaError):
            read_header(data)
        with suppress(KafkaError):
            validate_records(data, need_key=True, min_timestamp=0, limit=1 << 20)
        if len(data) >= 61:
            with suppress(KafkaError):
                FetchedBatch(data[:61], data[61:], "t", 0, 0).columns()


def test_compressed_streams() -> None:
    text = b"".join(b"%d the same words again and again " % number for number in range(100))
    samples = [(number, compress(name, text)) for name, number in CODECS.items() if number and available(number)]
    for chance in chances():
        codec, data = chance.choice(samples)
        with suppress(KafkaError):
            assert len(decompress(codec, mutated(data, chance), 1 << 16)) <= 1 << 16


def test_answers() -> None:
    samples = []
    for version in range(4, 13):
        samples.append((1, version, bytes(4) + bytes(60) + batch(b"a") + bytes(4)))
        samples.append((0, version, bytes(4) + struct.pack(">ih1sii", 1, 1, b"t", 1, 0) + bytes(40)))
    for chance in chances():
        api, version, data = chance.choice(samples)
        with suppress(ProtocolError):
            parse_answer(api, version, mutated(data, chance))


def test_commits() -> None:
    def request(version: int) -> bytes:
        texts = {n: "m" * n for n in range(5)}
        parts = [OffsetCommitRequestPartition(partition_index=n, committed_metadata=text) for n, text in texts.items()]
        topics = [OffsetCommitRequestTopic(name=name, topic_id=UUID(int=9), partitions=parts) for name in ("a", "bc")]
        asked = OffsetCommitRequest(group_id="group", member_id="member", topics=topics)
        return request_header(8, version, 1, "client") + asked.encode(version)

    samples = [request(version) for version in range(5, 11)]
    found = {name: SimpleNamespace(name=name, topic_id=UUID(int=9), partitions=range(5)) for name in ("a", "bc")}
    for chance in chances():
        commit = CommitRequest.read(bytes(mutated(chance.choice(samples), chance)), 4096)
        if commit is not None and commit.find(found, {UUID(int=9): "a"}, lambda raw: UUID(bytes=raw)):
            batch = BatchWriter()
            commit.apply({}, tuple, 5)
            commit.write(batch)
            assert validate_records(batch.finish(5)) == []
            assert commit.answer()


def settle(broker: Broker, client: Client, wanted: int) -> None:
    """Answer what was handed over with nothing, and read on, until so many frames have been seen."""
    client.socket.settimeout(0)
    deadline = time.monotonic() + 60
    while sum(broker.reactor.counters()["requests"].values()) < wanted:
        assert time.monotonic() < deadline, f"seed {SEED}"
        for item in broker.reactor.take():
            if isinstance(item, HandedRequest):
                broker.reactor.skip(item.connection, item.token)
        try:
            client.socket.recv(1 << 20)
        except BlockingIOError:
            time.sleep(0)
        except ConnectionError:
            pytest.fail(f"the connection was closed; seed {SEED}")


def beginning(frame: bytes) -> int:
    """Bytes that stay: the header, since other APIs are not the core's, and how long to wait or that an answer is wanted."""
    api, version = frame[1], frame[3]
    header = 10 + len("test")
    if api == 0:
        return header + 4
    return header + (version >= 12) + (25 if version >= 7 else 17)


def test_frames(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=50) as (topics, broker):
        for index in range(2):
            topics.add("t", index).append(batch(b"a"))
        samples = [
            encode(produce(topics, {("t", 0): data, ("t", 1): data}, version), version)
            for version in (3, 8, 9, 13)
            for data in whole_batches()
            if version > 7 or data[22] & 7 != CODECS["zstd"]
        ]
        samples += [encode(fetch(topics, {("t", 0): 0, ("t", 1): 0}, v, session_epoch=-1), v) for v in (4, 7, 11, 12, 13, 17)]
        client, wanted, sending = broker.client(), 0, []
        for chance in chances():
            data = chance.choice(samples)[4:]
            body = mutated(data, chance, beginning(data))
            sending.append(struct.pack(">i", len(body)) + body)
            if len(sending) == FRAMES:
                client.socket.settimeout(30)
                client.send(b"".join(sending))
                wanted += FRAMES
                settle(broker, client, wanted)
                sending = []
        assert broker.reactor.counters()["handed_over"] > 0
