"""Where tests find Apache Kafka's message definitions, recorded frames and log directories.

They are not part of the repository: ``KAFKAX_REFERENCE`` names the folder, otherwise ``../shared/reference`` beside the
repository is looked at.  Tests that need it are skipped, with the reason, where it is absent.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(os.environ.get("KAFKAX_REFERENCE") or Path(__file__).resolve().parents[2] / "shared" / "reference")

needs_reference = pytest.mark.skipif(
    not _FOLDER.is_dir(), reason=f"no reference folder at {_FOLDER}; KAFKAX_REFERENCE may name one"
)


def reference(*parts: str) -> Path:
    """A path below the reference folder; skips the test when the folder, or what is asked for, is absent."""
    path = _FOLDER.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent; KAFKAX_REFERENCE may name a reference folder")
    return path


def definition(path: Path) -> dict[str, Any]:
    """A Kafka message definition: JSON with lines of ``//`` comments."""
    text = "\n".join(re.sub(r"^\s*//.*", "", line) for line in path.read_text().splitlines())
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def definitions(*parts: str) -> dict[str, dict[str, Any]]:
    """All definitions of a folder by name."""
    return {path.stem: definition(path) for path in sorted(reference(*parts).glob("*.json"))}


def frames(name: str) -> list[dict[str, Any]]:
    """Recorded exchanges: ``key``, ``version``, ``request`` and ``response`` (whole frames without length, in hex)."""
    return [json.loads(line) for line in reference("frames", name).read_text().splitlines()]
