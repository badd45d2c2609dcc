"""SIGKILL at random moments: nothing acknowledged is lost, nothing is there twice, nothing seen goes away.

``KAFKAX_CRASH_ROUNDS`` sets the rounds; ci/nightly asks for 1,000.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.storage.verify import verify
from tests.crash.campaign import Broker, Campaign, rounds

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
