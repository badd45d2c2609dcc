"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.config import ConfigError


@click.command()
@bootstrap_server
@command_config
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None) -> None:
    """A command with all of them."""
    click.echo(f"{bootstrap_server} {command_config} {form}")


def test_values_reach_the_command(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text("client.id=me\n")
    done = CliRunner().invoke(command, ["--bootstrap-server", "a:1,b:2", "--command-config", str(path), "--format", "json"])
    assert done.output == "a:1,b:2 {'client.id': 'me'} json\n"


def test_only_the_broker_is_required() -> None:
    assert CliRunner().invoke(command, ["--bootstrap-server", "a:1"]).output == "a:1 {} None\n"
    assert CliRunner().invoke(command, []).exit_code == 2


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--command-config", "/absent"]])
def test_bad_values_are_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, ["--bootstrap-server", "a:1", *arguments]).exit_code == 2


def test_pairs() -> None:
    assert pairs("--config", ["a=1", " b =x=y", "a=2"]) == {"a": "2", "b": "x=y"}


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_a_pair_needs_a_key_and_an_equals_sign(text: str) -> None:
    with pytest.raises(ConfigError, match="--config: .* is refused; key=value is allowed"):
        pairs("--config", [text])
