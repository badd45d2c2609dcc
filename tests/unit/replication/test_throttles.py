"""Which replicas are throttled, by topic and side, and rates that follow the broker's configs."""

from __future__ import annotations

import pytest

from kafkax.config import BrokerConfig, TopicConfig
from kafkax.model import TopicPartition
from kafkax.replication.throttles import Throttles

UNLIMITED = 2**63 - 1


@pytest.fixture
def config() -> BrokerConfig:
    return BrokerConfig.load(overrides={"replication.quota.window.num": "3", "replication.quota.window.size.seconds": "2"})


def throttles(config: BrokerConfig, topics: dict[str, TopicConfig]) -> Throttles:
    return Throttles(1, config, topics.__getitem__)


def test_a_topic_names_its_throttled_replicas_on_each_side(config: BrokerConfig) -> None:
    sides = {"leader.replication.throttled.replicas": "0:1,2:1,1:2", "follower.replication.throttled.replicas": "*"}
    topics = {"t": TopicConfig(sides, config), "free": TopicConfig({}, config)}
    limits = throttles(config, topics)
    assert [limits.leads_throttled(TopicPartition("t", index)) for index in range(4)] == [True, False, True, False]
    assert all(limits.follows_throttled(TopicPartition("t", index)) for index in range(4))
    assert not limits.leads_throttled(TopicPartition("free", 0))
    assert not limits.follows_throttled(TopicPartition("free", 0))
    topics["t"] = TopicConfig({"leader.replication.throttled.replicas": "1:1"}, config)
    assert [limits.leads_throttled(TopicPartition("t", index)) for index in range(3)] == [False, True, False]
    assert not limits.follows_throttled(TopicPartition("t", 0))


def test_rates_follow_the_configs(config: BrokerConfig) -> None:
    limits = throttles(config, {})
    assert (limits.leader.limit, limits.follower.limit) == (UNLIMITED, UNLIMITED)
    rates = {"leader.replication.throttled.rate": "500", "follower.replication.throttled.rate": "700"}
    config.set_dynamic(broker=rates, cluster={})
    assert (limits.leader.limit, limits.follower.limit) == (500, 700)
    assert (throttles(config, {}).leader.limit, throttles(config, {}).follower.limit) == (500, 700)
    config.set_dynamic(broker={}, cluster={"follower.replication.throttled.rate": "900"})
    assert (limits.leader.limit, limits.follower.limit) == (UNLIMITED, 900)


def test_a_rate_is_measured_over_the_samples_that_are_configured(config: BrokerConfig) -> None:
    limits = throttles(config, {})
    for quota in (limits.leader, limits.follower):
        quota.limit = 1
        quota.record(100, 0)
        assert quota.wait_ms(5999) > 0
        assert quota.wait_ms(6000) == 0
