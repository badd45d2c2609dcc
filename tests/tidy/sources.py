"""The repository's own files, for tests that look at them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "kafkax" / "_core"
CODE_SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".sh", ".table", ".toml"}
_SKIPPED_FOLDERS = {".git", ".venv", "build", "data", "dist", "__pycache__"}


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, part of the repository."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = [ROOT / name for name in listed.stdout.splitlines()]
    else:
        found = [path for path in ROOT.rglob("*") if not _SKIPPED_FOLDERS & set(path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in set(found) if path.is_file()))


def code() -> list[Path]:
    """Files that people write code in."""
    return [path for path in files() if path.suffix in CODE_SUFFIXES or path.parent.name in ("ci", ".ci")]


def python(*folders: str) -> list[Path]:
    """Python files below the folders, or all."""
    roots = [ROOT / folder for folder in folders] or [ROOT]
    return [path for path in files() if path.suffix == ".py" and any(root in path.parents for root in roots)]


def name(path: Path) -> str:
    """The path as people write it."""
    return str(path.relative_to(ROOT))


class Function(NamedTuple):
    """A function of a source file and how many lines it has, from its first line to its last."""

    name: str
    line: int
    length: int


def python_functions(path: Path) -> Iterator[Function]:
    """Functions of a Python file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            yield Function(node.name, node.lineno, node.end_lineno - node.lineno + 1)


_CYTHON_FUNCTION = re.compile(r"^(?P<indent>[ ]*)(?:async )?(?:def|cdef|cpdef) (?!class )[^=]*?(?P<name>\w+)\(")


def cython_functions(path: Path) -> Iterator[Function]:
    """Functions of a Cython file, by their indentation."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        match = _CYTHON_FUNCTION.match(line)
        if match is None:
            continue
        header_end, header = number, line
        while header.count("(") > header.count(")") and header_end + 1 < len(lines):
            header_end += 1
            header += lines[header_end]
        if not re.search(r":\s*(#.*)?$", header):
            continue  # a declaration, or a body in the same line
        last = header_end
        for following in range(header_end + 1, len(lines)):
            text = lines[following]
            if text.strip() and len(text) - len(text.lstrip()) <= len(match["indent"]):
                break
            if text.strip():
                last = following
        yield Function(match["name"], number + 1, last - number + 1)
