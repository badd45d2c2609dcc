"""What neither acks=all nor a consumer waits for is flushed when its time comes, and found by whoever looks for it before."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.compat.brokers import RunningBroker, running_broker
from tests.system.test_protocol_rules import batch, create, end_offset, fetch, list_offset, produce
from tests.system.wire import Wire

HOUR_MS = "3600000"


@pytest.fixture(scope="module")
def lazy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker that flushes what nobody waits for after an hour."""
    with running_broker(tmp_path_factory.mktemp("lazy") / "data", overrides={"log.flush.lazy.ms": HOUR_MS}) as running:
        yield running


def test_the_end_of_a_partition_is_that_of_what_was_acknowledged(lazy: RunningBroker, topic: str) -> None:
    with Wire(lazy.address) as wire:
        create(wire, topic)
        for count in range(1, 4):
            assert produce(wire, topic, batch(b"x"), acks=1).error_code == 0
            assert end_offset(wire, topic) == count


@pytest.mark.parametrize("timestamp", [-3, 0])
def test_records_are_found_by_their_time(lazy: RunningBroker, topic: str, timestamp: int) -> None:
    with Wire(lazy.address) as wire:
        create(wire, topic)
        produce(wire, topic, batch(b"x"), acks=1)
        assert list_offset(wire, topic, timestamp).offset == 0


def test_a_consumer_that_does_not_wait_gets_them_soon(lazy: RunningBroker, topic: str) -> None:
    with Wire(lazy.address) as wire:
        create(wire, topic)
        produce(wire, topic, batch(b"x"), acks=1)
        deadline = time.monotonic() + 10
        while not fetch(wire, topic, 0, wait_ms=0).records:
            assert time.monotonic() < deadline


def test_what_was_asked_to_wait_is_not_waited_for(lazy: RunningBroker, topic: str) -> None:
    with Wire(lazy.address) as wire:
        create(wire, topic, flush_ms=HOUR_MS)
        produce(wire, topic, batch(b"x"), acks=1)
        begin = time.monotonic()
        assert end_offset(wire, topic) == 0
        assert time.monotonic() - begin < 4, "the handler's patience is 5 s"
