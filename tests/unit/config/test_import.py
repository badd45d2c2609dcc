"""Configs are loaded by every start, so they bring in nothing heavy."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("asyncio", "dataclasses", "difflib", "inspect", "json", "pathlib", "rich", "click")


def test_nothing_heavy_is_imported() -> None:
    probe = (
        "import sys; before = set(sys.modules)\n"
        "from kafkax.config import BrokerConfig, TopicConfig\n"
        "config = BrokerConfig.load(None, {'listeners': 'PLAINTEXT://127.0.0.1:9092'})\n"
        "TopicConfig({'retention.ms': '5'}, config).describe()\n"
        f"print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
