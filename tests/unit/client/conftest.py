"""A fake broker for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.client.fake import FakeBroker


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    made = FakeBroker(partitions=2)
    yield made
    made.close()
