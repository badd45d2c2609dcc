"""Produce in the core: what is acknowledged is in the log, what is refused is not, and answers are Kafka's field by field."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from kafkax.protocol.messages.fetch import FetchResponse
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from kafkax.protocol.varint import uvarint
from tests.unit._core.topics import answer, ask, batch, encode, fetch, fetched, produce, produced, serving, values
from tests.unit._core.wire import frame

VERSIONS = range(3, 14)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_appends_and_answers(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        client = broker.client()
        request = produce(topics, {("t", 0): batch(b"a", b"b")}, version)
        first = ask(client, request, version, ProduceResponse)
        second = ask(client, request, version, ProduceResponse)
        name = topics.ids["t"] if version >= 13 else "t"
        assert produced(first) == {(name, 0): (0, 0)}
        assert produced(second) == {(name, 0): (0, 2)}
        part = first.responses[0].partition_responses[0]
        assert part.log_append_time_ms == -1
        assert part.log_start_offset == (0 if version >= 5 else -1)
        assert first.throttle_time_ms == 0
        assert values(partition.read(0, 1 << 20).records.read()) == [b"a", b"b", b"a", b"b"]
        assert broker.reactor.counters()["handed_over"] == 0


@pytest.mark.parametrize("version", [3, 8, 9, 13])
def test_the_answer_is_kafka_s_byte_for_byte(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        topics.add("t", 1)
        client = broker.client()
        request = produce(topics, {("t", 0): batch(b"a"), ("t", 1): batch(b"b")}, version)
        client.send(encode(request, version, 77))
        got = client.receive()
        decoded = ProduceResponse.decode(got[5 if version >= 9 else 4 :], version)
        assert got[:4] == struct.pack(">i", 77)
        assert got[5 if version >= 9 else 4 :] == decoded.encode(version)
        assert [part.index for part in decoded.responses[0].partition_responses] == [0, 1]


def test_versions_before_3_and_after_13_are_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        for version in (0, 1, 2, 14):
            sent = bytearray(encode(produce(topics, {("t", 0): batch(b"a")}, 3), 3))
            sent[6:8] = struct.pack(">h", version)
            client.send(bytes(sent))
        assert [item.frame[2:4] for item in broker.handed(4)] == [struct.pack(">h", version) for version in (0, 1, 2, 14)]


@pytest.mark.parametrize("acks", [2, -2, 100, -32768])
def test_other_acks_are_refused_for_every_partition(acks: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        topics.add("t", 1)
        request = produce(topics, {("t", 0): batch(b"a"), ("t", 1): batch(b"a")}, acks=acks)
        response = ask(broker.client(), request, 9, ProduceResponse)
        assert produced(response) == {("t", n): (ErrorCode.INVALID_REQUIRED_ACKS, -1) for n in (0, 1)}
        part = response.responses[0].partition_responses[0]
        assert (part.log_append_time_ms, part.log_start_offset) == (-1, -1)
        assert topics.logs[0].log_end_offset == 0


def damaged(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("records", "error"),
    [
        (damaged(batch(b"value"), -1), ErrorCode.CORRUPT_MESSAGE),
        (b"", ErrorCode.INVALID_RECORD),
        (batch(b"a") * 2, ErrorCode.INVALID_RECORD),
        (batch(b"a")[:16] + b"\1" + batch(b"a")[17:], ErrorCode.INVALID_RECORD),
        (damaged(batch(b"a"), 16), ErrorCode.CORRUPT_MESSAGE),
        (batch(b"a")[:-3], ErrorCode.INVALID_RECORD),
        (batch(os.urandom(2000)), ErrorCode.MESSAGE_TOO_LARGE),
    ],
    ids=["bad crc", "nothing", "two batches", "magic 1", "magic 3", "cut off", "too large"],
)
def test_what_is_refused_leaves_no_trace_and_the_connection_works(records: bytes, error: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", max_message_bytes=1000)
        client = broker.client()
        assert produced(ask(client, produce(topics, {("t", 0): records}), 9, ProduceResponse)) == {("t", 0): (error, -1)}
        assert topics.logs[0].log_end_offset == 0
        assert produced(ask(client, produce(topics, {("t", 0): batch(b"ok")}), 9, ProduceResponse)) == {("t", 0): (0, 0)}


def test_one_bad_partition_does_not_touch_the_others(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for index in range(3):
            topics.add("t", index)
        request = produce(topics, {("t", 0): batch(b"a"), ("t", 1): damaged(batch(b"b"), -1), ("t", 2): batch(b"c")})
        assert produced(ask(broker.client(), request, 9, ProduceResponse)) == {
            ("t", 0): (0, 0),
            ("t", 1): (ErrorCode.CORRUPT_MESSAGE, -1),
            ("t", 2): (0, 0),
        }


def test_zstandard_needs_version_7(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", trust_compressed=True)
        client = broker.client()
        request = produce(topics, {("t", 0): batch(b"a" * 100, compression="zstd")})
        assert produced(ask(client, request, 6, ProduceResponse)) == {("t", 0): (ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, -1)}
        assert produced(ask(client, request, 7, ProduceResponse)) == {("t", 0): (0, 0)}


@pytest.mark.parametrize("version", [9, 13])
def test_a_request_with_an_unknown_partition_is_handed_over_whole(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        for unknown in (("t", 5), (uuid4() if version >= 13 else "x", 0)):
            request = produce(topics, {("t", 0): batch(b"a"), unknown: batch(b"a")}, version)
            client.send(encode(request, version))
            (item,) = broker.handed(1)
            assert item.frame == encode(request, version)[4:]
            broker.echo(item)
            client.receive()
        assert topics.logs[0].log_end_offset == 0


@pytest.mark.parametrize("transactional_id", ["gr\u00fcn", "t" * 32768])
def test_a_transactional_id_that_may_not_be_a_string_is_for_the_control_plane_to_judge(
    transactional_id: str, tmp_path: Path
) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        request = produce(topics, {("t", 0): batch(b"a")})
        request.transactional_id = "ok"
        assert produced(ask(broker.client(), request, 9, ProduceResponse)) == {("t", 0): (0, 0)}
        sent = encode(request, 9)[4:]
        text = transactional_id.encode()
        changed = sent.replace(b"\x03ok", uvarint(len(text) + 1) + text)
        broker.client().send(frame(changed))
        assert broker.handed(1)[0].frame == changed
        assert topics.logs[0].log_end_offset == 1


def test_a_partition_that_is_not_led_here_is_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").become_follower(2)
        broker.client().send(encode(produce(topics, {("t", 0): batch(b"a")}), 9))
        broker.handed(1)


def test_records_that_the_core_does_not_look_into_are_handed_over_before_their_neighbours_are_appended(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        topics.add("t", 1, compression=0)
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch(b"a"), ("t", 1): batch(b"b" * 99, compression="gzip")}), 9))
        broker.echo(broker.handed(1)[0])
        client.receive()
        assert topics.logs[0].log_end_offset == 0


def test_batches_do_not_overtake_those_that_were_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", compression=0)
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch(b"1" * 99, compression="gzip")}), 9, 1))
        client.send(encode(produce(topics, {("t", 0): batch(b"2")}), 9, 2))
        one, two = broker.handed(2)
        assert partition.log.log_end_offset == 0
        broker.echo(two)
        broker.echo(one)
        assert [client.receive()[:4] for _ in range(2)] == [struct.pack(">i", n) for n in (1, 2)]
        assert produced(ask(client, produce(topics, {("t", 0): batch(b"3")}), 9, ProduceResponse)) == {("t", 0): (0, 0)}


def test_a_partition_named_twice_is_for_the_control_plane(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for index in range(40):
            topics.add("t", index)
        topics.add("u")
        entry = [PartitionProduceData(index=n, records=batch(b"a")) for n in range(40)]
        client = broker.client()
        for data in (
            [TopicProduceData(name="t", partition_data=[*entry, entry[7]])],
            [TopicProduceData(name=name, partition_data=entry[n : n + 1]) for n, name in ((0, "t"), (0, "u"), (1, "t"))],
        ):
            client.send(encode(ProduceRequest(acks=1, timeout_ms=1000, topic_data=data), 9))
            broker.echo(broker.handed(1)[0])
            client.receive()
        whole = ProduceRequest(acks=1, timeout_ms=1000, topic_data=[TopicProduceData(name="t", partition_data=entry)])
        assert len(produced(ask(client, whole, 9, ProduceResponse))) == 40


def test_a_control_plane_that_answers_nothing_holds_up_nobody_else(tmp_path: Path) -> None:
    with serving(tmp_path, threads=1, queued_max_requests=4) as (topics, broker):
        topics.add("t")
        stuck = [broker.client() for _ in range(3)]
        for client in stuck:
            for n in range(4):
                client.send(encode(ApiVersionsRequest(), 2, n))
        assert broker.until(lambda: broker.reactor.counters()["waiting_for_control_plane"] >= 4)
        client = broker.client()
        for n in range(20):
            assert produced(ask(client, produce(topics, {("t", 0): batch(b"a")}), 9, ProduceResponse)) == {("t", 0): (0, n)}
        got = ask(client, fetch(topics, {("t", 0): 0}), 12, FetchResponse)
        assert len(fetched(got)["t", 0][1]) == 20
        for one in stuck:
            assert one.quiet(0.01)


def test_acks_0_is_not_answered_and_an_error_closes_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch(b"a")}, acks=0), 9, 1))
        client.send(encode(produce(topics, {("t", 0): batch(b"b")}), 9, 2))
        assert client.receive()[:4] == struct.pack(">i", 2)
        assert topics.logs[0].log_end_offset == 2
        client.send(encode(produce(topics, {("t", 0): damaged(batch(b"c"), -1)}, acks=0), 9, 3))
        assert client.ended()
        assert broker.until(lambda: bool(broker.closed))
        assert broker.closed[0].reason == "produce with acks=0 failed"


def test_acks_all_waits_for_the_flush(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", flushed=True)
        response = ask(broker.client(), produce(topics, {("t", 0): batch(b"a")}, acks=-1), 9, ProduceResponse)
        assert produced(response) == {("t", 0): (0, 0)}
        assert partition.high_watermark == 1
        # counted after the waiting producer was answered
        assert broker.until(lambda: topics.flusher.flushes >= 1)


def test_acks_all_waits_for_the_high_watermark_of_every_partition(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        one, two = (topics.add("t", n, mark="external", in_sync=2) for n in (0, 1))
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch(b"a"), ("t", 1): batch(b"b", b"c")}, acks=-1), 9))
        assert broker.until(lambda: two.log.log_end_offset == 2)
        one.high_watermark = 1
        two.high_watermark = 1
        assert client.quiet(0.05)
        two.high_watermark = 2
        response = answer(client, produce(topics, {}), 9, ProduceResponse)
        assert produced(response) == {("t", 0): (0, 0), ("t", 1): (0, 0)}


def test_acks_all_that_is_not_reached_in_time_is_told_so(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", 0)
        topics.add("t", 1, mark="external", in_sync=2)
        began = time.monotonic()
        request = produce(topics, {("t", 0): batch(b"a"), ("t", 1): batch(b"b")}, acks=-1, timeout_ms=150)
        response = ask(broker.client(), request, 9, ProduceResponse)
        assert time.monotonic() - began > 0.14
        assert produced(response) == {("t", 0): (0, 0), ("t", 1): (ErrorCode.REQUEST_TIMED_OUT, 0)}


def test_lost_leadership_ends_the_wait(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", mark="external", in_sync=2)
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch(b"a")}, acks=-1), 9))
        assert broker.until(lambda: partition.log.log_end_offset == 1)
        partition.become_follower(2)
        response = answer(client, produce(topics, {}), 9, ProduceResponse)
        assert produced(response)["t", 0][0] == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_too_few_in_sync_refuses_before_and_tells_after_the_append(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", 0, mark="external", in_sync=1, min_in_sync=2)
        late = topics.add("t", 1, mark="external", in_sync=2, min_in_sync=2)
        client = broker.client()
        response = ask(client, produce(topics, {("t", 0): batch(b"a")}, acks=-1), 9, ProduceResponse)
        assert produced(response)["t", 0] == (ErrorCode.NOT_ENOUGH_REPLICAS, -1)
        client.send(encode(produce(topics, {("t", 1): batch(b"a")}, acks=-1), 9))
        assert broker.until(lambda: late.log.log_end_offset == 1)
        late.set_in_sync(1, 2)
        late.high_watermark = 1
        response = answer(client, produce(topics, {}), 9, ProduceResponse)
        assert produced(response)["t", 1][0] == ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND


def test_a_quick_request_waits_behind_a_parked_one_for_its_turn_but_not_for_its_effect(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        slow, quick = topics.add("slow", mark="external", in_sync=2), topics.add("quick")
        client = broker.client()
        client.send(encode(produce(topics, {("slow", 0): batch(b"a")}, acks=-1), 9, 1))
        client.send(encode(produce(topics, {("quick", 0): batch(b"b")}), 9, 2))
        assert broker.until(lambda: quick.log.log_end_offset == 1)
        assert client.quiet(0.05)
        slow.high_watermark = 1
        assert [client.receive()[:4] for _ in range(2)] == [struct.pack(">i", n) for n in (1, 2)]


def test_a_connection_that_goes_away_while_parked_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", mark="external", in_sync=2)
        client = broker.client()
        client.send(encode(produce(topics, {("t", 0): batch(b"a")}, acks=-1), 9))
        assert broker.until(lambda: partition.log.log_end_offset == 1)
        client.reset()
        assert broker.until(lambda: broker.reactor.counters()["connections"] == 0)
        partition.high_watermark = 1
        assert produced(ask(broker.client(), produce(topics, {("t", 0): batch(b"b")}), 9, ProduceResponse)) == {("t", 0): (0, 1)}


def test_idempotent_batches_that_repeat_get_their_first_offset_again(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()

        def send(sequence: int) -> tuple[int, int]:
            records = batch(b"a", producer_id=5, producer_epoch=0, base_sequence=sequence)
            return produced(ask(client, produce(topics, {("t", 0): records}), 9, ProduceResponse))["t", 0]

        assert [send(0), send(1), send(0)] == [(0, 0), (0, 1), (0, 0)]
        assert send(7)[0] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        assert topics.logs[0].log_end_offset == 2


@pytest.mark.parametrize("version", [3, 8, 9, 12, 13])
def test_requests_for_many_partitions_are_answered_in_order_wherever_what_is_received_ends(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        # More than are looked at together.
        places = [(name, index) for name in ("a", "b", "another") for index in (0, 1, 2)]
        for place in places:
            topics.add(*place)
        client = broker.client()
        requests = [produce(topics, {place: batch(b"x" * at)}, version) for at, place in enumerate(places)]
        frames = b"".join(encode(each, version) for each in requests)
        for turn, cut in enumerate(range(1, len(frames), 11)):
            client.send(frames[:cut])
            time.sleep(0.0005)
            client.send(frames[cut:])
            for request, (name, index) in zip(requests, places, strict=True):
                (topic,) = answer(client, request, version, ProduceResponse).responses
                (part,) = topic.partition_responses
                assert (topic.name if version < 13 else topic.topic_id) == (name if version < 13 else topics.ids[name])
                assert (part.index, part.error_code, part.base_offset) == (index, 0, turn)


def test_many_producers_at_once_get_offsets_without_gaps(tmp_path: Path) -> None:
    with serving(tmp_path, threads=3) as (topics, broker):
        topics.add("t", flushed=True)
        offsets: list[int] = []

        def run(number: int) -> None:
            client = broker.client()
            for n in range(50):
                client.send(encode(produce(topics, {("t", 0): batch(b"%d" % number)}, acks=-1 if number % 2 else 1), 9, n))
            for _ in range(50):
                response = answer(client, produce(topics, {}), 9, ProduceResponse)
                offsets.append(produced(response)["t", 0][1])

        threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(offsets) == list(range(300))


@pytest.mark.parametrize("seed", range(30))
def test_hostile_bytes_never_reach_the_log_and_never_stop_the_thread(seed: int, tmp_path: Path) -> None:
    random_ = random.Random(seed)
    with serving(tmp_path, threads=1) as (topics, broker):
        topics.add("t")
        good = encode(produce(topics, {("t", 0): batch(b"x" * 20)}, random_.choice([3, 9, 13])), random_.choice([3, 9, 13]))
        for _ in range(30):
            client = broker.client()
            body = bytearray(good[4:])
            for _ in range(random_.randint(1, 6)):
                body[random_.randrange(8, 40 if random_.random() < 0.7 else len(body))] = random_.choice([0, 1, 127, 128, 255])
            body = body[: random_.randint(8, len(body))] if random_.random() < 0.3 else body
            client.send(struct.pack(">i", len(body)) + bytes(body))
            broker.poll(0.001)
            client.close()
        assert produced(ask(broker.client(), produce(topics, {("t", 0): batch(b"ok")}), 9, ProduceResponse))["t", 0][0] == 0
        response = ask(broker.client(), fetch(topics, {("t", 0): 0}), 12, FetchResponse)
        assert all(value in (b"x" * 20, b"ok") for value in fetched(response)["t", 0][1])
