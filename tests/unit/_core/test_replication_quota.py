"""Rates of throttled replicas, as Kafka measures them: what the latest samples hold over the time since the oldest began."""

from __future__ import annotations

import threading

import pytest

from kafkax._core.replication_quota import ReplicationQuota


def quota(limit: int, samples: int = 11) -> ReplicationQuota:
    made = ReplicationQuota(samples, 1000)
    made.limit = limit
    return made


def test_without_a_limit_nothing_waits_and_nothing_is_measured() -> None:
    unlimited = ReplicationQuota(11, 1000)
    unlimited.record(1 << 40, 0)
    assert unlimited.wait_ms(0) == 0
    unlimited.limit = 1
    assert unlimited.wait_ms(0) == 0


def test_it_waits_until_the_rate_since_the_oldest_sample_is_the_limit() -> None:
    limited = quota(1000)
    assert limited.wait_ms(0) == 0
    limited.record(1000, 0)
    assert limited.wait_ms(0) == 0, "a second's worth in the first second is the limit, not above it"
    limited.record(3000, 500)
    assert limited.wait_ms(500) == 3500
    assert limited.wait_ms(3999) == 1
    assert limited.wait_ms(4000) == 0


def test_what_is_older_than_all_samples_is_forgotten() -> None:
    limited = quota(1000, samples=3)
    limited.record(9000, 0)
    assert limited.wait_ms(1000) == 2000, "no longer than the samples span, though the rate would need 8 seconds"
    assert limited.wait_ms(2999) > 0
    assert limited.wait_ms(3000) == 0


def test_samples_that_come_and_go_keep_the_rate() -> None:
    limited, now, sent = quota(100_000), 0, 0
    while now < 120_000:
        if not limited.wait_ms(now):
            limited.record(150_000, now)
            sent += 150_000
        now += 50
    assert 0.9 < sent / 120 / 100_000 < 1.1


def test_a_limit_that_changes_counts_at_once() -> None:
    limited = quota(1000)
    limited.record(10_000, 0)
    assert limited.wait_ms(100) > 0
    limited.limit = 10_000
    assert limited.wait_ms(100) == 0


def test_a_limit_of_nothing_lets_more_through_only_once_all_is_forgotten() -> None:
    limited = quota(0, samples=2)
    assert limited.wait_ms(0) == 0
    limited.record(1, 0)
    assert limited.wait_ms(1999) > 0
    assert limited.wait_ms(2000) == 0


def test_threads_lose_nothing() -> None:
    limited = quota(1_000_000, samples=2)

    def use() -> None:
        for _ in range(10_000):
            limited.record(100, 0)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limited.limit = 2_000_000
    assert limited.wait_ms(0) == 2000, "four megabytes at two a second"


@pytest.mark.parametrize(("samples", "sample_ms"), [(0, 1000), (11, 0)])
def test_it_needs_samples(samples: int, sample_ms: int) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        ReplicationQuota(samples, sample_ms)
