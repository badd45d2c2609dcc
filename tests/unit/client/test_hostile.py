"""Every client against brokers whose answers are cut, garbage, late or lies: nothing is lost, nothing comes twice, nothing hangs.

Each does its ordinary work (``works.py``) while the answers to what it asks are spoiled.  The core reads the same bytes, so
``ci/test`` runs this module under AddressSanitizer as well.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import kafkax
from kafkax.client import loop
from kafkax.errors import KafkaError
from kafkax.protocol.messages.join_group import JoinGroupResponseMember
from tests.unit.client import works
from tests.unit.client.fake import API_VERSIONS, CLOSE, FETCH, PRODUCE, refused
from tests.unit.client.fake_coordinator import CREATE_TOPICS, JOIN_GROUP, FakeCoordinator
from tests.unit.client.works import HASTY, WORKS

pytestmark = pytest.mark.timeout(150)
ASKED = [(name, api) for name, work in WORKS.items() for api in work.apis]


@pytest.fixture
def broker() -> Iterator[FakeCoordinator]:
    made = FakeCoordinator(partitions=2)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def unhandled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Everything that a client's thread did not expect: a task that ends so would leave its client hanging."""
    found: list[Any] = []
    original = loop.IoThread._main

    def main(self: loop.IoThread) -> None:
        self.loop.set_exception_handler(lambda _, context: found.append(context))
        original(self)

    monkeypatch.setattr(loop.IoThread, "_main", main)
    yield found
    assert found == []


def settings(broker: FakeCoordinator, **more: Any) -> dict[str, Any]:
    return {"bootstrap.servers": broker.address, **HASTY, **more}


def cut(size: int) -> Callable[[bytes], Any]:
    return lambda whole: [whole[:size], CLOSE]


@pytest.mark.parametrize(("name", "api"), ASKED)
def test_an_answer_cut_at_every_byte(broker: FakeCoordinator, name: str, api: int) -> None:
    work = WORKS[name]
    work.run(broker, settings(broker))
    size = broker.sizes[api]
    again = FakeCoordinator(partitions=2)
    again.spoils[api] = deque(cut(each) for each in range(size))
    try:
        work.run(again, settings(again))
    finally:
        again.close()
    assert not again.spoils[api]


def frame(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def drip(whole: bytes) -> list[bytes]:
    return [whole[at : at + 1] for at in range(len(whole))]


SPOILS: dict[str, Callable[[bytes], Any]] = {
    "closes": lambda whole: CLOSE,
    "stays silent": lambda whole: None,
    "speaks another protocol": lambda whole: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "claims a negative length": lambda whole: struct.pack(">i", -5) + whole[4:],
    "claims two gigabytes": lambda whole: struct.pack(">i", 2**31 - 1) + whole[4:],
    "claims what it does not send": lambda whole: struct.pack(">i", 90_000_000) + whole[4:],
    "claims three bytes": lambda whole: struct.pack(">i", 3) + whole[4:],
    "answers something that was not asked": lambda whole: whole[:4] + struct.pack(">i", 999_999) + whole[8:],
    "answers twice": lambda whole: whole * 2,
    "answers with a correlation id alone": lambda whole: frame(whole[4:8]),
    "answers half": lambda whole: frame(whole[4 : 8 + (len(whole) - 8) // 2]),
    "answers a byte too few": lambda whole: frame(whole[4:-1]),
    "answers a byte too many": lambda whole: frame(whole[4:] + b"\0"),
    "answers with ones": lambda whole: frame(whole[4:8] + b"\xff" * (len(whole) - 8)),
    "claims large arrays": lambda whole: frame(whole[4:8] + b"\0" * 5 + b"\xff\xff\xff\xff\x0f" * 20),
    "answers byte by byte": drip,
}


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("how", SPOILS)
def test_a_broker_that_once(broker: FakeCoordinator, name: str, how: str) -> None:
    work = WORKS[name]
    for api in work.apis:
        broker.spoils[api] = deque([SPOILS[how]])
    work.run(broker, settings(broker, **{"request.timeout.ms": 300, **works.rebalancing(name, 500)}))
    assert not any(broker.spoils.values())


class Endless(deque[Callable[[bytes], Any]]):
    """A spoil that is never used up."""

    def popleft(self) -> Callable[[bytes], Any]:
        return self[0]


LIMITS = {"request.timeout.ms": 100, "socket.connection.setup.timeout.ms": 1000}


@pytest.mark.parametrize("how", [how for how in SPOILS if how not in ("answers byte by byte", "answers twice")])
def test_a_broker_that_always(broker: FakeCoordinator, how: str) -> None:
    """Every call ends within what the configs allow, with an error that names the broker."""
    for api in {api for work in WORKS.values() for api in work.apis}:
        broker.spoils[api] = Endless([SPOILS[how]])
    config = settings(broker, **LIMITS)
    told: list[Any] = []
    begin = time.monotonic()
    with kafkax.Producer({**config, "delivery.timeout.ms": 500}) as producer:
        producer.produce("t", b"x", on_delivery=lambda error, _: told.append(error))
        assert producer.flush(20) == 0
    assert isinstance(told[0], KafkaError)
    with kafkax.Consumer({**config, "group.id": "g"}) as consumer:
        consumer.subscribe(["t"])
        with suppress(KafkaError):
            assert consumer.poll(0.3) is None
        for call in (
            lambda: consumer.commit(offsets=[kafkax.TopicPartition("t", 0, 1)], asynchronous=False),
            lambda: consumer.committed([kafkax.TopicPartition("t", 0)], timeout=0.3),
            lambda: consumer.get_watermark_offsets(kafkax.TopicPartition("t", 0), timeout=0.3),
            lambda: consumer.list_topics(timeout=0.3),
        ):
            with pytest.raises(KafkaError):
                call()
    with kafkax.AdminClient(config) as admin:
        refused(lambda seconds: admin.list_topics(timeout=seconds), broker.address)
    # No call may take a minute, all of them together did not: far beyond any limit that was given.
    assert time.monotonic() - begin < 60


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """An answer with the right length and correlation id and a body in which something is wrong."""
    body = bytearray(whole[8:])
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(body)) if body else 0
        kind = chance.randrange(4)
        if kind == 0 and body:
            body[at] = chance.randrange(256)
        elif kind == 1:
            del body[at : at + chance.randint(1, 5)]
        elif kind == 2:
            body[at:at] = chance.randbytes(chance.randint(1, 5))
        else:
            body[at : at + 4] = chance.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4)))
    return frame(whole[4:8] + bytes(body))


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("seed", range(12))
def test_a_broker_that_lies(broker: FakeCoordinator, name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says may be believed, so the work may fail, by an error that is Kafka's; but nothing hangs or breaks."""
    monkeypatch.setattr(works, "PATIENCE", 2)
    chance = random.Random(f"{name} {seed}")
    work = WORKS[name]

    def now_and_then(whole: bytes) -> bytes:
        return mutated(whole, chance) if chance.random() < 0.3 else whole

    for api in work.apis:
        broker.spoils[api] = deque([now_and_then] * 6)
    limits = {"request.timeout.ms": 300, "socket.connection.setup.timeout.ms": 1000, **works.rebalancing(name, 500)}
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work.run(broker, settings(broker, **limits))
        except (KafkaError, AssertionError):
            pass  # it was lied to
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    # Far beyond all time limits of the work together.
    thread.join(60)
    assert not thread.is_alive()
    assert failures == []


@pytest.mark.parametrize("name", WORKS)
def test_answers_that_lack_what_was_asked_for(broker: FakeCoordinator, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is an array comes empty, once; where that can't be true it is asked for again."""
    monkeypatch.setattr(works, "PATIENCE", 30)
    seen: set[int] = set()

    def empty(request: Any, default: Callable[[], Any]) -> Any:
        answer = default()
        if request.api_key not in seen:
            seen.add(request.api_key)
            for field in answer.__slots__:
                if isinstance(getattr(answer, field), list):
                    setattr(answer, field, [])
        return answer

    for api in set(WORKS[name].apis) - {API_VERSIONS, CREATE_TOPICS}:
        broker.handlers[api] = empty
    WORKS[name].run(broker, settings(broker, **{"request.timeout.ms": 300, **works.rebalancing(name, 500)}))


def test_what_a_member_can_not_read_of_another_is_told_to_its_caller(broker: FakeCoordinator) -> None:
    def garble(request: Any, default: Callable[[], Any]) -> Any:
        answer = default()
        answer.members = [*answer.members, JoinGroupResponseMember(member_id="other", metadata=b"\xff" * 7)]
        return answer

    broker.handlers[JOIN_GROUP] = garble
    with kafkax.Consumer(works.member(settings(broker))) as consumer:
        consumer.subscribe(["t"])
        with pytest.raises(KafkaError, match="member other of group g subscribes to"):
            consumer.poll(20)


@pytest.mark.parametrize("code", [-1, 999, 32767])
@pytest.mark.parametrize("name", WORKS)
def test_codes_of_errors_that_nobody_knows(
    broker: FakeCoordinator, name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer broker may send them; they stand for UNKNOWN_SERVER_ERROR."""
    monkeypatch.setattr(works, "PATIENCE", 1)
    work = WORKS[name]
    seen: list[int] = []

    def refuse(request: Any, default: Callable[[], Any]) -> Any:
        answer = default()
        if seen.count(request.api_key) == 0 and with_code(answer, code):
            seen.append(request.api_key)
        return answer

    for api in work.apis:
        broker.handlers[api] = refuse
    with suppress(KafkaError, AssertionError):
        work.run(broker, settings(broker, **{"request.timeout.ms": 300}))
    assert seen


def with_code(answer: Any, code: int) -> bool:
    """Put an error code wherever a message has one; False if it has none."""
    changed = False
    if hasattr(answer, "error_code") and not getattr(answer, "coordinators", None):
        answer.error_code = code
        changed = True
    for name in getattr(answer, "__slots__", ()):
        value = getattr(answer, name, None)
        for each in value if isinstance(value, list) else ():
            changed |= with_code(each, code)
    return changed


def test_a_record_that_a_lying_broker_claims_to_have_is_told_as_it_says(broker: FakeCoordinator) -> None:
    """An acknowledgement for another partition is none."""

    def elsewhere(request: Any, default: Callable[[], Any]) -> Any:
        answer = default()
        answer.responses[0].partition_responses[0].index = 1
        broker.handlers.pop(PRODUCE)
        return answer

    broker.handlers[PRODUCE] = elsewhere
    WORKS["producer"].run(broker, settings(broker))


def test_a_partition_that_was_not_asked_for_is_not_given_out(broker: FakeCoordinator) -> None:
    def elsewhere(request: Any, default: Callable[[], Any]) -> Any:
        answer = default()
        answer.responses[0].partitions[0].partition_index = 1
        broker.handlers.pop(FETCH)
        return answer

    broker.handlers[FETCH] = elsewhere
    WORKS["consumer"].run(broker, settings(broker))
