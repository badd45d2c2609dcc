"""Configs of a group: bounded by the broker's, which also give the defaults."""

from __future__ import annotations

import pytest

from kafkax.config import BrokerConfig, ConfigError, ConfigSource, GroupConfig

BROKER = BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092", "log.dirs": "/nowhere"})


def test_the_default_is_the_brokers() -> None:
    config = GroupConfig({}, BROKER)
    assert config["consumer.session.timeout.ms"] == 45_000
    entry = config.describe(["consumer.session.timeout.ms"])[0]
    assert (entry.source, entry.synonyms[0].name) == (ConfigSource.DEFAULT_CONFIG, "group.consumer.session.timeout.ms")


def test_what_a_group_sets_comes_first() -> None:
    config = GroupConfig({"consumer.session.timeout.ms": "50000"}, BROKER)
    assert config["consumer.session.timeout.ms"] == 50_000
    assert config.describe(["consumer.session.timeout.ms"])[0].source is ConfigSource.GROUP_CONFIG


@pytest.mark.parametrize(
    "settings",
    [
        {"consumer.session.timeout.ms": "1"},
        {"consumer.session.timeout.ms": "60001"},
        {"consumer.heartbeat.interval.ms": "4999"},
        {"consumer.session.timeout.ms": "soon"},
        {"no.such.config": "1"},
    ],
)
def test_what_the_broker_does_not_allow_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        GroupConfig(settings, BROKER)
