"""What the linters do not know: markers, swallowed errors, machine paths, documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.sources import CORE, ROOT, code, files, name, python

MARKERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|NotImplemented" r"Error)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:wo" r"rk|ro" r"ot|home/\w+)/|/\.py" r"env/|\.\./sha" r"red/(?!reference)")
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/design.md",
    "docs/durability.md",
    "docs/operations.md",
    "docs/protocol.md",
)
DECLARATIONS = ("kafkax/protocol/messages/", "kafkax/protocol/coordinator_records/")
"""Messages are declared there under the names that Kafka's protocol gives them; the module says what they are for."""


def lines_that_match(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{name(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def texts() -> list[Path]:
    return [*code(), *(path for path in files() if path.suffix in (".md", ".txt", ".in"))]


def test_nothing_is_left_for_later() -> None:
    assert lines_that_match(MARKERS, code()) == []


def test_no_paths_of_one_machine() -> None:
    assert lines_that_match(MACHINE_PATHS, texts()) == []


def test_no_error_is_swallowed() -> None:
    found = [
        f"{name(path)}:{node.lineno}"
        for path in python("kafkax")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or all(isinstance(step, ast.Pass) for step in node.body))
    ]
    assert found == []


def test_no_error_is_swallowed_in_the_core() -> None:
    swallowed = re.compile(r"^\s*except\b[^\n]*:\s*(?:#[^\n]*)?\n\s*pass\b|^\s*except\s*:", re.MULTILINE)
    assert [name(path) for path in files() if path.parent == CORE and swallowed.search(path.read_text())] == []


def test_documents_are_there() -> None:
    assert [path for path in DOCUMENTS if not (ROOT / path).is_file()] == []


def test_every_python_file_postpones_annotations() -> None:
    sources = {name(path): path.read_text() for path in python("kafkax", "tests")}
    postponed = "from __future__ import annotations"
    assert [path for path, text in sources.items() if "\nimport " in f"\n{text}" and postponed not in text] == []


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public modules, classes, functions and methods without a docstring."""

    def visit(node: Documented, path: str) -> Iterator[str]:
        if ast.get_docstring(node) is None and not _says_enough(node):
            yield path
        for child in node.body if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ():
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith("_"):
                yield from visit(child, f"{path}.{child.name}")

    yield from visit(tree, "")


def _says_enough(node: Documented) -> bool:
    """Setters and overloads are documented by what they belong to."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())]
    return any(text.endswith((".setter", ".deleter")) or text in ("overload", "override") for text in decorators)


def test_everything_public_is_documented() -> None:
    missing = [
        f"{name(path)}: {place or 'module'}"
        for path in python("kafkax")
        if path.read_text().strip() and not (name(path).startswith(DECLARATIONS) and path.name != "__init__.py")
        for place in undocumented(ast.parse(path.read_text()))
    ]
    assert missing == []


EXAMPLE = """
'Module.'
class A:
    'A.'
    def f(self): ...
    def _g(self): ...
class B: ...
def f():
    'F.'
"""


def test_what_is_undocumented_is_found() -> None:
    assert list(undocumented(ast.parse(EXAMPLE))) == [".A.f", ".B"]
