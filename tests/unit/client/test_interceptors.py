from __future__ import annotations

from typing import Any

import kafkax
from kafkax.client.interceptors import ConsumerInterceptor, ProducerInterceptor, ProducerRecord
from kafkax.client.types import OFFSET_BEGINNING
from tests.unit.client.fake import FakeBroker


class Stamp(ProducerInterceptor):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_send(self, record: ProducerRecord) -> ProducerRecord:
        return record._replace(value=record.value + b"!")

    def on_acknowledgement(self, error: Any, message: Any) -> None:
        self.told.append((error, message.value()))


class Broken:
    def on_send(self, record: ProducerRecord) -> ProducerRecord:
        raise ZeroDivisionError

    def on_consume(self, messages: Any) -> Any:
        raise ZeroDivisionError


class OnlyEven(ConsumerInterceptor):
    def on_consume(self, messages: list[Any]) -> list[Any]:
        return [message for message in messages if message.offset() % 2 == 0]


def test_records_pass_them_on_their_way_out_and_a_broken_one_stops_nothing(broker: FakeBroker) -> None:
    stamp, reports = Stamp(), []
    with kafkax.Producer({"bootstrap.servers": broker.address, "interceptors": [Broken(), stamp]}) as producer:
        producer.produce("t", b"a", partition=0, on_delivery=lambda error, message: reports.append(message.offset()))
        producer.produce("t", b"b", partition=0)
    assert broker.values(0) == [b"a!", b"b!"]
    assert stamp.told == [(None, b"a!"), (None, b"b!")]
    assert reports == [0]


def test_records_pass_them_on_their_way_in(broker: FakeBroker) -> None:
    with kafkax.Producer({"bootstrap.servers": broker.address}) as producer:
        for number in range(6):
            producer.produce("t", b"%d" % number, partition=0)
    with kafkax.Consumer({"bootstrap.servers": broker.address, "interceptors": [OnlyEven(), Broken()]}) as consumer:
        consumer.assign([kafkax.TopicPartition("t", 0, OFFSET_BEGINNING)])
        first = consumer.poll(30)
        assert first is not None
        assert first.value() == b"0"
        second = consumer.poll(30)
        assert second is not None
        assert second.value() == b"2"
        assert [message.value() for message in consumer.consume(3, 10)] == [b"4"]
