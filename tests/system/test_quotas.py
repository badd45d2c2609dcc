"""Quotas of a running broker: who goes beyond one is told how long to wait, and is not listened to meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kafkax.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData,
    EntityData,
    OpData,
)
from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from kafkax.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from kafkax.protocol.messages.metadata import MetadataRequest
from tests.compat.brokers import RunningBroker, running_broker
from tests.system.test_protocol_rules import batch, create, fetch_request, produce_request
from tests.system.wire import Wire

LIMITED = "limited"
BATCH = batch(*[b"x" * 1000] * 20)
WINDOW = {"quota.window.num": "2", "quota.window.size.seconds": "1"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker(tmp_path_factory.mktemp("quotas") / "data", overrides=WINDOW) as running:
        yield running


@pytest.fixture
def admin(broker: RunningBroker) -> Iterator[Wire]:
    with Wire(broker.address) as wire:
        yield wire


@pytest.fixture
def limited(broker: RunningBroker) -> Iterator[Wire]:
    with Wire(broker.address) as wire:
        yield wire


def set_quota(wire: Wire, client: str = LIMITED, **quotas: float | None) -> None:
    entry = AlterClientQuotasRequestEntryData(
        entity=[EntityData(entity_type="client-id", entity_name=client)],
        ops=[OpData(key=key, value=value or 0.0, remove=value is None) for key, value in quotas.items()],
    )
    (answer,) = wire.ask(AlterClientQuotasRequest(entries=[entry]), 1).entries
    assert answer.error_code == 0, answer.error_message


def ask(wire: Wire, request: object, version: int, client: str = LIMITED) -> tuple[object, float]:
    """The answer, and the seconds that it took."""
    began = time.monotonic()
    wire.send(request, version, client)
    return wire.receive(), time.monotonic() - began


def test_a_producer_beyond_its_quota_waits(admin: Wire, limited: Wire, topic: str) -> None:
    create(admin, topic)
    ask(limited, produce_request(topic, BATCH), 9)
    set_quota(admin, producer_byte_rate=20_000.0)
    first, _ = ask(limited, produce_request(topic, BATCH), 9)
    assert first.responses[0].partition_responses[0].error_code == 0
    assert 0 < first.throttle_time_ms < 1000, "20,3 KB of 20 KB a second"
    second, took = ask(limited, produce_request(topic, BATCH), 9)
    assert took >= first.throttle_time_ms / 1000 - 0.05
    assert second.throttle_time_ms > 0
    third, took = ask(limited, MetadataRequest(), 9)
    assert took >= second.throttle_time_ms / 1000 - 0.05, "nothing of the connection is read meanwhile"
    for _ in range(3):
        other, took = ask(admin, produce_request(topic, BATCH), 9, "other")
        assert other.throttle_time_ms == 0
    set_quota(admin, producer_byte_rate=None)
    free, _ = ask(limited, produce_request(topic, BATCH), 9)
    assert free.throttle_time_ms == 0
    assert third.throttle_time_ms == 0


def test_a_consumer_beyond_its_quota_gets_nothing_and_waits(admin: Wire, limited: Wire, topic: str) -> None:
    create(admin, topic)
    for _ in range(3):
        admin.ask(produce_request(topic, BATCH), 9)
    set_quota(admin, consumer_byte_rate=30_000.0)
    try:
        waited = offset = 0
        while offset < 60:
            answer, _ = ask(limited, fetch_request(topic, offset, wait_ms=100), 11)
            if answer.throttle_time_ms:
                assert answer.responses == []
                waited += answer.throttle_time_ms
                continue
            data = answer.responses[0].partitions[0]
            assert data.error_code == 0
            assert len(data.records) <= 30_000, "what the quota allows in its window"
            offset += 20 * (len(data.records) // len(BATCH))
        assert waited > 0
    finally:
        set_quota(admin, consumer_byte_rate=None)


def test_a_client_that_takes_too_much_time_waits(admin: Wire, limited: Wire) -> None:
    set_quota(admin, request_percentage=0.001)
    try:
        for _ in range(50):
            answer, _ = ask(limited, MetadataRequest(), 9)
            if answer.throttle_time_ms:
                break
        assert 0 < answer.throttle_time_ms <= 1000
    finally:
        set_quota(admin, request_percentage=None)


def test_many_requests_at_once_do_not_take_the_queue_from_others(admin: Wire, limited: Wire, topic: str) -> None:
    create(admin, topic)
    set_quota(admin, producer_byte_rate=1.0)
    try:
        for _ in range(600):
            limited.send(produce_request(topic, batch(b"x"), acks=1), 9, LIMITED)
        for _ in range(20):
            assert ask(admin, MetadataRequest(), 9, "other")[1] < 30
    finally:
        set_quota(admin, producer_byte_rate=None)


def set_broker(admin: Wire, **configs: str | None) -> None:
    changed = [
        AlterableConfig(name=name.replace("_", "."), config_operation=0 if value else 1, value=value)
        for name, value in configs.items()
    ]
    resource = AlterConfigsResource(resource_type=4, resource_name="", configs=changed)
    (answer,) = admin.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
    assert answer.error_code == 0, answer.error_message


def connected(broker: RunningBroker) -> bool:
    """Whether a new connection is served."""
    with Wire(broker.address) as wire:
        try:
            wire.ask(ApiVersionsRequest(), 2)
        except OSError:
            return False
        except EOFError:
            return False
        return True


def test_connections_come_no_faster_than_they_may(admin: Wire, broker: RunningBroker) -> None:
    set_broker(admin, max_connection_creation_rate="2")
    began = time.monotonic()
    assert all(connected(broker) for _ in range(6))
    assert time.monotonic() - began > 1, "two at once, then two a second"
    set_broker(admin, max_connection_creation_rate=None)


def test_connections_of_an_address_that_come_too_fast_are_closed(admin: Wire, broker: RunningBroker) -> None:
    entity = [EntityData(entity_type="ip", entity_name="127.0.0.1")]
    for remove, outcomes in ((False, {True, False}), (True, {True})):
        ops = [OpData(key="connection_creation_rate", value=0.0 if remove else 1.0, remove=remove)]
        entry = AlterClientQuotasRequestEntryData(entity=entity, ops=ops)
        assert admin.ask(AlterClientQuotasRequest(entries=[entry]), 1).entries[0].error_code == 0
        with ThreadPoolExecutor(20) as callers:
            assert set(callers.map(lambda _: connected(broker), range(20))) == outcomes


def test_limits_of_connections_change_while_the_broker_runs(admin: Wire, broker: RunningBroker) -> None:
    assert connected(broker)
    set_broker(admin, max_connections_per_ip="1")
    assert not connected(broker), "there is one already"
    set_broker(admin, max_connections_per_ip_overrides="127.0.0.1:3,127.0.0.2:1")
    assert connected(broker)
    set_broker(admin, max_connections_per_ip=None, max_connections_per_ip_overrides=None)
    assert connected(broker)
