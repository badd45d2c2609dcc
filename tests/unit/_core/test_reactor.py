"""The reactor carries requests to the control plane and answers back, in order, within its limits."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from kafkax._core.reactor import HandedRequest, Reactor
from kafkax.net.settings import ReactorSettings
from tests.unit._core.topics import batch, serving
from tests.unit._core.wire import Broker, Client, frame, option_of_other_end, request, running

API_VERSIONS = 18


def correlation(response: bytes) -> int:
    return struct.unpack_from(">i", response)[0]


def test_a_request_reaches_the_control_plane_whole_and_its_answer_returns() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 3, 7, b"body"))
        (item,) = broker.handed(1)
        assert item.frame == request(API_VERSIONS, 3, 7, b"body")[4:]
        assert item.listener == "PLAINTEXT"
        assert item.peer == "{}:{}".format(*client.socket.getsockname())
        broker.echo(item, b"answer")
        assert client.receive() == struct.pack(">i", 7) + b"answer"


def test_answers_leave_in_request_order_whatever_the_order_they_are_given_in() -> None:
    with running() as broker:
        client = broker.client()
        client.send(b"".join(request(API_VERSIONS, 0, n) for n in range(100)))
        for item in reversed(broker.handed(100)):
            broker.echo(item, os.urandom(n) if (n := item.token % 50) else b"")
        assert [correlation(client.receive()) for _ in range(100)] == list(range(100))


def test_answers_that_are_gathered_leave_when_they_are_announced() -> None:
    with running() as broker:
        client = broker.client()
        wanted: list[str] = []
        broker.reactor.gather(lambda: wanted.append("soon"))
        client.send(b"".join(request(API_VERSIONS, 0, n) for n in range(10)))
        for item in broker.handed(10):
            broker.echo(item, b"x")
        assert wanted == ["soon"]
        broker.reactor.announce()
        assert [correlation(client.receive()) for _ in range(10)] == list(range(10))
        client.send(request(API_VERSIONS, 0, 10))
        broker.echo(broker.handed(1)[0], b"x")
        assert wanted == ["soon", "soon"]
        broker.reactor.announce()
        assert correlation(client.receive()) == 10


def test_a_request_that_came_in_single_bytes_is_whole() -> None:
    with running() as broker:
        client = broker.client()
        for byte in request(API_VERSIONS, 0, 1, b"slow"):
            client.send(bytes([byte]))
            time.sleep(0.001)
        assert broker.handed(1)[0].frame.endswith(b"slow")


@pytest.mark.parametrize("size", [100, 262_144, 300_000, 1_048_576, 5_000_000])
def test_large_and_small_frames_follow_each_other_unchanged(size: int) -> None:
    bodies = [os.urandom(n) for n in (size, 10, size + 1, 11, 12)]
    with running() as broker:
        client = broker.client()
        sender = threading.Thread(target=client.send, args=(b"".join(request(API_VERSIONS, 0, 1, body) for body in bodies),))
        sender.start()
        items = broker.handed(len(bodies))
        sender.join()
        assert [item.frame[11:] for item in items] == bodies
        assert broker.until(lambda: broker.reactor.counters()["held_bytes"] == 0)


def test_a_large_answer_arrives_whole_though_the_client_reads_late() -> None:
    body = os.urandom(20_000_000)
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1))
        broker.echo(broker.handed(1)[0], body)
        time.sleep(0.05)
        assert client.receive()[4:] == body


def test_slices_of_logs_may_stand_between_an_answer_s_bytes(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        data = batch(os.urandom(3_000_000))
        partition = topics.add("t", max_message_bytes=1 << 23)
        partition.append(data)
        piece = partition.read(0, 1 << 23).records
        assert piece is not None
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1) + request(API_VERSIONS, 0, 2))
        one, two = broker.handed(2)
        broker.echo(two)
        broker.reactor.respond(one.connection, one.token, [one.frame[4:8], b"<", piece, b"|", piece, piece, b">"])
        assert client.receive() == struct.pack(">i", 1) + b"<" + piece.read() + b"|" + piece.read() * 2 + b">"
        assert correlation(client.receive()) == 2


def test_a_part_that_is_neither_bytes_nor_slice_is_refused() -> None:
    with running() as broker:
        broker.client().send(request(API_VERSIONS, 0, 1))
        (item,) = broker.handed(1)
        with pytest.raises(TypeError):
            broker.reactor.respond(item.connection, item.token, [b"", "text"])  # type: ignore[list-item]


def test_a_skipped_answer_sends_nothing_and_holds_nothing_up() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(0, 3, 1) + request(API_VERSIONS, 0, 2))
        first, second = broker.handed(2)
        broker.echo(second)
        assert client.quiet(0.05)
        broker.reactor.skip(first.connection, first.token)
        assert correlation(client.receive()) == 2


def test_answers_to_a_connection_that_is_gone_go_nowhere() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1) * 2)
        one, two = broker.handed(2)
        client.reset()
        assert broker.until(lambda: len(broker.closed) == 1)
        assert broker.closed[0].connection == one.connection
        other = broker.client()
        other.send(request(API_VERSIONS, 0, 9))
        three = broker.handed(1)[0]
        assert three.connection != one.connection
        broker.echo(two)
        broker.echo(one)
        broker.echo(three)
        assert correlation(other.receive()) == 9


def test_a_second_answer_to_the_same_request_is_ignored() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1) + request(API_VERSIONS, 0, 2))
        one, two = broker.handed(2)
        broker.echo(one)
        broker.echo(one)
        broker.echo(two)
        assert [correlation(client.receive()) for _ in range(2)] == [1, 2]
        assert client.quiet(0.02)


@pytest.mark.parametrize("length", [-1, 0, 7, 1001, 2**31 - 1, -(2**31)])
def test_a_frame_length_out_of_bounds_closes_that_connection_alone(length: int) -> None:
    with running(socket_request_max_bytes=1000) as broker:
        bystander, client = broker.client(), broker.client()
        client.send(struct.pack(">i", length) + b"x" * 20)
        assert client.ended()
        assert broker.until(lambda: len(broker.closed) == 1)
        assert broker.closed[0].reason == "frame length out of bounds"
        bystander.send(request(API_VERSIONS, 0, 5))
        broker.echo(broker.handed(1)[0])
        assert correlation(bystander.receive()) == 5


def test_a_claimed_length_takes_no_memory() -> None:
    with running() as broker:
        clients = [broker.client() for _ in range(20)]
        for client in clients:
            client.send(struct.pack(">i", 100_000_000) + b"x")
        assert broker.until(lambda: broker.reactor.counters()["bytes_in"] == 100)
        assert broker.reactor.counters()["held_bytes"] <= 20 * 1_048_576


def test_before_authentication_only_small_frames_are_read() -> None:
    with running(authenticated=False, sasl_server_max_receive_size=1000) as broker:
        stranger, friend = broker.client(), broker.client()
        stranger.send(frame(b"x" * 1001))
        assert stranger.ended()
        friend.send(request(API_VERSIONS, 0, 1))
        item = broker.handed(1)[0]
        broker.reactor.authenticated(item.connection, fast=True)
        broker.echo(item)
        friend.receive()
        friend.send(request(API_VERSIONS, 0, 2, b"y" * 5000))
        assert len(broker.handed(1)[0].frame) > 5000


def test_connections_beyond_the_limit_wait_until_one_ends() -> None:
    with running(max_connections=2) as broker:
        one, two, three = broker.client(), broker.client(), broker.client()
        for client in (one, two, three):
            client.send(request(API_VERSIONS, 0, 1))
        broker.handed(2)
        with pytest.raises(TimeoutError):
            broker.handed(1, 0.05)
        one.reset()
        assert len(broker.handed(1)) == 1


def test_one_address_has_so_many_connections_and_no_more() -> None:
    with running(max_connections_per_ip=2) as broker:
        kept = [broker.client(), broker.client()]
        for client in kept:
            client.send(request(API_VERSIONS, 0, 1))
        broker.handed(2)
        assert broker.client().ended()
        kept[0].reset()
        assert broker.until(lambda: broker.reactor.counters()["connections"] == 1)
        again = broker.client()
        again.send(request(API_VERSIONS, 0, 1))
        assert len(broker.handed(1)) == 1
        assert broker.reactor.counters()["closed"]["more than max.connections.per.ip"] == 1


def test_limits_of_connections_change_while_it_runs() -> None:
    with running(max_connections=1) as broker:
        first, second = broker.client(), broker.client()
        first.send(request(API_VERSIONS, 0, 1))
        second.send(request(API_VERSIONS, 0, 2))
        broker.handed(1)
        with pytest.raises(TimeoutError):
            broker.handed(1, 0.05)
        broker.reactor.limit(10, 10, {})
        assert len(broker.handed(1)) == 1, "there is room now"
        broker.reactor.limit(10, 10, {ip_address("127.0.0.1"): 2, ip_address("::1"): 1})
        assert broker.client().ended()
        broker.reactor.limit(10, 2, {ip_address("127.0.0.1"): 3})
        third = broker.client()
        third.send(request(API_VERSIONS, 0, 3))
        assert len(broker.handed(1)) == 1, "its own limit counts, not that of all"


def test_nothing_of_a_screened_connection_is_read_before_it_is_let_in() -> None:
    with running() as broker:
        before = broker.client()
        before.send(request(API_VERSIONS, 0, 1))
        broker.handed(1)
        broker.reactor.screen(True)
        clients = [broker.client() for _ in range(3)]
        for client in clients:
            client.send(request(API_VERSIONS, 0, 1))
        assert broker.until(lambda: len(broker.opened) == 3)
        with pytest.raises(TimeoutError):
            broker.handed(1, 0.05)
        names = {"{}:{}".format(*client.socket.getsockname()): client for client in clients}
        assert {each.peer for each in broker.opened} == names.keys()
        admitted, refused, gone = broker.opened
        assert admitted.listener == "PLAINTEXT"
        broker.reactor.pause(admitted.connection, paused=False)
        (item,) = broker.handed(1)
        assert (item.connection, item.peer) == (admitted.connection, admitted.peer)
        broker.echo(item)
        assert correlation(names[admitted.peer].receive()) == 1
        broker.reactor.close(refused.connection)
        assert names[refused.peer].ended()
        names[gone.peer].reset()
        broker.reactor.pause(gone.connection, paused=False)
        assert broker.until(lambda: {each.connection for each in broker.closed} >= {refused.connection, gone.connection})
        broker.reactor.screen(False)
        later = broker.client()
        later.send(request(API_VERSIONS, 0, 2))
        assert len(broker.handed(1)) == 1


def asking(broker: Broker) -> tuple[Client, HandedRequest]:
    """A client that waits for an answer; on a busy machine one may be idle for too long before it has even asked."""
    while True:
        client = broker.client()
        with suppress(ConnectionError, TimeoutError):
            client.send(request(API_VERSIONS, 0, 1))
            item = broker.handed(1, 2)[0]
            if item.peer == "{}:{}".format(*client.socket.getsockname()):
                return client, item


def closed_as_idle(broker: Broker) -> int:
    return int(broker.reactor.counters()["closed"]["idle for longer than connections.max.idle.ms"])


def test_an_idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not() -> None:
    with running(connections_max_idle_ms=150) as broker:
        waiting, item = asking(broker)
        assert broker.client().ended()
        time.sleep(0.2)
        broker.echo(item)
        assert correlation(waiting.receive()) == 1
        assert waiting.ended()


def test_a_frame_that_never_completes_is_idleness() -> None:
    with running(connections_max_idle_ms=200) as broker:
        client = broker.client()
        with suppress(ConnectionError):
            client.send(struct.pack(">i", 1000))
            for _ in range(900):
                client.send(b"x")
                broker.poll(0.02)
                if closed_as_idle(broker):
                    break
        assert broker.until(lambda: closed_as_idle(broker) == 1)


def test_a_client_that_never_reads_is_read_no_further() -> None:
    with running(connection_output_bytes=100_000, socket_send_buffer_bytes=4096) as broker:
        client = broker.client()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(request(API_VERSIONS, 0, 1) * 20)
        for item in broker.handed(20):
            broker.echo(item, bytes(1_000_000))
        client.send(request(API_VERSIONS, 0, 2) * 3)
        with pytest.raises(TimeoutError):
            broker.handed(1, 0.1)


def test_a_client_that_never_reads_is_idle() -> None:
    with running(connections_max_idle_ms=300) as broker:
        _, item = asking(broker)
        broker.echo(item, bytes(20_000_000))
        assert broker.until(lambda: any(each.connection == item.connection for each in broker.closed))
        assert broker.closed[-1].reason.startswith("idle")


def receive_buffer(client: Client) -> int | bytes:
    return option_of_other_end(client, socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_receive_buffers_are_the_systems_choice_unless_configured() -> None:
    plain = socket.create_server(("127.0.0.1", 0))
    with plain, running() as broker, running(socket_receive_buffer_bytes=8192) as bounded:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1))
        other = bounded.client()
        other.send(request(API_VERSIONS, 0, 1))
        broker.handed(1)
        bounded.handed(1)
        with socket.create_connection(plain.getsockname()):
            accepted, _ = plain.accept()
            with accepted:
                chosen = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert receive_buffer(client) == chosen
        assert receive_buffer(other) == 2 * 8192


def test_a_full_queue_to_the_control_plane_stops_reading_and_goes_on_when_there_is_room() -> None:
    with running(queued_max_requests=3) as broker:
        clients = [broker.client() for _ in range(4)]
        for client in clients:
            client.send(request(API_VERSIONS, 0, 1) + request(API_VERSIONS, 0, 2))
        answered = 0
        while answered < 8:
            for item in broker.handed(1):
                assert broker.reactor.counters()["waiting_for_control_plane"] <= 3 + 1
                broker.echo(item)
                answered += 1
        for client in clients:
            assert [correlation(client.receive()) for _ in range(2)] == [1, 2]


def test_requests_that_end_with_their_connection_make_room_in_the_queue() -> None:
    with running(queued_max_requests=2) as broker:
        gone, waiting = broker.client(), broker.client()
        gone.send(request(API_VERSIONS, 0, 1) * 2)
        broker.handed(2)
        waiting.send(request(API_VERSIONS, 0, 3))
        gone.reset()
        assert len(broker.handed(1)) == 1


def test_memory_for_requests_is_bounded() -> None:
    with running(threads=1, queued_max_request_bytes=10_000) as broker:  # every thread may go over it by one
        clients = [broker.client() for _ in range(5)]
        for client in clients:
            client.send(request(API_VERSIONS, 0, 1, bytes(6000)))
        end = time.monotonic() + 30
        while broker.reactor.counters()["handed_over"] < 2 and time.monotonic() < end:  # taking any would let more in
            time.sleep(0.01)
        time.sleep(0.1)
        assert broker.reactor.counters()["handed_over"] == 2
        assert len(broker.handed(5)) == 5


def test_a_peer_that_half_closes_still_gets_its_answers() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1))
        client.socket.shutdown(socket.SHUT_WR)
        (item,) = broker.handed(1)
        time.sleep(0.02)
        broker.echo(item)
        assert correlation(client.receive()) == 1
        assert client.ended()


def test_stop_sends_what_is_due() -> None:
    with running() as broker:
        early, late = broker.client(), broker.client()
        early.send(request(API_VERSIONS, 0, 1))
        late.send(request(API_VERSIONS, 0, 1))
        items = {item.peer: item for item in broker.handed(2)}
        stopping = threading.Thread(target=broker.reactor.stop, args=(60,))
        began = time.monotonic()
        stopping.start()
        for client in (early, late):
            assert client.quiet(0.05)
            broker.echo(items["{}:{}".format(*client.socket.getsockname())])
            assert correlation(client.receive()) == 1
            assert client.ended()
        stopping.join()
        assert time.monotonic() - began < 30, "nothing was left to wait for"


def test_stop_ends_in_time_whatever_is_due() -> None:
    with running() as broker:
        stuck = broker.client()
        stuck.send(request(API_VERSIONS, 0, 1))
        broker.handed(1)
        began = time.monotonic()
        broker.reactor.stop(0.4)
        assert 0.3 < time.monotonic() - began < 30
        assert stuck.ended()
        with pytest.raises(ConnectionRefusedError):
            Client(broker.port)


@pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer keeps memory that was freed")
def test_an_idle_connection_takes_little_memory() -> None:
    with running(threads=2) as broker:
        for client in [broker.client() for _ in range(20)]:
            client.send(request(API_VERSIONS, 0, 1, bytes(100_000)))
        for item in broker.handed(20):
            broker.echo(item, bytes(100_000))
        before = resident_bytes()
        clients = [broker.client() for _ in range(400)]
        for client in clients:
            client.send(request(API_VERSIONS, 0, 1, bytes(1000)))
        for item in broker.handed(400):
            broker.echo(item, bytes(1000))
        for client in clients:
            client.receive()
        assert (resident_bytes() - before) / 400 < 10_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_the_control_plane_may_close_a_connection() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1))
        broker.reactor.close(broker.handed(1)[0].connection)
        assert client.ended()


def test_a_connection_ends_with_the_answers_before_the_request_that_ends_it() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1) + request(API_VERSIONS, 0, 2) + request(API_VERSIONS, 0, 3))
        first, second, third = broker.handed(3)
        broker.echo(third)
        broker.reactor.end(second.connection, second.token)
        client.send(request(API_VERSIONS, 0, 4))
        with pytest.raises(TimeoutError):
            broker.handed(1, 0.05)
        broker.echo(first)
        assert correlation(client.receive()) == 1
        assert client.ended()
        assert broker.until(lambda: [each.connection for each in broker.closed] == [first.connection])


def test_a_connection_that_has_no_such_request_any_more_ends_at_once() -> None:
    with running() as broker:
        client = broker.client()
        client.send(request(API_VERSIONS, 0, 1))
        (item,) = broker.handed(1)
        broker.echo(item)
        assert correlation(client.receive()) == 1
        broker.reactor.end(item.connection, item.token)
        assert client.ended()


def test_threads_share_the_connections() -> None:
    with running(threads=3) as broker:
        clients = [broker.client() for _ in range(30)]
        for client in clients:
            client.send(request(API_VERSIONS, 0, 1))
        threads = [(item.connection >> 24) & 0xFF for item in broker.handed(30)]
        assert sorted(threads.count(n) for n in range(3)) == [10, 10, 10]


def test_bad_use_is_refused() -> None:
    reactor = Reactor(None, ReactorSettings())
    with pytest.raises(ValueError, match=r"num\.network\.threads=0"):
        reactor.start(0)
    reactor.start(1)
    with pytest.raises(RuntimeError, match="before start"):
        reactor.listen("127.0.0.1", 0, "LATE")
    with pytest.raises(ValueError, match="connection"):
        reactor.respond(99 << 24, 0, b"")
    reactor.stop(1)
    reactor.stop(1)
