"""Rows as text, JSON and tables; progress only where somebody sees it."""

from __future__ import annotations

import io
import json
import sys

import pytest

from kafkax.cli.output import progress, show, show_object

ROWS = [
    {"topic": "a", "partitions": 3, "internal": False, "replicas": [1, 2]},
    {"topic": "long-name", "partitions": 12, "internal": True, "replicas": None},
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_text_is_aligned_and_the_default_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, None)
    assert capsys.readouterr().out == (
        "TOPIC      PARTITIONS  INTERNAL  REPLICAS\n"
        "a          3           false     1,2\n"
        "long-name  12          true      -\n"
    )


def test_columns_choose_and_order(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, "text", ["partitions", "topic"])
    assert capsys.readouterr().out.splitlines()[1] == "3           a"


def test_json_keeps_types(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, "json")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_a_table_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    show([{"name": "[bold]x", "count": 1}], None)
    text = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "[bold]x" in text
    assert "─" in text


@pytest.mark.parametrize(("form", "expected"), [("json", "[]\n"), ("text", "")])
def test_no_rows(form: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([], form)
    assert capsys.readouterr().out == expected


def test_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    show_object({"id": 1, "name": None}, "text")
    assert capsys.readouterr().out == "id    1\nname  -\n"
    show_object({"id": 1}, "json")
    assert json.loads(capsys.readouterr().out) == {"id": 1}


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("unit", ["", "bytes"])
def test_progress_goes_to_stderr_at_a_terminal(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress("reading", 10, unit) as advance:
        advance(10)
    assert "reading" in sys.stderr.getvalue()  # type: ignore[attr-defined]
