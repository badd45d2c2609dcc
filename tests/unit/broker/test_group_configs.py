"""What single groups set for themselves: their coordinators use it at once."""

from __future__ import annotations

from kafkax.broker.group_configs import GroupConfigs
from kafkax.cluster.image import MetadataCache
from kafkax.cluster.znodes import sanitized
from kafkax.config import BrokerConfig
from kafkax.coordinator.groups.settings import ConsumerTimes

BROKER = {"listeners": "PLAINTEXT://127.0.0.1:9092", "log.dirs": "/nowhere", "group.consumer.session.timeout.ms": "46000"}


def test_a_group_has_what_it_sets_and_the_brokers_for_the_rest() -> None:
    cache, changed = MetadataCache("x"), list[str]()
    configs = GroupConfigs(cache, BrokerConfig(BROKER), changed.append)
    defaults = ConsumerTimes(46_000, 5_000, 1_000)
    assert configs.times("a group/1") == defaults
    entity = ("groups", sanitized("a group/1"))
    cache.set_configs({entity: {"consumer.heartbeat.interval.ms": "7000"}})
    assert configs.times("a group/1") == ConsumerTimes(46_000, 7_000, 1_000)
    assert configs.times("another") == defaults
    cache.set_configs({entity: {"consumer.session.timeout.ms": "50000", "consumer.assignment.interval.ms": "5"}})
    assert configs.times("a group/1") == ConsumerTimes(50_000, 5_000, 5)
    cache.set_configs({entity: {}})
    assert configs.times("a group/1") == defaults
    assert changed == ["a group/1"] * 3
    configs.close()
    cache.set_configs({entity: {"consumer.session.timeout.ms": "50000"}})
    assert len(changed) == 3


def test_what_cannot_be_used_is_left_alone() -> None:
    cache = MetadataCache("x")
    configs = GroupConfigs(cache, BrokerConfig(BROKER), lambda _: None)
    cache.set_configs({("groups", "g"): {"consumer.session.timeout.ms": "1"}})
    assert configs.times("g") == ConsumerTimes(46_000, 5_000, 1_000)


def test_what_the_broker_is_told_while_it_runs_holds_for_groups_that_do_not_set_it() -> None:
    cache, config = MetadataCache("x"), BrokerConfig(BROKER)
    configs = GroupConfigs(cache, config, lambda _: None)
    cache.set_configs({("groups", "g"): {"consumer.heartbeat.interval.ms": "7000"}})
    assert configs.times("h").assignment_interval_ms == 1_000
    assert configs.times("g").assignment_interval_ms == 1_000
    config.set_dynamic(cluster={"group.consumer.assignment.interval.ms": "20"})
    assert configs.times("h") == ConsumerTimes(46_000, 5_000, 20)
    assert configs.times("g") == ConsumerTimes(46_000, 7_000, 20)
