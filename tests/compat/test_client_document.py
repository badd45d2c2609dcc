"""The snippets of ``docs/client.md``, run one after the other as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.compat.brokers import REPOSITORY

TRANSACTIONS = """
import kafkax

with kafkax.Consumer({"bootstrap.servers": bootstrap, "group.id": f"copy-{topic}", "auto.offset.reset": "earliest"}) as consumer:
    consumer.subscribe([topic])
    with kafkax.Producer({"bootstrap.servers": bootstrap, "transactional.id": f"copy-{topic}"}) as producer:
        copy_all(consumer, producer, f"{topic}-copy")
    print("committed", sum(max(each.offset, 0) for each in consumer.committed(consumer.assignment())))
"""
"""What a reader does with the function that the page defines; where the broker has transactions."""


@pytest.mark.apache
def test_snippets_run(client_broker: str, topic: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("pyarrow")
    snippets = re.findall(r"```py\n(.*?)```", (REPOSITORY / "docs" / "client.md").read_text(), re.DOTALL)
    assert len(snippets) == 6
    transactions = request.node.callspec.params["client_broker"] != "kafkax"
    program = "\n".join([f"bootstrap = {client_broker!r}", f"topic = {topic!r}", *snippets, TRANSACTIONS if transactions else ""])
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "value 9" in run.stdout
    assert not transactions or "committed 11" in run.stdout
    assert run.stderr == ""
