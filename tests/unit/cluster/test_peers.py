"""Other brokers: one to which a connection just broke is in doubt for a moment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kafkax.cluster import peers as module
from kafkax.cluster.peers import Peers
from kafkax.net.outbound import OutboundSettings


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    return clock


def cluster(*ports):
    brokers = {
        n: SimpleNamespace(endpoints={"INNER": SimpleNamespace(host="127.0.0.1", port=port)}) for n, port in enumerate(ports, 1)
    }
    return Peers(SimpleNamespace(image=SimpleNamespace(brokers=brokers)), "INNER", OutboundSettings("test"))


def test_a_broken_connection_casts_doubt_for_a_moment(clock):
    peers = cluster(1001, 1002)
    link = peers.connect("127.0.0.1", 1002)
    assert peers.doubted([1, 2]) == set()
    link.on_lost()
    assert peers.doubted([1, 2]) == {2}
    clock.now += 1
    assert peers.doubted([1, 2]) == set()


def test_who_is_known_to_be_gone_is_not_in_doubt(clock):
    peers = cluster(1001)
    peers.connect("127.0.0.1", 1002).on_lost()
    assert peers.doubted([1, 2]) == set()
