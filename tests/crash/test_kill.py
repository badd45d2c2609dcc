"""SIGKILL at random moments: nothing acknowledged is lost, nothing is there twice, nothing seen goes away.

``KAFKAX_CRASH_ROUNDS`` sets the rounds; ci/nightly asks for 1,000.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.storage.verify import verify
from tests.crash.campaign import Broker, Campaign, produce_numbers, rounds
from tests.system.wire import Wire

ROUNDS = rounds("KAFKAX_CRASH_ROUNDS", 4)


@pytest.mark.timeout(120 + 30 * ROUNDS)
@pytest.mark.parametrize("durability", ["flushed", "replicated"])
def test_killed_under_load(tmp_path: Path, durability: str) -> None:
    broker = Broker(tmp_path / "data")
    campaign = Campaign(broker, segment_bytes="200000", kafkax_durability=durability)
    try:
        campaign.run(ROUNDS, broker.kill)
    finally:
        broker.kill()
    assert all(writer.acknowledged > 0 for writer in campaign.writers)
    broker.start()
    broker.stop()
    assert verify(tmp_path / "data", deep=True).problems == []


@pytest.mark.parametrize("durability", ["flushed", "replicated"])
def test_what_acks_1_answered_is_there_after_a_kill(tmp_path: Path, durability: str) -> None:
    broker = Broker(tmp_path / "data")
    campaign = Campaign(broker, 1, kafkax_durability=durability)
    try:
        broker.start()
        campaign.create_topic()
        with Wire(broker.address, timeout=60) as wire:
            produce_numbers(wire, 0, 500, acks=1)
            broker.kill()
        broker.start()
        assert campaign.numbers(0, 0, 500) == list(range(500))
    finally:
        broker.kill()
