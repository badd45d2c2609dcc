"""Client telemetry: who is asked for what, and what of a push is kept (KIP-714)."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafkax.broker.telemetry import NOBODY, Telemetry, TelemetryClient
from kafkax.cluster.image import MetadataCache
from kafkax.config import BrokerConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import compress
from tests.sim.virtual import VirtualTime
from tests.unit.protocol.test_otlp import GAUGE, metrics

CLIENT = TelemetryClient("app-1", "apache-kafka-java", "4.3.1", "127.0.0.1", "5")
PUSH = metrics(GAUGE)


class World:
    def __init__(self) -> None:
        self.time = VirtualTime()
        self.cache = MetadataCache("x")
        config = BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092", "log.dirs": "/nowhere"})
        self.telemetry = Telemetry(self.cache, config, self.time, lambda: UUID(int=9))

    def want(self, **subscriptions: dict[str, str]) -> None:
        self.cache.set_configs({("client-metrics", name): config for name, config in subscriptions.items()})

    def push(self, number: int, data: bytes = PUSH, compression: int = 0, *, last: bool = False) -> None:
        self.telemetry.push(CLIENT, UUID(int=9), number, compression, data, last=last)


@pytest.fixture
def world() -> World:
    world = World()
    world.time.run(1_000_000)
    return world


def test_a_client_gets_everything_that_some_subscription_wants_of_it(world: World) -> None:
    world.want(
        all={"metrics": "a.", "interval.ms": "5000"},
        mine={"metrics": "b.", "interval.ms": "1000", "match": "client_id=app-.*"},
        other={"metrics": "c.", "interval.ms": "100", "match": "client_id=app-.*,client_software_name=librdkafka"},
    )
    instance, subscription = world.telemetry.subscribe(CLIENT, NOBODY)
    assert instance == UUID(int=9)
    assert (subscription.metrics, subscription.interval_ms) == (("a.", "b."), 1000)


def test_without_a_subscription_nothing_is_wanted(world: World) -> None:
    assert world.telemetry.subscribe(CLIENT, NOBODY)[1].metrics == ()


@pytest.mark.parametrize(("number", "name"), [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")])
def test_what_is_pushed_can_be_looked_at_until_it_is_old(world: World, number: int, name: str) -> None:
    world.want(all={"metrics": "*", "interval.ms": "1000"})
    subscription = world.telemetry.subscribe(CLIENT, NOBODY)[1]
    assert subscription.metrics == ("*",)
    world.push(subscription.number, compress(name, PUSH), number)
    ((instance, client, found),) = world.telemetry.latest()
    assert (instance, client, found[0].name) == (UUID(int=9), CLIENT, "g")
    world.time.run(4_000)
    assert list(world.telemetry.latest()) == []


def refused(world: World, *arguments: object, **more: bool) -> ErrorCode:
    with pytest.raises(KafkaError) as refusal:
        world.push(*arguments, **more)  # type: ignore[arg-type]
    return refusal.value.code


def test_pushes_that_break_the_rules_are_refused(world: World) -> None:
    world.want(all={"metrics": "*", "interval.ms": "1000"})
    number = world.telemetry.subscribe(CLIENT, NOBODY)[1].number
    assert refused(world, number + 1) is ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    assert refused(world, number, PUSH, 9) is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert refused(world, number, bytes(1_048_577)) is ErrorCode.TELEMETRY_TOO_LARGE
    assert refused(world, number, compress("gzip", bytes(2_000_000)), 1) is ErrorCode.TELEMETRY_TOO_LARGE
    assert refused(world, number, b"\xff") is ErrorCode.INVALID_RECORD
    world.push(number)
    assert refused(world, number) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    world.push(number, last=True)
    assert refused(world, number) is ErrorCode.INVALID_REQUEST


def test_a_changed_subscription_is_asked_for_again(world: World) -> None:
    world.want(all={"metrics": "a", "interval.ms": "1000"})
    number = world.telemetry.subscribe(CLIENT, NOBODY)[1].number
    with pytest.raises(KafkaError):
        world.telemetry.subscribe(CLIENT, UUID(int=9))
    world.want(all={"metrics": "b", "interval.ms": "1000"})
    assert refused(world, number) is ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    assert world.telemetry.subscribe(CLIENT, UUID(int=9))[1].metrics == ("b",)
