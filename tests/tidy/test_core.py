"""The core keeps its own layers, and every module of it says what it offers to Cython and to Python."""

from __future__ import annotations

import re

import pytest

from tests.tidy.sources import CORE, ROOT, files, name

_CIMPORT = re.compile(
    r"^\s*(?:from kafkax\._core\.(\w+) cimport|from kafkax\._core cimport (\w+)"
    r"|cimport kafkax\._core\.(\w+)|from \.(\w+) cimport)",
    re.MULTILINE,
)
LAYERS = [
    line.split()
    for line in (ROOT / "tests" / "tidy" / "core_layers.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
RANK = {module: len(LAYERS) - index for index, layer in enumerate(LAYERS) for module in layer}
SOURCES = [path for path in files() if path.parent == CORE and path.suffix in (".pyx", ".pxd")]


def cimports(text: str) -> set[str]:
    return {next(filter(None, groups)) for groups in _CIMPORT.findall(text)}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_cimports_only_lower_ones(path) -> None:  # type: ignore[no-untyped-def]
    assert path.stem in RANK, f"{path.stem} has no line in tests/tidy/core_layers.txt"
    wrong = {other for other in cimports(path.read_text()) - {path.stem} if RANK.get(other, 99) >= RANK[path.stem]}
    assert wrong == set()


def test_no_module_stands_in_two_layers() -> None:
    assert len(RANK) == sum(len(layer) for layer in LAYERS)


def test_every_form_of_cimport_is_seen() -> None:
    text = (
        "from kafkax._core.a cimport f\nfrom kafkax._core cimport b\ncimport kafkax._core.c as c\n"
        "    from .d cimport g\nfrom libc.stdint cimport int64_t\n"
    )
    assert cimports(text) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("suffix", [".pxd", ".pyi"])
def test_every_module_has_its_declarations(suffix: str) -> None:
    missing = [name(path) for path in SOURCES if path.suffix == ".pyx" and not path.with_suffix(suffix).exists()]
    assert missing == []


def test_no_includes_and_no_compile_time_conditions() -> None:
    old = re.compile(r"^\s*(?:include\s+[\"']|DEF\s+\w+\s*=|IF\s+.+:$)", re.MULTILINE)
    assert [name(path) for path in SOURCES if old.search(path.read_text())] == []
