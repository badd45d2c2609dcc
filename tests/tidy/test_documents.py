"""The documents say what the code does: their snippets run, their links lead somewhere, their tables are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT, files, name

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
_SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def snippets() -> list[tuple[str, str]]:
    return [
        (f"{name(path)}-{number}", code)
        for path in DOCUMENTS
        for number, code in enumerate(_SNIPPET.findall(path.read_text()), 1)
    ]


@pytest.mark.parametrize("code", [pytest.param(code, id=where) for where, code in snippets()])
def test_python_snippets_run(code: str, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(code)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_commands_are_real() -> None:
    """Scripts of the repository that shell snippets call exist, and so do the commands of ``kafkax``."""
    from kafkax.cli.main import COMMANDS

    shell = "\n".join(code for path in DOCUMENTS for code in _SHELL.findall(path.read_text()))
    scripts = set(re.findall(r"^(ci/\w+)", shell, re.MULTILINE))
    commands = set(re.findall(r"kafkax (\w[\w-]*)", shell))
    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []
    assert commands - COMMANDS.keys() == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_to_files(path: Path) -> None:
    broken = [target for target in _LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert broken == []


def test_configs_that_documents_name_exist() -> None:
    from kafkax.client.configs import config_names
    from kafkax.config import broker_definitions, topic_definitions

    known = {*broker_definitions(), *topic_definitions(), *config_names()}
    prefixes = ("log.", "listener", "advertised.", "group.", "offsets.", "num.", "socket.", "sasl.", "ssl.", "zookeeper.")
    for path in DOCUMENTS:
        named = re.findall(r"`([a-z]+(?:\.[a-z]+)+)(?:=[^`]*)?`", path.read_text())
        wrong = {word for word in named if word.startswith(prefixes) and word not in known}
        assert wrong == set(), name(path)
