"""Quotas on creating and deleting partitions: who is refused, who waits, and how long (KIP-599)."""

from __future__ import annotations

import pytest

from kafkax.broker.mutation_quotas import MutationQuotas
from kafkax.cluster.image import MetadataCache
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.virtual import VirtualTime

SAMPLES, SECONDS = 10, 1
LIMITED = {("clients", "limited"): {"controller_mutation_rate": "2.0"}}
"""A bucket of 20 tokens."""


class World:
    def __init__(self) -> None:
        self.time = VirtualTime()
        self.cache = MetadataCache("x")
        self.quotas = MutationQuotas(self.time, SAMPLES, SECONDS)
        self.quotas.follow(self.cache)
        self.cache.set_configs(LIMITED)

    def take(self, *partitions: int, client: str = "limited", strict: bool = True) -> int:
        """Ask for topics in one request; how many ms the client has to wait."""
        quota = self.quotas.quota("ANONYMOUS", client, strict=strict)
        for each in partitions:
            quota.take(each)
        return quota.throttle_ms()


@pytest.fixture
def world() -> World:
    return World()


def test_the_bucket_may_be_overdrawn_once(world: World) -> None:
    assert world.take(30) == 0
    with pytest.raises(KafkaError, match="5000 ms") as refused:
        world.take(1)
    assert refused.value.code is ErrorCode.THROTTLING_QUOTA_EXCEEDED


def test_who_was_refused_waits_until_the_bucket_is_out_of_debt(world: World) -> None:
    quota = world.quotas.quota("ANONYMOUS", "limited", strict=True)
    quota.take(30)
    with pytest.raises(KafkaError):
        quota.take(1)
    assert quota.throttle_ms() == 5000
    world.time.run(5_000)
    assert quota.throttle_ms() == 0
    assert world.take(1) == 0


def test_requests_of_old_versions_are_served_and_wait(world: World) -> None:
    assert world.take(20, strict=False) == 0
    assert world.take(4, strict=False) == 2000
    assert world.take(4, strict=False) == 4000


def test_no_more_is_saved_than_the_samples_span(world: World) -> None:
    world.take(20)
    world.time.run(1_000_000)
    world.take(21)
    with pytest.raises(KafkaError, match="500 ms"):
        world.take(1)


def test_others_are_not_limited(world: World) -> None:
    assert world.take(1_000, client="other") == 0
    assert world.take(1_000, client="other") == 0


def test_a_changed_quota_holds_for_the_debt_that_is_there(world: World) -> None:
    world.take(40)
    world.cache.set_configs({("clients", "limited"): {"controller_mutation_rate": "20.0"}})
    with pytest.raises(KafkaError, match="1000 ms"):
        world.take(1)


def test_debts_are_forgotten_with_the_last_quota(world: World) -> None:
    world.take(1_000)
    world.cache.set_configs({("clients", "limited"): {}})
    assert world.take(1_000) == 0
    world.cache.set_configs(LIMITED)
    assert world.take(20) == 0
