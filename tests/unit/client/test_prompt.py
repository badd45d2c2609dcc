"""One record at a time: callers send and receive on their own threads, and nothing is lost when they stop to."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import kafkax
from kafkax.client.fetcher import Fetcher
from kafkax.client.sender import Sender
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.fetch import FetchRequest
from tests.unit.client.fake import PRODUCE, FakeBroker

ALONE = {"linger.ms": 0}


def until(done: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


def at_rest(producer: kafkax.Producer) -> None:
    """Wait until everything is delivered and the I/O thread is done with it, and with what came of it."""
    until(lambda: len(producer) == 0)
    for _ in range(2):
        done = threading.Event()
        producer._io.call(done.set)
        assert done.wait(30)


def test_a_record_that_is_alone_is_sent_by_its_caller(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    with kafkax.Producer({"bootstrap.servers": broker.address, **ALONE}) as producer:
        producer.produce("t", b"0", partition=0)
        # The first one waits for the broker to be known.
        at_rest(producer)
        asked: list[int] = []
        monkeypatch.setattr(producer._sender, "run", lambda: asked.append(1))
        for number in range(1, 5):
            producer.produce("t", b"%d" % number, partition=0)
            # Nobody polls or flushes: the answer is taken all the same.
            at_rest(producer)
        monkeypatch.undo()
    assert broker.values(0) == [b"0", b"1", b"2", b"3", b"4"]
    assert asked == []


def test_a_burst_without_lingering_is_sent_in_batches(broker: FakeBroker) -> None:
    with kafkax.Producer({"bootstrap.servers": broker.address, **ALONE}) as producer:
        for number in range(2000):
            producer.produce("t", b"%d" % number, partition=0)
        begin = time.monotonic()
        assert producer.flush(30) == 0
        assert time.monotonic() - begin < 20
    assert broker.values(0) == [b"%d" % number for number in range(2000)]
    assert broker.seen.count("Produce") < 1000


def test_a_failure_of_a_record_that_its_caller_sent_is_mended(broker: FakeBroker) -> None:
    refused: list[int] = []

    def sometimes(request: Any, default: Any) -> Any:
        if len(broker.logs[0]) in (2, 4) and len(refused) < 2:
            refused.append(1)
            answer = default()
            answer.responses[0].partition_responses[0].error_code = 7
            return answer
        return default()

    broker.handlers[PRODUCE] = sometimes
    errors: list[Any] = []
    with kafkax.Producer({"bootstrap.servers": broker.address, "retry.backoff.ms": 1, **ALONE}) as producer:
        for number in range(8):
            producer.produce("t", b"%d" % number, partition=0, on_delivery=lambda error, _: errors.append(error))
            assert producer.poll(30) == 1
    assert errors == [None] * 8
    assert broker.values(0) == [b"%d" % number for number in range(8)]


def test_a_failure_that_a_caller_meets_is_left_to_the_io_thread(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    failed = Sender._failed
    monkeypatch.setattr(Sender, "_failed", lambda *a: (threads.append(threading.current_thread().name), failed(*a))[1])
    errors: list[Any] = []
    with kafkax.Producer({"bootstrap.servers": broker.address, **ALONE}) as producer:
        producer.produce("t", b"0", partition=0)
        at_rest(producer)
        connection = producer._cluster.live(1)
        assert connection is not None
        served = connection.versions.pop(PRODUCE)
        producer._cluster.metadata.version += 1
        producer._io.call(producer._sender._metadata_came)
        at_rest(producer)
        producer.produce("t", b"1", partition=0, on_delivery=lambda error, _: errors.append(error.code))
        assert producer.flush(30) == 0
        connection.versions[PRODUCE] = served
        producer.produce("t", b"2", partition=0, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
    assert errors == [ErrorCode.UNSUPPORTED_VERSION, None]
    assert broker.values(0) == [b"0", b"2"]
    assert set(threads) == {"kafkax-kafkax"}


def test_what_callers_leave_is_received_by_the_client(broker: FakeBroker) -> None:
    with (
        kafkax.Producer({"bootstrap.servers": broker.address}) as producer,
        kafkax.Consumer({"bootstrap.servers": broker.address, "fetch.wait.max.ms": 10}) as consumer,
    ):
        consumer.assign([kafkax.TopicPartition("t", 0, 0)])
        assert consumer.poll(0.1) is None
        producer.produce("t", b"x", partition=0)
        producer.flush()
        # The caller waited before, so answers were its own to take; now it does something else.
        until(lambda: consumer._inbox.items)
        message = consumer.poll(10)
        assert message is not None
        assert message.value() == b"x"


@pytest.mark.parametrize("version", range(13, FetchRequest.max_version + 1))
def test_a_fetch_is_encoded_as_the_schema_does(version: int, broker: FakeBroker) -> None:
    with kafkax.Consumer({"bootstrap.servers": broker.address, "client.rack": "r"}) as consumer:
        consumer.list_topics("t")
        fetcher: Fetcher = consumer._fetcher
        from kafkax.client.fetcher import _Session

        session = _Session()
        session.version = version
        for offsets in ({("t", 0): 5, ("t", 1): 7}, {("t", 0): 5, ("t", 1): 9}, {("t", 0): 5, ("t", 1): 9}):
            expected = fetcher._request(session, offsets, 500).encode(version)
            assert fetcher._body(session, offsets, 500) == expected
            session.id, session.epoch, session.sent = 9, session.epoch + 1, offsets
