"""Fixtures of the compatibility tests: one kafkax broker for the session, started the way users start it."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.brokers import real_kafka, running_broker


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the broker under test; ``KAFKAX_COMPAT_BOOTSTRAP`` names another one, to try the tests themselves on."""
    if given := os.environ.get("KAFKAX_COMPAT_BOOTSTRAP"):
        yield given
        return
    with running_broker(tmp_path_factory.mktemp("compat") / "data") as broker:
        yield broker.address


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic name that no other test uses; the test creates the topic."""
    return f"compat-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def kafka_tools() -> Path:
    """Launcher of Apache Kafka's Java tools."""
    launcher = real_kafka()
    if launcher is None:
        pytest.skip("Apache Kafka's tools need java, mvn and a launcher (KAFKAX_REAL_KAFKA)")
    fetched = subprocess.run([str(launcher), "fetch"], capture_output=True, text=True, timeout=600, check=False)
    if fetched.returncode != 0:
        pytest.skip(f"Apache Kafka could not be fetched: {fetched.stderr[-300:]}")
    return launcher
