from __future__ import annotations

import prometheus_client

import kafkax
from kafkax.protocol.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from tests.unit.client.fake import PRODUCE, TOPIC_ID, FakeBroker


def test_a_producer_counts_what_it_did(broker: FakeBroker) -> None:
    with kafkax.Producer({"bootstrap.servers": broker.address, "client.id": "p1"}) as producer:
        for _ in range(10):
            producer.produce("t", b"x" * 100, partition=0)
        metrics = producer.metrics
        assert metrics.queued_records + metrics.records == 10
        producer.flush(30)
        refused = PartitionProduceResponse(index=0, error_code=10)
        topic = TopicProduceResponse(topic_id=TOPIC_ID, partition_responses=[refused])
        broker.handlers[PRODUCE] = lambda request, default: ProduceResponse(responses=[topic])
        producer.produce("t", b"x", partition=0)
        producer.flush(30)
    assert (metrics.records, metrics.failed_records, metrics.queued_records) == (10, 1, 0)
    assert metrics.bytes > 1000
    assert metrics.batches >= 1


def test_a_consumers_lag_is_an_attribute_and_is_exposed(broker: FakeBroker) -> None:
    with kafkax.Producer({"bootstrap.servers": broker.address}) as producer:
        for number in range(10):
            producer.produce("t", b"%d" % number, partition=1)
    with kafkax.Consumer({"bootstrap.servers": broker.address, "client.id": "c1"}) as consumer:
        consumer.assign([kafkax.TopicPartition("t", 1, 0)])
        for _ in range(4):
            assert consumer.poll(30) is not None
        assert consumer.metrics.lag == {("t", 1): 6}
        assert (consumer.metrics.total_lag, consumer.metrics.assigned_partitions, consumer.metrics.records) == (6, 1, 10)
        registry = prometheus_client.CollectorRegistry()
        registry.register(consumer.metrics)
        text = prometheus_client.generate_latest(registry).decode()
    assert 'kafkax_consumer_lag{client_id="c1",partition="1",topic="t"} 6.0' in text
    assert 'kafkax_consumer_records_total{client_id="c1"} 10.0' in text
