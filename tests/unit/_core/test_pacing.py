"""Connections within one machine are not paced, others are as the host has it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kafkax._core.pacing import unpaced, unpaced_within_host
from tests.unit._core.wire import option_of_other_end, request, running

API_VERSIONS = 18
PACED = b"bbr"


def congestion(end: socket.socket) -> bytes:
    return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


def own_address() -> str:
    """An address of this machine that is not on the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError as error:
            pytest.skip(f"this machine has a loopback only: {error}")
        return str(probe.getsockname()[0])


@pytest.fixture
def paced() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as end:
        try:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, PACED)
        except OSError as error:
            pytest.skip(f"this kernel has no BBR: {error}")
        yield end


def test_a_paced_socket_is_paced_no_longer_and_what_it_was_is_told(paced: socket.socket) -> None:
    assert unpaced(paced) == "bbr"
    assert congestion(paced) == b"reno"


def test_what_does_not_pace_is_left_alone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        assert unpaced(end) == ""
        assert congestion(end) == b"reno"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "::1%lo"])
def test_a_client_of_this_machine_is_not_paced(paced: socket.socket, host: str) -> None:
    unpaced_within_host(paced, host)
    assert congestion(paced) == b"reno"


@pytest.mark.parametrize("host", ["192.0.2.1", "128.0.0.1", "fe80::1%eth0", "::2"])
def test_a_client_of_another_is_paced_as_the_host_has_it(paced: socket.socket, host: str) -> None:
    unpaced_within_host(paced, host)
    assert congestion(paced) == PACED


def paced_by_default() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as fresh:
        if congestion(fresh) != PACED:
            pytest.skip(f"this host's congestion control is {congestion(fresh).decode()}, which does not pace")


def of_broker(bound: str, host: str) -> bytes:
    """The congestion control of what a broker that listens on ``bound`` sends to who connected to ``host``."""
    paced_by_default()
    with running(host=bound) as broker:
        client = broker.client(host)
        client.send(request(API_VERSIONS, 0, 1))
        broker.handed(1)
        found = option_of_other_end(client, socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert isinstance(found, bytes)
        return found.rstrip(b"\0")


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_broker_does_not_pace_what_it_sends_within_its_machine(bound: str) -> None:
    assert of_broker(bound, "127.0.0.1") == b"reno"


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_a_broker_paces_what_it_sends_elsewhere_as_its_host_has_it(bound: str) -> None:
    assert of_broker(bound, own_address()) == PACED
