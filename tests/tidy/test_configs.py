"""The mark ``unserved`` in the tables of configs is true: what code reads has an effect, and nothing else does."""

from __future__ import annotations

import ast

from kafkax.config import broker_definitions, topic_definitions
from kafkax.net.settings import ReactorSettings
from tests.tidy.sources import name, python

BROKER, TOPIC = broker_definitions(), topic_definitions()


def names_in_code() -> set[str]:
    """Names of configs that stand as a string somewhere outside the tables and their checks."""
    texts = {
        node.value
        for path in python("kafkax")
        if not name(path).startswith("kafkax/config/") or path.name in ("broker.py", "group.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    texts |= {field.replace("_", ".") for field in ReactorSettings.__dataclass_fields__}  # filled from the configs of their names
    return {text for text in texts if text in BROKER or text in TOPIC}


def served() -> set[str]:
    """What code reads, and what gives that its value when it is not set itself."""
    found = names_in_code()
    for given in list(found):
        for row in (TOPIC.get(given), BROKER.get(given)):
            found.update(row.synonyms if row is not None else ())
    for given in list(found):
        found.update(BROKER[given].synonyms if given in BROKER else ())
    return found


def test_what_code_reads_is_marked_as_served() -> None:
    rows = {**BROKER, **TOPIC}
    assert sorted(given for given in served() if not rows[given].served) == []


def test_what_no_code_reads_is_marked_as_unserved() -> None:
    read = served()
    assert sorted(row.name for row in (*BROKER.values(), *TOPIC.values()) if row.served and row.name not in read) == []
