"""File systems of a test's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, kind: str, options: str, *features: str) -> Iterator[Path]:
    """A file system of a kind, mounted with options on a new folder; ext4 in a file beside it, made with features.

    The test is skipped where that is not possible.
    """
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    image = folder.with_name(f"{folder.name}.image")
    folder.mkdir()
    commands = [["mount", "-t", kind, "-o", options, str(image), str(folder)]]
    if kind == "ext4":
        image.touch()
        os.truncate(image, 64 << 20)
        commands.insert(0, ["mkfs.ext4", "-q", *features, str(image)])
    for command in commands:
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no {kind} with {options} here: {done.stderr!r}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
