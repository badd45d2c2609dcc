"""Fixtures of the compatibility tests: one kafkax broker for the session, started the way users start it."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.ports import free_port
from tests.compat.brokers import launch, real_kafka, running_broker


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the broker under test; ``KAFKAX_COMPAT_BOOTSTRAP`` names another one, to try the tests themselves on."""
    if given := os.environ.get("KAFKAX_COMPAT_BOOTSTRAP"):
        yield given
        return
    # retention by the second: a test whose records are too old to be kept fails at once, not when five minutes end in its midst
    often = {"log.retention.check.interval.ms": "1000"}
    with running_broker(tmp_path_factory.mktemp("compat") / "data", overrides=often) as broker:
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


@pytest.fixture(scope="session")
def apache_kafka(kafka_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running Apache Kafka 4.3.1."""
    folder, port = tmp_path_factory.mktemp("apache-kafka"), free_port(1)
    with started(kafka_tools, "kraft", folder, port):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def apache_kafka_3(kafka_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running Apache Kafka 3.9.2 with its ZooKeeper."""
    keeper, folder = tmp_path_factory.mktemp("zookeeper"), tmp_path_factory.mktemp("apache-kafka-3")
    keeper_port, port = free_port(), free_port()
    alone = ("offsets.topic.replication.factor", "transaction.state.log.replication.factor", "transaction.state.log.min.isr")
    with (
        started(kafka_tools, "zookeeper", keeper, keeper_port),
        started(kafka_tools, "zkbroker", folder, port, 1, f"127.0.0.1:{keeper_port}", *(f"{key}=1" for key in alone)),
    ):
        yield f"127.0.0.1:{port}"


@contextmanager
def started(launcher: Path, kind: str, folder: Path, port: int, *more: object) -> Iterator[None]:
    """Something that the launcher starts in ``folder``, for the length of a ``with`` block."""
    try:
        launch(launcher, kind, folder, port, *more)
        yield
    finally:
        subprocess.run([launcher, "stop", folder], check=False, timeout=60, capture_output=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the client run against kafkax, those marked ``apache`` also against Apache Kafka 4.3.1; all of them against the
    brokers that ``KAFKAX_CLIENT_BROKERS`` names."""
    if "client_broker" in metafunc.fixturenames:
        names = os.environ.get("KAFKAX_CLIENT_BROKERS", "kafkax").split(",")
        if metafunc.definition.get_closest_marker("apache") and "kafka-4.3.1" not in names:
            names.append("kafka-4.3.1")
        metafunc.parametrize("client_broker", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def client_broker(request: pytest.FixtureRequest) -> str:
    """Address of one of the brokers that the client is tested with."""
    fixtures = {"kafkax": "bootstrap", "kafka-4.3.1": "apache_kafka", "kafka-3.9.2": "apache_kafka_3"}
    address: str = request.getfixturevalue(fixtures[request.param])
    return address
