"""How clients end: by Ctrl-C in whatever blocks, within bounds, without threads left or words at exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kafkax
from tests.unit.client.fake import METADATA, PRODUCE, FakeBroker

ROOT = Path(__file__).resolve().parents[3]


class Interrupted(BaseException):
    """What the handler of the signal raises, as Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Makes a call and sends this process a signal in the midst of it, whose handler raises in the main thread."""

    def handle(number: int, frame: Any) -> None:
        raise Interrupted

    def during(call: Callable[[], Any]) -> None:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
        try:
            with pytest.raises(Interrupted):  # noqa: PT012 - the signal may come before the call on a busy machine
                timer.start()
                call()
        finally:
            timer.cancel()
            timer.join()

    before = signal.signal(signal.SIGUSR1, handle)
    yield during
    signal.signal(signal.SIGUSR1, before)


def silent(broker: FakeBroker, *apis: int) -> None:
    for api in apis:
        broker.handlers[api] = lambda request, default: None


def test_every_blocking_call_of_a_producer_can_be_interrupted(
    broker: FakeBroker, interrupt: Callable[[Callable[[], Any]], None]
) -> None:
    silent(broker, PRODUCE)
    producer = kafkax.Producer({"bootstrap.servers": broker.address})
    producer.produce("t", b"x")
    for call in (producer.flush, producer.poll, producer.close):
        interrupt(call)
    producer.close(0.1)


def test_every_blocking_call_of_a_consumer_can_be_interrupted(
    broker: FakeBroker, interrupt: Callable[[Callable[[], Any]], None]
) -> None:
    consumer = kafkax.Consumer({"bootstrap.servers": broker.address, "request.timeout.ms": 60_000})
    consumer.assign([])
    waiting = [kafkax.TopicPartition("t", 0)]
    silent(broker, METADATA)
    calls: list[Callable[[], Any]] = [
        consumer.poll,
        lambda: consumer.consume(10),
        lambda: next(consumer.batches()),
        lambda: next(iter(consumer)),
        lambda: consumer.list_topics(timeout=20),
        lambda: consumer.offsets_for_times(waiting),
    ]
    for call in calls:
        interrupt(call)
    consumer.close(1)


@pytest.mark.parametrize("make", [kafkax.Producer, kafkax.Consumer, kafkax.AdminClient])
def test_no_threads_are_left(broker: FakeBroker, make: Any) -> None:
    before = set(threading.enumerate())
    client = make({"bootstrap.servers": broker.address})
    client.list_topics()
    own = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("kafkax-")]
    assert own
    client.close()
    assert not [thread for thread in own if thread.is_alive()]


def test_close_is_bounded_though_the_broker_is_silent(broker: FakeBroker) -> None:
    silent(broker, PRODUCE)
    producer = kafkax.Producer({"bootstrap.servers": broker.address})
    producer.produce("t", b"x")
    begin = time.monotonic()
    producer.close(0.3)
    assert time.monotonic() - begin < 10


SCRIPT = """
import atexit, threading
# What is registered first is called last.
atexit.register(lambda: print("left:", [each.name for each in threading.enumerate() if each.name.startswith("kafkax")]))
import asyncio, kafkax
from kafkax.aio import Producer as AsyncProducer
from kafkax.aio import Consumer as AsyncConsumer
config = {"bootstrap.servers": %r}
producer = kafkax.Producer(config)
producer.produce("t", b"x", on_delivery=lambda error, message: None)
consumer = kafkax.Consumer(config)
consumer.assign([kafkax.TopicPartition("t", 0, 0)])
consumer.poll(0.1)
async def main():
    global left
    left = AsyncProducer(config), AsyncConsumer(config)
    await left[0].send("t", b"y")
asyncio.run(main())
print("end")
"""


def test_nothing_is_said_and_no_thread_runs_at_exit_when_clients_are_simply_left(broker: FakeBroker) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT % broker.address], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "end\nleft: []\n", "")
