"""Prebuilt requests: they are what the protocol says, and only what moves stands in their heads."""

from __future__ import annotations

from uuid import uuid4

import pytest

from kafkax.cli.perf.bootstrap import Topic
from kafkax.cli.perf.produce import placement
from kafkax.cli.perf.workload import fetch_target, produce_target, record_batch, spread
from kafkax.protocol.headers import RequestHeader
from kafkax.protocol.messages.fetch import FetchRequest
from kafkax.protocol.messages.produce import ProduceRequest
from kafkax.protocol.records import HEADER_SIZE, iter_batches

ADDRESS = ("127.0.0.1", 9092)
TOPIC = Topic("events", uuid4(), (ADDRESS,) * 3)


@pytest.mark.parametrize("version", range(3, 14))
def test_a_produce_request_is_whole_in_every_version(version: int) -> None:
    batch = record_batch(3, 10)
    target = produce_target(TOPIC, 2, batch, 3, version=version, acks=-1)
    header, body = RequestHeader.parse((target.head + target.tail)[4:])
    request = ProduceRequest.decode(body, version)
    assert (header.api_key, header.api_version, request.acks) == (0, version, -1)
    [data] = request.topic_data[0].partition_data
    assert (data.index, bytes(data.records)) == (2, batch)
    assert batch[HEADER_SIZE:] in target.tail
    assert (request.topic_data[0].topic_id == TOPIC.id) is (version >= 13)


@pytest.mark.parametrize("version", range(4, 19))
def test_a_fetch_request_is_whole_in_every_version(version: int) -> None:
    target = fetch_target(TOPIC, 1, version=version, max_bytes=77, first=0)
    _, body = RequestHeader.parse(target.head[4:])
    request = FetchRequest.decode(body, version)
    assert (request.max_wait_ms, request.max_bytes, request.topics[0].partitions[0].partition_max_bytes) == (0, 77, 77)


def test_batches_are_valid_and_of_the_size_asked_for() -> None:
    [batch] = iter_batches(record_batch(7, 33, producer=(5, 2)))
    batch.check()
    assert [len(record.value or b"") for record in batch.records()] == [33] * 7
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (5, 2, 0)


@pytest.mark.parametrize(("count", "connections"), [(1, 1), (1, 5), (6, 6), (6, 4), (4, 6), (100, 7)])
def test_every_partition_has_a_connection_and_every_connection_a_partition(count: int, connections: int) -> None:
    shares = spread(count, connections)
    assert len(shares) == connections
    assert all(shares)
    assert {index for share in shares for index in share} == set(range(count))


def test_connections_go_to_leaders_in_proportion_to_what_they_lead() -> None:
    one, two = ("a", 1), ("b", 2)
    placed = placement(Topic("t", TOPIC.id, (one, one, two, one)), 4)
    assert [leader for leader, _ in placed] == [one, one, one, two]
    assert sorted(index for leader, indexes in placed for index in indexes if leader == one) == [0, 1, 3]
    assert placed[-1] == (two, [2])


def test_idempotent_producers_share_no_partition() -> None:
    placed = placement(TOPIC, 12, exclusive=True)
    assert sorted(index for _, indexes in placed for index in indexes) == [0, 1, 2]
