"""A start that takes long says how far it has come."""

from __future__ import annotations

import logging
import threading

import pytest

from kafkax.broker import load_progress
from kafkax.broker.load_progress import describe, showing
from kafkax.storage.loading import LoadProgress


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_progress, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(load_progress, "LOG_SECONDS", 0.01)
    monkeypatch.setattr(load_progress, "BAR_SECONDS", 0.01)


def test_one_line_says_how_far() -> None:
    assert describe(LoadProgress(10, 3)) == "loading logs: 3 of 10 are open"


def test_the_log_is_told_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = LoadProgress(2)
    with showing(progress, terminal=False):
        for done in range(1, 3):
            while f"{done - 1} of 2" not in caplog.text:
                threading.Event().wait(0.005)
            progress.logs_done = done
    assert "2 of 2 are open, after" in caplog.text


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = ""
    with showing(LoadProgress(2, 1), terminal=True):
        for _ in range(1000):
            shown += capsys.readouterr().err
            if "50%" in shown:
                break
            threading.Event().wait(0.01)
    assert "logs" in shown
    assert "50%" in shown


def test_a_load_that_is_over_at_once_says_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(load_progress, "PATIENCE_SECONDS", 60)
    with showing(LoadProgress()):
        pass
    assert caplog.text == ""
