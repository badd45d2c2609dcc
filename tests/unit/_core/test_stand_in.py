"""The thread that makes an answer possible sends it while the network thread that it is of sleeps; nothing is lost between."""

from __future__ import annotations

import random
import time
from pathlib import Path

from kafkax.protocol.messages.fetch import FetchResponse
from kafkax.protocol.messages.produce import ProduceResponse
from tests.unit._core.topics import Topics, answer, ask, batch, encode, fetch, fetched, produce, serving
from tests.unit._core.wire import Broker, request

API_FETCH, API_VERSIONS = 1, 18


def stood_in(broker: Broker) -> int:
    count: int = broker.reactor.counters()["stood_in"]
    return count


def poll_for(topics: Topics, topic: str) -> bytes:
    """A long poll for the first record of a topic."""
    return encode(fetch(topics, {(topic, 0): 0}, max_wait_ms=60_000), 12)


def test_the_flush_thread_answers_what_waited_for_the_flush(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", flushed=True)
        client = broker.client()
        for number in range(200):
            response = ask(client, produce(topics, {("t", 0): batch(b"a")}, acks=-1), 9, ProduceResponse)
            part = response.responses[0].partition_responses[0]
            assert (part.error_code, part.base_offset) == (0, number)
        assert 0 < stood_in(broker) <= 200


def test_who_appends_answers_the_poll_of_another_thread_s_connection(tmp_path: Path) -> None:
    with serving(tmp_path, threads=2) as (topics, broker):
        producer, consumer = broker.client(), broker.client()
        for number in range(200):
            topics.add(f"t{number}")
            consumer.send(poll_for(topics, f"t{number}"))
            assert broker.has_read(API_FETCH, number + 1)
            ask(producer, produce(topics, {(f"t{number}", 0): batch(b"%d" % number)}), 9, ProduceResponse)
            response = answer(consumer, fetch(topics, {}), 12, FetchResponse)
            assert fetched(response) == {(f"t{number}", 0): (0, [b"%d" % number])}
        assert stood_in(broker) > 0


def test_of_many_polls_that_one_append_ends_all_are_answered(tmp_path: Path) -> None:
    with serving(tmp_path, threads=3, socket_listen_backlog_size=200) as (topics, broker):
        topics.add("t")
        consumers = [broker.client() for _ in range(100)]
        for consumer in consumers:
            consumer.send(poll_for(topics, "t"))
        assert broker.has_read(API_FETCH, 100)
        ask(broker.client(), produce(topics, {("t", 0): batch(b"a")}), 9, ProduceResponse)
        for consumer in consumers:
            assert fetched(answer(consumer, fetch(topics, {}), 12, FetchResponse)) == {("t", 0): (0, [b"a"])}


def test_a_large_answer_that_the_socket_takes_in_parts_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with serving(tmp_path, threads=2) as (topics, broker):
        topics.add("t", max_message_bytes=64 << 20)
        consumer = broker.client()
        most = {"max_bytes": 64 << 20, "partition_max_bytes": 64 << 20}
        consumer.send(encode(fetch(topics, {("t", 0): 0}, max_wait_ms=60_000, **most), 12))
        assert broker.has_read(API_FETCH)
        value = bytes(20_000_000)
        ask(broker.client(), produce(topics, {("t", 0): batch(value)}), 9, ProduceResponse)
        assert fetched(answer(consumer, fetch(topics, {}), 12, FetchResponse)) == {("t", 0): (0, [value])}


def test_answers_of_the_control_plane_arrive_though_a_stand_in_takes_the_signal(tmp_path: Path) -> None:
    """Nothing else happens while both answers are waited for, so a lost signal would be seen."""
    chance = random.Random(1)
    with serving(tmp_path, threads=1) as (topics, broker):
        topics.add("t", flushed=True)
        waiting, other = broker.client(), broker.client()
        usual = 0.0
        for _ in range(5000):
            other.send(request(API_VERSIONS, 0, 7))
            (item,) = broker.handed(1)
            begun = time.perf_counter()
            waiting.send(encode(produce(topics, {("t", 0): batch(b"a")}, acks=-1), 9))
            # So that the letter comes about when the flush ends.
            until = begun + usual * chance.uniform(0.2, 0.8)
            while time.perf_counter() < until:
                pass
            broker.echo(item, b"x")
            answer(waiting, produce(topics, {}), 9, ProduceResponse)
            usual += (min(time.perf_counter() - begun, 0.001) - usual) / 8
            assert other.receive()[4:] == b"x"
        assert stood_in(broker) > 0


def test_a_peer_that_is_gone_is_closed_by_whoever_finds_out(tmp_path: Path) -> None:
    with serving(tmp_path, threads=2) as (topics, broker):
        for number in range(100):
            topics.add(f"t{number}", flushed=True)
            client = broker.client()
            client.send(encode(produce(topics, {(f"t{number}", 0): batch(b"a")}, acks=-1), 9))
            client.reset()
        assert broker.until(lambda: broker.reactor.counters()["connections"] == 0)
        # What was sent before the reset may not have been read.
        assert all(log.log_end_offset in (0, 1) for log in topics.logs)
