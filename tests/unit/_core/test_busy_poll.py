"""A network thread looks for the next request before it sleeps where that pays, and nowhere else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from statistics import median

import pytest

from kafkax.protocol.messages.produce import ProduceResponse
from tests.unit._core.topics import Topics, ask, batch, produce, serving
from tests.unit._core.wire import Broker

two_processors = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="looks only where there are two processors")


def round_trips(broker: Broker, topics: Topics, count: int) -> None:
    client = broker.client()
    for _ in range(count):
        ask(client, produce(topics, {("t", 0): batch(b"a")}), 9, ProduceResponse)


def looks(broker: Broker) -> int:
    count: int = broker.reactor.counters()["looks"]
    return count


def together(broker: Broker, topics: Topics) -> int:
    """Looks while two clients are served at once."""
    before = looks(broker)
    both = [threading.Thread(target=round_trips, args=(broker, topics, 1000)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    return looks(broker) - before


@two_processors
def test_where_one_request_follows_the_other_a_thread_looks_for_the_next(tmp_path: Path) -> None:
    with serving(tmp_path, network_busy_poll_us=10_000) as (topics, broker):
        topics.add("t")
        assert broker.until(lambda: round_trips(broker, topics, 100) is None and looks(broker) > 0)


@two_processors
def test_it_sleeps_where_nothing_comes(tmp_path: Path) -> None:
    with serving(tmp_path, network_busy_poll_us=10_000) as (topics, broker):
        topics.add("t")
        round_trips(broker, topics, 300)
        time.sleep(0.1)
        before = looks(broker)
        time.sleep(0.3)
        assert looks(broker) == before


def test_0_turns_it_off(tmp_path: Path) -> None:
    with serving(tmp_path, network_busy_poll_us=0) as (topics, broker):
        topics.add("t")
        round_trips(broker, topics, 300)
        assert looks(broker) == 0


@two_processors
def test_waits_that_are_mostly_longer_are_hardly_looked_through(tmp_path: Path) -> None:
    with serving(tmp_path, threads=1, network_busy_poll_us=100) as (topics, broker):
        topics.add("t")
        round_trips(broker, topics, 300)
        before = looks(broker)
        client = broker.client()
        for _ in range(200):
            time.sleep(0.001)
            ask(client, produce(topics, {("t", 0): batch(b"a")}), 9, ProduceResponse)
        assert looks(broker) - before <= 10


def test_on_one_processor_it_never_looks(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with serving(tmp_path, network_busy_poll_us=10_000) as (topics, broker):
            topics.add("t")
            round_trips(broker, topics, 300)
            assert looks(broker) == 0
    finally:
        os.sched_setaffinity(0, allowed)


@two_processors
def test_no_thread_looks_while_as_many_are_at_work_as_there_are_processors(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:2])
    try:
        with serving(tmp_path, threads=2, network_busy_poll_us=10_000) as (topics, broker):
            topics.add("t")
            # A client of 1,000 round trips has about as many looks alone; of two, one begins, ends, or is held up alone.
            assert median(together(broker, topics) for _ in range(7)) < 500
            before = looks(broker)
            assert broker.until(lambda: round_trips(broker, topics, 100) is None and looks(broker) > before + 50)
    finally:
        os.sched_setaffinity(0, allowed)
