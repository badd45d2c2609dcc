"""Fixtures of the system tests: a broker process of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.compat.brokers import RunningBroker, running_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A running broker, shared by tests that leave it as they found it; it keeps records of any age."""
    with running_broker(tmp_path_factory.mktemp("system") / "data", overrides={"log.retention.ms": "-1"}) as running:
        yield running


@pytest.fixture
def topic() -> str:
    """A topic name of the test's own."""
    return f"system-{uuid.uuid4().hex[:12]}"
