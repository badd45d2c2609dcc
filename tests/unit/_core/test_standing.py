"""Answers that stand: the network threads give them to the very same request, until the control plane revokes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kafkax._core.reactor import Reactor
from kafkax._core.registry import Registry
from kafkax._core.standing import StandingAnswers
from kafkax.net.settings import ReactorSettings
from tests.unit._core.wire import Broker, Client, request

HEARTBEAT, CONSUMER_HEARTBEAT, METADATA = 12, 68, 3


@contextmanager
def beating() -> Iterator[tuple[StandingAnswers, Broker]]:
    standing = StandingAnswers()
    reactor = Reactor(Registry(), ReactorSettings())
    port = reactor.listen("127.0.0.1", 0, "PLAINTEXT")
    reactor.answer_standing(standing)
    reactor.start(2)
    broker = Broker(reactor, port)
    try:
        yield standing, broker
    finally:
        broker.close()
        reactor.stop(0)


def heartbeat(n: int, body: bytes = b"i am here", key: int = HEARTBEAT) -> bytes:
    return request(key, 4, n, body)


def teach(standing: StandingAnswers, broker: Broker, client: Client, body: bytes = b"i am here", member: str = "m") -> None:
    """Send a heartbeat, answer it, and have it answered alike from then on."""
    client.send(heartbeat(1, body))
    (item,) = broker.handed(1)
    standing.keep("g", member, standing.round("g"), item.connection, item.frame, bytes(4) + b"fine " + body)
    broker.echo(item, b"fine " + body)
    assert client.receive() == struct.pack(">i", 1) + b"fine " + body


def handed(broker: Broker) -> int:
    return int(broker.reactor.counters()["handed_over"])


def test_the_same_request_is_answered_without_the_control_plane() -> None:
    with beating() as (standing, broker):
        client = broker.client()
        teach(standing, broker, client)
        before = standing.heard("g", "m")
        client.send(b"".join(heartbeat(n) for n in range(2, 50)))
        assert [client.receive() for _ in range(2, 50)] == [struct.pack(">i", n) + b"fine i am here" for n in range(2, 50)]
        assert handed(broker) == 1
        assert broker.reactor.counters()["requests"][HEARTBEAT] == 49
        assert before == 0.0 < standing.heard("g", "m")
        assert standing.heard("g", "n") == standing.heard("h", "m") == 0.0


@pytest.mark.parametrize(
    "other",
    [
        heartbeat(9, b"i am herE"),
        heartbeat(9, b"i am here."),
        heartbeat(9, b"i am her"),
        request(HEARTBEAT, 3, 9, b"i am here"),
        request(HEARTBEAT, 4, 9, b"i am here", b"d"),
        heartbeat(9, key=CONSUMER_HEARTBEAT),
        heartbeat(9, key=METADATA),
        heartbeat(9, b""),
    ],
    ids=["byte", "longer", "shorter", "version", "client id", "consumer", "other API", "empty"],
)
def test_another_request_is_handed_over(other: bytes) -> None:
    with beating() as (standing, broker):
        client = broker.client()
        teach(standing, broker, client)
        client.send(other)
        assert broker.handed(1)[0].frame == other[4:]


def test_another_connection_is_handed_over() -> None:
    with beating() as (standing, broker):
        teach(standing, broker, broker.client())
        broker.client().send(heartbeat(2))
        broker.handed(1)


def test_what_the_control_plane_has_of_a_connection_comes_first() -> None:
    with beating() as (standing, broker):
        client = broker.client()
        teach(standing, broker, client)
        client.send(request(METADATA, 1, 2) + heartbeat(3))
        for item in broker.handed(2):
            broker.echo(item, b"x")
        assert [client.receive() for _ in range(2)] == [struct.pack(">i", n) + b"x" for n in (2, 3)]
        client.send(heartbeat(4))
        assert client.receive() == struct.pack(">i", 4) + b"fine i am here"


@pytest.mark.parametrize("revoke", ["revoke", "revoke_all", "forget member", "forget group"])
def test_what_is_revoked_is_handed_over_until_it_is_kept_anew(revoke: str) -> None:
    with beating() as (standing, broker):
        client = broker.client()
        teach(standing, broker, client)
        stale = standing.round("g")
        if revoke == "revoke_all":
            standing.revoke_all()
        elif revoke == "revoke":
            standing.revoke("g")
        else:
            standing.forget("g", "m" if revoke == "forget member" else None)
        client.send(heartbeat(2))
        (item,) = broker.handed(1)
        # an answer from before does not stand now
        standing.keep("g", "m", stale, item.connection, item.frame, bytes(4) + b"stale")
        broker.echo(item, b"x")
        client.receive()
        teach(standing, broker, client)
        client.send(heartbeat(3))
        assert client.receive() == struct.pack(">i", 3) + b"fine i am here"


def test_a_member_has_one_answer_and_a_new_one_remembers_when_it_was_heard() -> None:
    with beating() as (standing, broker):
        client = broker.client()
        teach(standing, broker, client)
        client.send(heartbeat(2))
        client.receive()
        heard = standing.heard("g", "m")
        teach(standing, broker, client, b"i am there")
        assert len(standing) == 1
        assert standing.heard("g", "m") == heard > 0
        client.send(heartbeat(3))
        broker.handed(1)


def test_very_many_members() -> None:
    with beating() as (standing, broker):
        client = broker.client()
        client.send(heartbeat(1))
        (item,) = broker.handed(1)
        broker.echo(item)
        client.receive()
        bodies = [b"member %d" % n for n in range(3000)]
        for body in bodies:
            frame = heartbeat(0, body)[4:]
            standing.keep("g", body.decode(), standing.round("g"), item.connection, frame, bytes(4) + body)
        assert len(standing) == len(bodies)
        for at in range(0, len(bodies), 100):
            client.send(b"".join(heartbeat(n, bodies[n]) for n in range(at, at + 100)))
            assert [client.receive() for _ in range(100)] == [struct.pack(">i", n) + bodies[n] for n in range(at, at + 100)]
        standing.forget("g", "member 7")
        assert len(standing) == len(bodies) - 1
        standing.forget("g")
        assert len(standing) == 0


def test_keeping_and_revoking_while_heartbeats_come() -> None:
    with beating() as (standing, broker):
        client = broker.client()
        teach(standing, broker, client)
        for turn in range(200):
            client.send(b"".join(heartbeat(n, b"i am here" if n % 2 else b"me too") for n in range(10)))
            standing.revoke("g") if turn % 3 else standing.forget("g", "m")
            answers = 0
            while answers < 10:
                if client.quiet(0.0):
                    broker.poll(0.001)
                    for item in broker._taken:
                        member = "m" if item.frame.endswith(b"here") else "n"
                        answer = bytes(4) + item.frame[-3:]
                        standing.keep("g", member, standing.round("g"), item.connection, item.frame, answer)
                        broker.echo(item, item.frame[-3:])
                    broker._taken.clear()
                else:
                    answer = client.receive()
                    assert answer[:4] == struct.pack(">i", answers)
                    assert answer[4:] in (b"fine i am here", b"ere", b"too")
                    answers += 1


def test_a_reactor_that_runs_cannot_be_given_answers(tmp_path: Path) -> None:
    with beating() as (standing, broker), pytest.raises(RuntimeError, match="runs already"):
        broker.reactor.answer_standing(standing)
