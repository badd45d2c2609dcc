"""The command line's frame: lazy commands, one line per error, exit statuses."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import click
import pytest

from kafkax import __version__
from kafkax.cli.main import COMMANDS, cli, run
from kafkax.config import BrokerConfig
from kafkax.errors import ErrorCode, KafkaError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A sub-command ``fail`` that raises what a test puts into the list."""
    to_raise: list[BaseException] = []

    @click.command("fail")
    def command() -> None:
        raise to_raise[0]

    module = types.ModuleType("failing_command")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(cli._modules, "fail", ("failing_command", "Fails."))
    return to_raise


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, "topic a exists"), 1, "kafkax: TOPIC_ALREADY_EXISTS: topic a exists\n"),
        (FileNotFoundError(2, "No such file or directory", "/absent"), 1, "kafkax: /absent: No such file or directory\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.UsageError("no topic"), 2, "Usage: kafkax fail [OPTIONS]\n"),
    ],
)
def test_errors(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    failing.append(error)
    assert run(["fail"]) == status
    assert capsys.readouterr().err.startswith(line)


def test_a_bug_is_not_hidden(failing: list[BaseException]) -> None:
    failing.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(["fail"])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and line in text for name, (_, line) in COMMANDS.items())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"kafkax {__version__}\n"


def test_an_unknown_command_is_refused_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["brokr"]) == 2
    assert "No such command 'brokr'. Did you mean broker?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: kafkax " + name in capsys.readouterr().out


class TestBroker:
    """``kafkax broker`` up to the point where the server takes over."""

    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[BrokerConfig]:
        configs: list[BrokerConfig] = []
        server = types.ModuleType("kafkax.server")
        server.run = configs.append  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "kafkax.server", server)
        return configs

    def test_file_and_overrides_reach_the_server(self, started: list[BrokerConfig], tmp_path: Path) -> None:
        path = tmp_path / "server.properties"
        path.write_text("listeners=PLAINTEXT://127.0.0.1:0\nnum.partitions=3\nnode.id=4")
        assert run(["broker", str(path), "--override", "num.partitions=6", "--override", "log.dirs=/a=b"]) == 0
        config = started[0]
        assert (config["num.partitions"], config.node_id, config.log_dirs) == (6, 4, ("/a=b",))

    def test_what_has_no_effect_is_said_in_one_line(
        self, started: list[BrokerConfig], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["broker", "--override", "listeners=PLAINTEXT://127.0.0.1:0", "--override", "process.roles=broker"]) == 0
        assert capsys.readouterr().err == "kafkax: process.roles=broker has no effect yet (Kafka's default is unset)\n"
        assert len(started) == 1

    @pytest.mark.parametrize(
        ("arguments", "status", "text"),
        [
            (["--override", "log.dirz=/a"], 1, "kafkax: log.dirz: unknown broker config; did you mean log.dir?\n"),
            (["--override", "log.dirs"], 1, "kafkax: --override: 'log.dirs' is refused; key=value is allowed\n"),
            (["--override", "num.partitions=0"], 1, "kafkax: num.partitions: value '0' is refused; allowed: 1 or more\n"),
            (["/absent/server.properties"], 2, "File '/absent/server.properties' does not exist"),
        ],
    )
    def test_bad_settings_do_not_start(
        self, started: list[BrokerConfig], capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, text: str
    ) -> None:
        assert run(["broker", *arguments]) == status
        assert text in capsys.readouterr().err
        assert started == []


def test_a_broker_starts_without_what_only_other_commands_need() -> None:
    probe = (
        "import sys, kafkax.cli.main, kafkax.cli.broker.run; "
        "print([name for name in ('rich', 'kafkax.client', 'asyncio', 'difflib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
