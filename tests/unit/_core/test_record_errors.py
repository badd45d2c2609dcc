"""A batch that is refused for some of its records: the core's answer names them (KIP-467), and so does Python's exception."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafkax._core.log import RecordErrors
from kafkax._core.record_errors import MOST, REASONS, REFUSED
from kafkax.errors import ErrorCode
from kafkax.protocol.compression import compress
from kafkax.protocol.messages.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from tests.unit._core.batches import NOW, Rec, batch, record
from tests.unit._core.topics import Topics, answer, ask, encode, produce, serving
from tests.unit._core.wire import Client

VERSIONS = range(3, 14)
KEYLESS, EARLY = Rec(key=None), Rec(timestamp=1)
RULES = {"compacted": True, "timestamp_before_max_ms": 1 << 43}
"""A topic's rules that KEYLESS breaks, and EARLY does not."""
BOUNDED = {"timestamp_before_max_ms": 1}
"""Rules that every record of these tests breaks, since all are older."""


def told(code: ErrorCode, *errors: tuple[int, str], index: int = 0) -> PartitionProduceResponse:
    """What the answer has for a partition whose log begins at 0."""
    return PartitionProduceResponse(
        index=index,
        error_code=code,
        base_offset=-1,
        log_start_offset=0,
        error_message=REFUSED,
        record_errors=[
            BatchIndexAndErrorMessage(batch_index=at, batch_index_error_message=REASONS[what]) for at, what in errors
        ],
    )


def asked(client: Client, request: ProduceRequest, version: int) -> bytes:
    """The body of the answer."""
    client.send(encode(request, version))
    return client.receive()[5 if version >= 9 else 4 :]


def expected(topics: Topics, version: int, *parts: PartitionProduceResponse) -> bytes:
    name = {"topic_id": topics.ids["t"]} if version >= 13 else {"name": "t"}
    return ProduceResponse(responses=[TopicProduceResponse(**name, partition_responses=list(parts))]).encode(version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("acks", [1, -1])
def test_refused_records_are_named_also_beside_what_was_appended(version: int, acks: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", 0)
        topics.add("t", 1, **RULES)
        topics.add("t", 2)
        good, bad = batch(1), batch([Rec(), KEYLESS, Rec(), KEYLESS])
        request = produce(topics, {("t", 0): good, ("t", 1): bad, ("t", 2): good}, version, acks=acks)
        appended = [PartitionProduceResponse(index=at, base_offset=0, log_start_offset=0) for at in (0, 2)]
        refused = told(ErrorCode.INVALID_RECORD, (1, "key"), (3, "key"), index=1)
        assert asked(broker.client(), request, version) == expected(topics, version, appended[0], refused, appended[1])
        assert [log.log_end_offset for log in topics.logs] == [1, 0, 1]
        assert broker.reactor.counters()["handed_over"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_refused_records_are_named_where_nothing_is_appended(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", **BOUNDED)
        client = broker.client()
        refused = told(ErrorCode.INVALID_TIMESTAMP, (0, "timestamp"), (1, "timestamp"))
        request = produce(topics, {("t", 0): batch([Rec(), EARLY])}, version)
        assert asked(client, request, version) == expected(topics, version, refused)
        assert broker.reactor.counters()["handed_over"] == 0


def test_a_timestamp_decides_the_code_and_a_missing_key_what_is_said_of_its_record(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", compacted=True, **BOUNDED)
        records = batch([KEYLESS, Rec(), Rec(timestamp=-1), KEYLESS._replace(timestamp=-1)])
        refused = told(ErrorCode.INVALID_TIMESTAMP, (0, "key"), (1, "timestamp"), (3, "key"))
        assert asked(broker.client(), produce(topics, {("t", 0): records}), 9) == expected(topics, 9, refused)


@pytest.mark.parametrize(("codec", "number"), [("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)])
def test_records_are_named_that_only_decompression_shows(codec: str, number: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", **RULES)
        recs = [Rec(), KEYLESS]
        payload = compress(codec, b"".join(record(rec, at, NOW) for at, rec in enumerate(recs)))
        request = produce(topics, {("t", 0): batch(recs, attributes=number, payload=payload)})
        assert asked(broker.client(), request, 9) == expected(topics, 9, told(ErrorCode.INVALID_RECORD, (1, "key")))


def test_of_very_many_refused_records_the_first_ones_are_named(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", **RULES)
        records = batch([KEYLESS] * (MOST + 5))
        first = [(at, "key") for at in range(MOST)]
        response = ask(broker.client(), produce(topics, {("t", 0): records}), 9, ProduceResponse)
        (part,) = response.responses[0].partition_responses
        assert part == told(ErrorCode.INVALID_RECORD, *first)
        with pytest.raises(RecordErrors) as caught:
            partition.append(records)
        assert caught.value.errors == first


@pytest.mark.parametrize("refused_at", [0, 1, 3])
def test_a_refused_batch_among_those_that_are_written_together_is_named_alone(refused_at: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", **RULES)
        sent = [batch([KEYLESS if at == refused_at else Rec()]) for at in range(4)]
        requests = [produce(topics, {("t", 0): records}) for records in sent]
        client = broker.client()
        client.send(b"".join(encode(request, 9, at) for at, request in enumerate(requests)))
        parts = [answer(client, each, 9, ProduceResponse).responses[0].partition_responses[0] for each in requests]
        assert parts.pop(refused_at) == told(ErrorCode.INVALID_RECORD, (0, "key"))
        assert [(part.base_offset, part.record_errors) for part in parts] == [(at, []) for at in range(3)]


def test_without_an_answer_the_connection_closes(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", **RULES)
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch([KEYLESS])}, acks=0), 9))
        assert client.ended()
