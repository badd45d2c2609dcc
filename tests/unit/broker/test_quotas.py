"""Client quotas in force: whose holds, how rates are measured, how long to wait."""

from __future__ import annotations

import pytest

from kafkax.broker.quotas import CONSUMER, PRODUCER, Quotas, Rate
from kafkax.clock import SystemClock
from kafkax.cluster.image import MetadataCache

CONFIGS = {
    ("users", "alice"): {"producer_byte_rate": "1"},
    ("users", "alice/clients/app"): {"producer_byte_rate": "2"},
    ("users", "alice/clients/<default>"): {"producer_byte_rate": "3"},
    ("users", "<default>/clients/tool"): {"producer_byte_rate": "4"},
    ("users", "<default>/clients/<default>"): {"producer_byte_rate": "5"},
    ("clients", "slow"): {"consumer_byte_rate": "6"},
    ("clients", "<default>"): {"consumer_byte_rate": "7"},
    ("ips", "127.0.0.1"): {"connection_creation_rate": "8"},
}


def quotas(*entities: tuple[str, str]) -> Quotas:
    cache, generations = MetadataCache("x"), []
    found = Quotas(SystemClock(), 2, 1)
    found.follow(cache, generations.append)
    cache.set_configs({entity: CONFIGS[entity] for entity in entities or CONFIGS})
    assert generations == ([1] if found.enforced else [])
    return found


@pytest.mark.parametrize(
    ("user", "client", "quota"),
    [("alice", "app", 2), ("alice", "other", 3), ("bob", "tool", 4), ("bob", "other", 5)],
)
def test_the_most_particular_quota_holds(user: str, client: str, quota: float) -> None:
    limits = quotas().of(user, client)
    assert limits is not None
    # what takes 2 seconds at the quota, in a window of one second
    assert limits.use(PRODUCER, 2 * quota, 100.0) == 1000


def test_a_user_shares_its_quota_over_its_clients() -> None:
    found = quotas(("users", "alice"))
    one, other = found.of("alice", "a"), found.of("alice", "b")
    assert one is not None
    assert other is not None
    assert one.use(PRODUCER, 1, 10.0) == 0
    assert other.use(PRODUCER, 1, 10.0) == 1000
    assert found.of("bob", "a") is None


def test_clients_by_default_have_a_quota_each() -> None:
    found = quotas(("clients", "<default>"), ("clients", "slow"))
    one, other = found.of("x", "a"), found.of("x", "b")
    assert one is not None
    assert other is not None
    assert one.use(CONSUMER, 14, 10.0) == 1000
    assert other.use(CONSUMER, 7, 10.0) == 0
    assert one.most_bytes() == 7


def test_quotas_of_addresses_alone_meter_nobody() -> None:
    assert not quotas(("ips", "127.0.0.1")).enforced


def test_when_the_last_quota_goes_nobody_is_metered() -> None:
    cache, generations = MetadataCache("x"), []
    found = Quotas(SystemClock(), 2, 1)
    found.follow(cache, generations.append)
    cache.set_configs({("clients", "a"): {"producer_byte_rate": "1"}})
    cache.set_configs({("clients", "a"): {"producer_byte_rate": "2"}})
    cache.set_configs({("clients", "a"): {}})
    assert generations == [1, 2, 0]
    assert not found.enforced


def test_a_rate_covers_all_samples_but_one_at_least() -> None:
    rate = Rate(11, 1)
    rate.record(100, 50.0)
    assert rate.throttle_ms(10, 50.0) == 0, "10 a second, over 10 seconds"
    rate.record(50, 50.5)
    assert rate.throttle_ms(10, 50.5) == 5000
    assert rate.throttle_ms(10, 56.0) == 5000
    assert rate.throttle_ms(10, 61.5) == 0, "samples grow old"
