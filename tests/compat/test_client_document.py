"""The snippets of ``docs/client.md``, run one after the other as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.compat.brokers import REPOSITORY


def test_snippets_run(bootstrap: str, topic: str) -> None:
    pytest.importorskip("pyarrow")
    snippets = re.findall(r"```py\n(.*?)```", (REPOSITORY / "docs" / "client.md").read_text(), re.DOTALL)
    assert len(snippets) == 5
    program = "\n".join([f"bootstrap = {bootstrap!r}", f"topic = {topic!r}", *snippets])
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "value 9" in run.stdout
    assert run.stderr == ""
