"""What confluent-kafka has and kafkax lacks is what docs/client.md says is left out: nothing more, and nothing less.

The installed package is walked: public methods of its classes, the names of their arguments, its config keys, and the names that
its modules export.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import kafkax
from kafkax import aio
from kafkax.client.configs import config_names

confluent = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
confluent_admin = pytest.importorskip("confluent_kafka.admin")
confluent_aio = pytest.importorskip("confluent_kafka.aio")

ROOT = Path(__file__).resolve().parents[2]
PAIRS: dict[str, tuple[Any, Any]] = {
    "Producer": (confluent.Producer, kafkax.Producer),
    "Consumer": (confluent.Consumer, kafkax.Consumer),
    "AdminClient": (confluent_admin.AdminClient, kafkax.AdminClient),
    "Message": (confluent.Message, kafkax.Message),
    "TopicPartition": (confluent.TopicPartition, kafkax.TopicPartition),
    "aio.Producer": (confluent_aio.AIOProducer, aio.Producer),
    "aio.Consumer": (confluent_aio.AIOConsumer, aio.Consumer),
}


def left_out() -> list[str]:
    """The first column of the table under the heading "Left out" of docs/client.md."""
    text = (ROOT / "docs/client.md").read_text().partition("\n## Left out\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def stub_arguments(owner: Any, name: str) -> set[str] | None:
    """Arguments of a method of the core, which has no signature to look at, as its stub tells them."""
    for base in owner.__mro__:
        stub = ROOT / (base.__module__.replace(".", "/") + ".pyi")
        if not stub.exists():
            continue
        for node in ast.walk(ast.parse(stub.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    return None


def our_arguments(owner: Any, name: str) -> set[str]:
    found = stub_arguments(owner, name)
    if found is None:
        found = set(inspect.signature(getattr(owner, name)).parameters)
    return found - {"self"}


def their_arguments(owner: Any, name: str) -> set[str]:
    """Arguments that a method documents: those of C code by its first line, others by their ``:param``."""
    method = getattr(owner, name)
    text = method.__doc__ or ""
    line = re.search(r"py:function::? *\w+\((.*?)\)(?=\n|$)", text)
    if line:
        return {re.match(r"\W*(\w+)", part).group(1) for part in line.group(1).split(",") if re.search(r"\w", part)}  # type: ignore[union-attr]
    found = set(re.findall(r":param [\w\[\]().|, ]*?(\w+) *:", text))
    try:
        given = inspect.signature(method).parameters.values()
    except (TypeError, ValueError, AttributeError):
        return found
    return found | {each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD} - {"self"}


def public(owner: Any) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def methods() -> Iterator[tuple[str, bool]]:
    """Every method, and every argument of it, of confluent-kafka's classes, and whether kafkax has it."""
    for name, (theirs, ours) in PAIRS.items():
        for method in sorted(public(theirs)):
            # The aio admin client passes on what the other one has.
            there = hasattr(ours, method)
            yield f"{name}.{method}", there
            if there and callable(getattr(ours, method)) and "aio" not in name and name != "TopicPartition":
                known = our_arguments(ours, method)
                for argument in sorted(their_arguments(theirs, method)):
                    yield f"{name}.{method}({argument})", argument in known


def exports() -> Iterator[tuple[str, bool]]:
    """Names for users of the package and its admin module."""
    from kafkax.client import admin, types

    typing_names = {"Any", "Dict", "List", "Optional", "Set", "Tuple", "Union", "concurrent", "os", "string_type", "warnings"}
    for name in sorted(public(confluent) - typing_names):
        yield f"confluent_kafka.{name}", hasattr(kafkax, name) or hasattr(types, name)
    for name in sorted(public(confluent_admin) - typing_names - public(confluent)):
        yield f"confluent_kafka.admin.{name}", hasattr(admin, name) or hasattr(kafkax, name)


def their_configs() -> set[str]:
    """Config keys that librdkafka knows, found among the texts in the package's libraries by asking it about each."""
    package = Path(confluent.__file__).parent
    texts: set[str] = set()
    for library in (*package.glob("*.so"), *package.parent.glob("confluent_kafka.libs/librdkafka*")):
        texts |= {each.decode() for each in re.findall(rb"(?<=\0)[a-z]+(?:[._][a-z0-9]+)+(?=\0)", library.read_bytes())}
    return {text for text in texts if "." in text and known_to_confluent(text)}


def known_to_confluent(key: str) -> bool:
    quiet = {"log_level": 0, "bootstrap.servers": "127.0.0.1:1", "group.id": "g", "logger": SILENT}
    try:
        # No config may be this, so that nothing is made where one is known.
        confluent.Consumer({**quiet, key: "\1"}).close()
    except confluent.KafkaException as error:
        return "No such configuration property" not in error.args[0].str()
    except (TypeError, ValueError, AttributeError):
        return True
    return True


class _Silent:
    def log(self, *arguments: Any) -> None:
        """Says nothing."""


SILENT = _Silent()


def report(found: Iterator[tuple[str, bool]], prefix: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """What is lacking and not said to be, and what is said to be left out and is there, or is nowhere."""
    names = dict(found)
    said = [name for name in left_out() if name.startswith(prefix)]
    lacking = [name for name, there in names.items() if not there and not any(fnmatch(name, each) for each in said)]
    stale = [each for each in said if not any(fnmatch(name, each) and not there for name, there in names.items())]
    return lacking, stale


def test_methods_and_their_arguments() -> None:
    assert report(methods(), tuple(f"{name}." for name in PAIRS)) == ([], [])


def test_exported_names() -> None:
    assert report(exports(), ("confluent_kafka.",)) == ([], [])


def test_config_keys() -> None:
    ours = config_names()
    theirs = their_configs()
    # The list was read at all.
    assert {"bootstrap.servers", "group.id", "statistics.interval.ms"} <= theirs | {"bootstrap.servers"}
    found = ((f"config {name}", name in ours) for name in sorted(theirs))
    assert report(found, ("config ",)) == ([], [])
