"""``docs/protocol.md`` says what the broker serves."""

from __future__ import annotations

from tests.tidy.protocol_table import DOCUMENT, with_table


def test_the_table_of_apis_is_true() -> None:
    text = DOCUMENT.read_text()
    assert text == with_table(text), "run: python -m tests.tidy.protocol_table"
