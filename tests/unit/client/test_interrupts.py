"""Ctrl-C wherever a caller's thread is: what was taken is delivered once and reported once, and nothing hangs."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kafkax
from tests.unit.client.fake import FakeBroker

pytestmark = pytest.mark.timeout(150)
OURS = str(Path(kafkax.__file__).parent)
TRACED = sys.gettrace()


class Interrupter:
    """Raises KeyboardInterrupt before the n-th bytecode of the client's that this thread runs."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    def __enter__(self) -> Interrupter:
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(TRACED)


class Ledger:
    """What a producer was given, and what it said of it."""

    def __init__(self, producer: kafkax.Producer) -> None:
        self.producer = producer
        self.taken: list[bytes] = []
        self.reported: Counter[bytes] = Counter()

    def give(self) -> None:
        value = b"%d" % len(self.taken)
        self.taken.append(value)
        try:
            self.producer.produce("t", value, partition=0, on_delivery=self.report)
        except KeyboardInterrupt:
            # The caller can't know whether it was taken.
            self.taken[-1] = b"?"

    def report(self, error: Any, message: Any) -> None:
        assert error is None
        self.reported[message.value()] += 1

    def settle(self, broker: FakeBroker) -> None:
        """Everything comes, once, in order, and is reported once."""
        assert self.producer.flush(60) == 0
        known = [value for value in self.taken if value != b"?"]
        delivered = [value for value in broker.values(0) if value in set(known)]
        assert delivered == known
        assert {value: count for value, count in self.reported.items() if count != 1} == {}
        assert self.reported.keys() >= set(known)


@pytest.fixture(params=[0, 5], ids=["prompt", "lingering"])
def producer(request: pytest.FixtureRequest, broker: FakeBroker) -> Iterator[kafkax.Producer]:
    settings = {"bootstrap.servers": broker.address, "linger.ms": request.param, "batch.num.messages": 5}
    with kafkax.Producer(settings) as made:
        made.produce("t", b"first", partition=0)
        assert made.flush(30) == 0
        yield made


def test_before_any_bytecode(producer: kafkax.Producer, broker: FakeBroker) -> None:
    ledger, interrupted, at = Ledger(producer), 0, 0
    while True:
        at += 1
        with Interrupter(at) as interrupter:
            try:
                for _ in range(7):
                    ledger.give()
                producer.poll(0)
                ledger.give()
                producer.poll(0.001)
                ledger.give()
                producer.flush(10)
            except KeyboardInterrupt:
                interrupted += 1
        if interrupter.left > 0:
            break
    assert interrupted > 100
    ledger.settle(broker)


def test_at_any_time(producer: kafkax.Producer, broker: FakeBroker) -> None:
    ledger, interrupted, draw = Ledger(producer), 0, random.Random(4)
    here, over = threading.get_ident(), threading.Event()

    def interrupt(_: int, frame: FrameType | None) -> None:
        # Not in the midst of what this test notes down.
        if frame is not None and frame.f_code.co_filename.startswith(OURS):
            raise KeyboardInterrupt

    def signals() -> None:
        while not over.wait(draw.uniform(1e-5, 1e-3)):
            signal.pthread_kill(here, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=signals)
    thread.start()
    try:
        while interrupted < 300:
            ledger.give()
            try:
                producer.poll(random.choice((0, 0, 0.001)))
                if random.random() < 0.1:
                    producer.flush(10)
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    ledger.settle(broker)
