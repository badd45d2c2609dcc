"""Produce requests for one partition that arrive together are written together, and nobody can tell but by the time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.produce import ProduceResponse
from tests.unit._core.topics import Topics, answer, batch, encode, produce, produced, serving, values
from tests.unit._core.wire import Client


def together(topics: Topics, client: Client, sent: list[tuple[int, bytes]], version: int = 9, acks: int = 1) -> list[object]:
    """The answers to batches by partition of topic ``t``, sent by one call: error and base offset of each."""
    requests = [produce(topics, {("t", index): records}, version, acks=acks) for index, records in sent]
    client.send(b"".join(encode(request, version, number) for number, request in enumerate(requests)))
    name = topics.ids["t"] if version >= 13 else "t"
    answers = [produced(answer(client, request, version, ProduceResponse)) for request in requests]
    return [told[(name, index)] for told, (index, _) in zip(answers, sent, strict=True)]


def numbered(number: int, *, producer: int = -1, sequence: int = -1, **fields: object) -> bytes:
    producing = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence} if producer >= 0 else {}
    return batch(b"%d" % number, **producing, **fields)


@pytest.mark.parametrize("version", range(3, 14))
@pytest.mark.parametrize("acks", [1, -1])
def test_offsets_follow_one_another(version: int, acks: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", flushed=True)
        sent = [(0, numbered(number)) for number in range(40)]
        assert together(topics, broker.client(), sent, version, acks) == [(0, number) for number in range(40)]
        partition.log.flush()
        assert values(partition.read(0, 1 << 20).records.read()) == [b"%d" % number for number in range(40)]
        assert broker.reactor.counters()["handed_over"] == 0
        assert broker.reactor.counters()["requests"][0] == 40


def test_segments_roll_in_between(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", segment_bytes=200)
        sent = [(0, numbered(number, producer=7, sequence=number)) for number in range(20)]
        assert together(topics, broker.client(), sent) == [(0, number) for number in range(20)]
        assert [segment.base_offset for segment in partition.log.segments()] == list(range(0, 20, 2))
        assert [entry.last_sequence for entry in partition.log.producers()] == [19]


def test_sequences_are_checked_within_what_is_written_together(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        sequences = [0, 1, 1, 3, 2]
        sent = [(0, numbered(number, producer=7, sequence=number)) for number in sequences]
        assert together(topics, broker.client(), sent) == [
            (0, 0), (0, 1), (0, 1), (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1), (0, 2),
        ]  # fmt: skip
        assert topics.logs[0].log_end_offset == 3


def test_a_damaged_batch_does_not_touch_its_neighbours(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        broken = bytearray(numbered(1))
        broken[-1] ^= 1
        sent = [(0, numbered(0)), (0, bytes(broken)), (0, numbered(2))]
        assert together(topics, broker.client(), sent) == [(0, 0), (ErrorCode.CORRUPT_MESSAGE, -1), (0, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_the_answers_are_those_to_one_request_after_the_other(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    sequences = dict.fromkeys((1, 2), 0)
    sent = []
    for number in range(150):
        producer = chance.choice((-1, -1, 1, 2))
        if producer < 0:
            records = numbered(number, compression=chance.choice(("none", "none", "lz4")))
        else:
            records = numbered(number, producer=producer, sequence=max(0, sequences[producer] - chance.choice((0, 0, 0, 1, 7))))
            sequences[producer] += 1
        if chance.random() < 0.05:
            records = records[: chance.randrange(len(records))]
        sent.append((chance.choice((0, 0, 0, 1)), records))
    answers, contents = [], []
    for name in ("joined", "apart"):
        (tmp_path / name).mkdir()
        with serving(tmp_path / name) as (topics, broker):
            partitions = [topics.add("t", index, segment_bytes=2000, max_message_bytes=1000) for index in range(2)]
            client = broker.client()
            groups = [sent] if name == "joined" else [[each] for each in sent]
            answers.append([told for group in groups for told in together(topics, client, group)])
            contents.append([values(one.read(0, 1 << 20).records.read()) for one in partitions])
    assert answers[0] == answers[1]
    assert contents[0] == contents[1]
