"""The same requests about groups to Apache Kafka and to this broker get the same answers, bad requests above all.

Names that a broker makes up and the words of its error messages are its own; everything else is compared.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compat.brokers import free_port
from tests.compat.group_stories import STORIES, Teller, tell


@pytest.fixture(scope="module")
def apache_kafka(kafka_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running Apache Kafka 4.3.1."""
    folder, port = tmp_path_factory.mktemp("apache-kafka"), free_port()
    try:
        subprocess.run([kafka_tools, "kraft", folder, str(port)], check=True, timeout=120, capture_output=True)
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([kafka_tools, "stop", folder], check=False, timeout=60, capture_output=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_answers_are_those_of_apache_kafka(story: Callable[[Teller], None], apache_kafka: str, bootstrap: str) -> None:
    expected = tell(story, apache_kafka)
    answered = tell(story, bootstrap)
    assert answered == expected
