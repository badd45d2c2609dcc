from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

import kafkax
from kafkax._core.murmur2 import partition_for_key
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from kafkax.protocol.records import iter_batches
from tests.unit.client.fake import CLOSE, METADATA, PRODUCE, TOPIC_ID, FakeBroker

Report = tuple[KafkaError | None, int | None]


@pytest.fixture
def one() -> Iterator[FakeBroker]:
    made = FakeBroker(partitions=1)
    yield made
    made.close()


def producer(broker: FakeBroker, **config: Any) -> kafkax.Producer:
    return kafkax.Producer({"bootstrap.servers": broker.address, "linger.ms": 1, "retry.backoff.ms": 5, **config})


def refusal(code: int) -> ProduceResponse:
    parts = [PartitionProduceResponse(index=0, error_code=code)]
    return ProduceResponse(responses=[TopicProduceResponse(topic_id=TOPIC_ID, partition_responses=parts)])


def test_a_record_arrives_as_it_was_given(one: FakeBroker) -> None:
    reports: list[Any] = []
    with producer(one) as p:
        p.produce(
            "t", "wört", b"k", headers=[("a", b"1"), ("b", None)], timestamp=1234, on_delivery=lambda e, m: reports.append((e, m))
        )
        p.produce("t", None, None, headers={"c": "text"})
        assert p.flush(30) == 0
    (batch,) = [each for data in one.logs[0] for each in iter_batches(data)]
    first, second = batch.records()
    assert (first.key, first.value, first.timestamp) == (b"k", "wört".encode(), 1234)
    assert list(first.headers) == [("a", b"1"), ("b", None)]
    assert (second.key, second.value, list(second.headers)) == (None, None, [("c", b"text")])
    error, message = reports[0]
    assert error is None
    assert (message.offset(), message.key(), message.value(), message.headers()) == (
        0,
        b"k",
        "wört".encode(),
        [("a", b"1"), ("b", None)],
    )


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression(one: FakeBroker, codec: str) -> None:
    reports: list[Any] = []
    with producer(one, **{"compression.type": codec}) as p:
        for number in range(500):
            p.produce("t", f"value {number}", on_delivery=lambda e, m: reports.append(m.value()))
    expected = [f"value {number}".encode() for number in range(500)]
    assert one.values() == reports == expected


@pytest.mark.parametrize("more", [{}, {"interceptors": [object()]}])
def test_the_function_of_the_config_is_for_records_without_one(one: FakeBroker, more: dict[str, Any]) -> None:
    general: list[Any] = []
    own: list[Any] = []
    report = lambda error, message: general.append((error, message.value()))  # noqa: E731
    with kafkax.Producer({"bootstrap.servers": one.address, "on_delivery": report, **more}) as producer:
        producer.produce("t", b"0")
        producer.produce("t", b"1", on_delivery=lambda error, message: own.append((error, message.value())))
    assert (general, own) == ([(None, b"0")], [(None, b"1")])


def test_keys_choose_the_partition_as_in_java(broker: FakeBroker) -> None:
    with producer(broker) as p:
        for number in range(100):
            p.produce("t", f"{number}", key=f"key{number}")
    for partition in (0, 1):
        chosen = [b"%d" % n for n in range(100) if partition_for_key(b"key%d" % n, 2) == partition]
        assert broker.values(partition) == chosen


def test_order_and_no_duplicates_when_answers_are_lost(one: FakeBroker) -> None:
    asked = 0

    def lossy(request: Any, default: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked % 5 == 2:
            return CLOSE
        answer = default()
        return CLOSE if asked % 5 == 4 else answer

    one.handlers[PRODUCE] = lossy
    failed: list[Any] = []
    with producer(one, **{"batch.num.messages": 7, "reconnect.backoff.ms": 1, "reconnect.backoff.max.ms": 5}) as p:
        for number in range(300):
            p.produce("t", f"{number}", on_delivery=lambda e, m: e and failed.append(e))
        assert p.flush(30) == 0
    assert failed == []
    assert one.values() == [b"%d" % number for number in range(300)]


@pytest.mark.parametrize("code", [6, 7, 19, 56])
def test_what_may_pass_is_tried_again(one: FakeBroker, code: int) -> None:
    answers = [refusal(code), refusal(code)]
    one.handlers[PRODUCE] = lambda request, default: answers.pop() if answers else default()
    reports: list[Report] = []
    with producer(one) as p:
        p.produce("t", b"x", on_delivery=lambda e, m: reports.append((e, m.offset())))
    assert reports == [(None, 0)]


def test_what_will_not_pass_is_reported(one: FakeBroker) -> None:
    one.handlers[PRODUCE] = lambda request, default: refusal(10)
    reports: list[Any] = []
    with producer(one) as p:
        p.produce("t", b"x", on_delivery=lambda e, m: reports.append((e, m.offset(), m.error())))
    ((error, offset, same),) = reports
    assert error.code is ErrorCode.MESSAGE_TOO_LARGE
    assert (offset, same) == (None, error)


def test_after_a_gap_the_sequence_begins_anew(one: FakeBroker) -> None:
    answers = [refusal(10)]
    one.handlers[PRODUCE] = lambda request, default: answers.pop() if answers else default()
    reports: list[Any] = []
    with producer(one, **{"linger.ms": 0}) as p:
        p.produce("t", b"lost", on_delivery=lambda e, m: reports.append(e))
        p.flush(30)
        p.produce("t", b"next", on_delivery=lambda e, m: reports.append(e))
        assert p.flush(30) == 0
    assert reports[0] is not None
    assert reports[1] is None
    assert one.seen.count("InitProducerId") == 2


def test_a_silent_broker_does_not_outlast_delivery_timeout(one: FakeBroker) -> None:
    one.handlers[PRODUCE] = lambda request, default: None
    reports: list[Any] = []
    with producer(one, **{"delivery.timeout.ms": 600, "request.timeout.ms": 200}) as p:
        p.produce("t", b"x", on_delivery=lambda e, m: reports.append(e))
        assert p.flush(30) == 0
    assert reports[0].code is ErrorCode.REQUEST_TIMED_OUT


def test_a_full_queue_says_so(one: FakeBroker) -> None:
    one.handlers[PRODUCE] = lambda request, default: None
    p = producer(one, **{"queue.buffering.max.messages": 3})
    for _ in range(3):
        p.produce("t", b"x")
    with pytest.raises(BufferError, match=r"poll\(\) and try again"):
        p.produce("t", b"x")
    p.close(0.1)


def test_too_large_and_wrong_values_are_refused_at_once(one: FakeBroker) -> None:
    with producer(one) as p:
        with pytest.raises(KafkaError, match=r"above message\.max\.bytes=1000000"):
            p.produce("t", b"x" * 1_000_001)
        with pytest.raises(TypeError):
            p.produce("t", 5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            p.produce("", b"x")


def test_a_partition_that_does_not_exist_fails_its_record(one: FakeBroker) -> None:
    reports: list[Any] = []
    with producer(one) as p:
        p.produce("t", b"x", partition=9, on_delivery=lambda e, m: reports.append(e))
        p.produce("t", b"y", partition=0)
        p.flush(30)
    assert "has 1 partitions, no partition 9" in str(reports[0])
    assert one.values() == [b"y"]


def test_an_error_in_a_callback_reaches_the_caller_and_loses_no_report(one: FakeBroker) -> None:
    seen: list[Any] = []

    def callback(error: Any, message: Any) -> None:
        seen.append(message.value())
        if len(seen) == 2:
            raise ZeroDivisionError

    p = producer(one)
    for number in range(4):
        p.produce("t", b"%d" % number, on_delivery=callback)
    with pytest.raises(ZeroDivisionError):
        p.flush(30)
    assert p.flush(30) == 0
    p.close()
    assert seen == [b"0", b"1", b"2", b"3"]


def test_without_acknowledgement_nothing_is_waited_for(one: FakeBroker) -> None:
    def silent(request: Any, default: Any) -> None:
        default()

    one.handlers[PRODUCE] = silent
    reports: list[Report] = []
    with producer(one, acks=0) as p:
        p.produce("t", b"x", on_delivery=lambda e, m: reports.append((e, m.offset())))
        assert p.flush(30) == 0
        end = time.monotonic() + 30
        while not one.values() and time.monotonic() < end:
            time.sleep(0.01)
    assert reports == [(None, None)]
    assert one.values() == [b"x"]


def test_after_close_and_after_fork_it_says_why(one: FakeBroker) -> None:
    p = producer(one)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            p.produce("t", b"x")
        except RuntimeError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"was forked off" in os.read(read, 1000)
    p.close()
    with pytest.raises(RuntimeError, match="closed"):
        p.produce("t", b"x")


def test_what_is_purged_is_reported_and_what_comes_after_arrives(one: FakeBroker) -> None:
    one.handlers[PRODUCE] = lambda request, default: None
    told: list[Any] = []
    config = {"bootstrap.servers": one.address, "linger.ms": 0, "retry.backoff.ms": 1, "max.in.flight": 1}
    with kafkax.Producer(config) as producer:
        for number in range(2):
            producer.produce("t", b"%d" % number, on_delivery=lambda error, message: told.append((message.value(), error)))
            # The first one is sent, the second one waits for its answer.
            while "Produce" not in one.seen:
                producer.poll(0.01)
        producer.purge(in_flight=False)
        producer.poll(20)
        assert [(value, str(error)) for value, error in told] == [(b"1", "purged before it was sent")]
        producer.purge()
        assert producer.flush(20) == 0
        assert told[1][0] == b"0"
        assert "whether the broker has it is not known" in str(told[1][1])
        assert {error.code for _, error in told} == {ErrorCode.OPERATION_NOT_ATTEMPTED}
        del one.handlers[PRODUCE]
        producer.produce("t", b"after", on_delivery=lambda error, message: told.append((message.value(), error)))
        assert producer.flush(20) == 0
    assert told[2] == (b"after", None)
    assert one.values() == [b"after"]


def test_records_before_their_topic_is_known_are_purged_as_well(one: FakeBroker) -> None:
    one.handlers[METADATA] = lambda request, default: None
    told: list[Any] = []
    with kafkax.Producer({"bootstrap.servers": one.address}) as producer:
        producer.produce("t", b"x", on_delivery=lambda error, _: told.append(error.code))
        while "Metadata" not in one.seen:
            producer.poll(0.01)
        producer.purge()
        assert producer.flush(20) == 0
    assert told == [ErrorCode.OPERATION_NOT_ATTEMPTED]


def test_many_records_are_given_at_once(one: FakeBroker) -> None:
    told: list[Any] = []
    many: list[dict[str, Any]] = [
        {"value": b"a", "key": b"k", "timestamp": 77},
        {"value": b"b", "headers": [("h", b"1")], "callback": lambda error, message: told.append("own")},
        {"value": b"c" * 2000},
        {"value": None},
    ]
    with kafkax.Producer({"bootstrap.servers": one.address, "message.max.bytes": 1000}) as producer:
        assert producer.produce_batch("t", many, on_delivery=lambda error, message: told.append(message.timestamp()[1])) == 3
        with pytest.raises(TypeError, match="{'values': 1} is refused"):
            producer.produce_batch("t", [{"value": b"d"}, {"values": 1}])
        assert producer.flush(20) == 0
    assert one.values() == [b"a", b"b", None]
    assert told[:2] == [77, "own"]
    assert many[2]["_error"].code is ErrorCode.MESSAGE_TOO_LARGE
    assert ["_error" in each for each in many] == [False, False, True, False]


def test_a_delivered_record_tells_how_long_it_took(one: FakeBroker) -> None:
    told: list[Any] = []
    with kafkax.Producer({"bootstrap.servers": one.address}) as producer:
        begin = time.monotonic()
        producer.produce("t", b"x", on_delivery=lambda _, message: told.append(message.latency()))
        assert producer.flush(20) == 0
        assert 0 < told[0] <= time.monotonic() - begin
        one.handlers[PRODUCE] = lambda request, default: refusal(10)
        producer.produce("t", b"x", on_delivery=lambda _, message: told.append(message.latency()))
        assert producer.flush(20) == 0
    assert told[1] is None


def test_what_a_record_says_can_be_changed(one: FakeBroker) -> None:
    told: list[kafkax.Message] = []
    with kafkax.Producer({"bootstrap.servers": one.address}) as producer:
        producer.produce("t", b"x", b"k", headers=[("h", b"1")], on_delivery=lambda _, message: told.append(message))
        assert producer.flush(20) == 0
    (message,) = told
    message.set_value({"name": "x"})
    message.set_key(None)
    message.set_headers([])
    message.set_topic("other")
    message.set_error(KafkaError(ErrorCode.INVALID_RECORD))
    assert (message.value(), message.key(), message.headers(), message.topic()) == ({"name": "x"}, None, [], "other")
    assert len(message) == 1
    error = message.error()
    assert error is not None
    assert error.code is ErrorCode.INVALID_RECORD
    message.set_error(None)
    assert message.error() is None


def test_what_was_changed_of_one_record_is_not_said_of_the_next(one: FakeBroker) -> None:
    told: list[Any] = []

    def note(error: Any, message: kafkax.Message) -> None:
        told.append((message.topic(), message.value(), message.error()))
        message.set_topic("other")
        message.set_value(b"other")
        message.set_error(KafkaError(ErrorCode.INVALID_RECORD))

    with kafkax.Producer({"bootstrap.servers": one.address}) as producer:
        for value in (b"a", b"b", b"c"):
            producer.produce("t", value, on_delivery=note)
        assert producer.flush(20) == 0
    assert told == [("t", b"a", None), ("t", b"b", None), ("t", b"c", None)]


def test_the_cluster_has_an_id(one: FakeBroker) -> None:
    with kafkax.Producer({"bootstrap.servers": one.address}) as producer:
        assert producer.cluster_id(20) == "fake"
