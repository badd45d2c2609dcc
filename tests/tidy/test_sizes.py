"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy.sources import code, cython_functions, files, name, python, python_functions

MOST_LINES = 800
MOST_FUNCTION_LINES = 70
MOST_COLUMNS = 130


def test_files() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in code()}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_lines() -> None:
    """Of what ruff does not look at; tables have one line per config."""
    wide = [
        f"{name(path)}:{number}"
        for path in code()
        if path.suffix not in (".py", ".table")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > MOST_COLUMNS
    ]
    assert wide == []


def test_python_functions() -> None:
    long = [
        f"{name(path)}:{function.line} {function.name}: {function.length} lines"
        for path in python()
        for function in python_functions(path)
        if function.length > MOST_FUNCTION_LINES
    ]
    assert long == []


def test_cython_functions() -> None:
    long = [
        f"{name(path)}:{function.line} {function.name}: {function.length} lines"
        for path in files()
        if path.suffix in (".pyx", ".pxd")
        for function in cython_functions(path)
        if function.length > MOST_FUNCTION_LINES
    ]
    assert long == []


SPREAD = """
cdef int f(int a) noexcept nogil:
    return a

cdef int g(
    int a,
) except -1:
    a += 1
    return a
"""
METHODS = """
cdef class C(B):
    cdef int x
    def f(self):
        pass

        return 1
    cpdef g(self): # why
        pass
"""
DECLARED = """
cdef int declared(int a) noexcept nogil
cdef inline int f():
    return 1
"""


@pytest.mark.parametrize(("text", "expected"), [(SPREAD, [2, 5]), (METHODS, [4, 2]), (DECLARED, [2])])
def test_lengths_of_cython_functions_are_measured(text: str, expected: list[int], tmp_path: Path) -> None:
    path = tmp_path / "module.pyx"
    path.write_text(text)
    assert [function.length for function in cython_functions(path)] == expected
