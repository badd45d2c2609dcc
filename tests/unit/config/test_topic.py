"""A topic's configs on top of its broker's."""

from __future__ import annotations

import pytest

from kafkax.config import BrokerConfig, ConfigError, ConfigSource, TopicConfig


@pytest.fixture
def broker() -> BrokerConfig:
    return BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092", "log.retention.hours": "2", "log.durability": "replicated"})


def test_what_the_topic_does_not_set_comes_from_the_broker(broker: BrokerConfig) -> None:
    topic = TopicConfig({"segment.ms": "5000"}, broker)
    assert (topic["segment.ms"], topic["retention.ms"], topic["kafkax.durability"]) == (5000, 7_200_000, "replicated")
    assert topic["follower.replication.throttled.replicas"] == ()


def test_a_change_of_the_broker_shows_at_once(broker: BrokerConfig) -> None:
    topic = TopicConfig({}, broker)
    broker.set_dynamic(cluster={"log.retention.ms": "99"})
    assert topic["retention.ms"] == 99


def test_flush_ms_follows_the_schedulers_interval(broker: BrokerConfig) -> None:
    assert TopicConfig({}, broker)["flush.ms"] == 2**63 - 1


def test_sources_and_synonyms(broker: BrokerConfig) -> None:
    broker.set_dynamic(cluster={"log.retention.ms": "1000"})
    entry = TopicConfig({"retention.ms": "500"}, broker).describe(["retention.ms"])[0]
    assert (entry.value, entry.source) == ("500", ConfigSource.DYNAMIC_TOPIC_CONFIG)
    assert not entry.read_only
    assert not entry.sensitive
    assert [tuple(synonym) for synonym in entry.synonyms] == [
        ("retention.ms", "500", ConfigSource.DYNAMIC_TOPIC_CONFIG),
        ("log.retention.ms", "1000", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
        ("log.retention.hours", "2", ConfigSource.STATIC_BROKER_CONFIG),
        ("log.retention.hours", "168", ConfigSource.DEFAULT_CONFIG),
    ]


def test_every_config_is_described(broker: BrokerConfig) -> None:
    entries = {entry.name: entry for entry in TopicConfig({}, broker).describe()}
    assert entries["cleanup.policy"].value == "delete"
    assert entries["remote.storage.enable"].source is ConfigSource.DEFAULT_CONFIG
    assert "internal.segment.bytes" not in entries


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"retention": "1"}, "retention: unknown topic config; did you mean retention.ms?"),
        ({"retention.ms": "-2"}, "retention.ms: value '-2' is refused; allowed: -1 or more"),
        ({"segment.bytes": "x"}, "segment.bytes: value 'x' is refused; it takes a whole number"),
        ({"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4"}, "5 is above max.compaction.lag.ms (4)"),
        ({"segment.ms": "10", "segment.jitter.ms": "11"}, "segment.jitter.ms: 11 is above segment.ms (10)"),
        ({"remote.storage.enable": "true"}, "only 'false' is offered"),
        ({"kafkax.durability": "maybe"}, "allowed: flushed, replicated"),
    ],
)
def test_what_is_refused(broker: BrokerConfig, overrides: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TopicConfig(overrides, broker)
    assert reason in str(caught.value)
