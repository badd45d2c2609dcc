"""Plans of offsets in CSV files, as ``kafkax groups --reset-offsets`` exports and takes them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kafkax.cli.admin import groups


class Admin:
    """An administration client for two groups that have committed in a topic of two partitions."""

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list_consumer_groups(self, **filters: object) -> list[object]:
        self.asked = filters
        return []


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    admin = Admin()
    monkeypatch.setattr(groups, "connect", lambda *_: admin)
    plan = {"a": {("t", 0): 5, ("t,u", 1): 7}, "b": {("t", 0): 1}}
    monkeypatch.setattr(groups, "_targets", lambda _, group, how, options, planned: planned or plan[group])
    return admin


def run(*arguments: str) -> str:
    done = CliRunner().invoke(groups.command, ["--bootstrap-server", "127.0.0.1:1", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_exported_for_one_group_is_taken_again(admin: Admin, tmp_path: Path) -> None:
    printed = run("--reset-offsets", "--group", "a", "--to-latest", "--export")
    assert printed == 't,0,5\n"t,u",1,7\n'
    (tmp_path / "plan").write_text(printed)
    assert run("--reset-offsets", "--group", "b", "--from-file", str(tmp_path / "plan"), "--export") == printed


def test_with_several_groups_each_line_names_its_own(admin: Admin, tmp_path: Path) -> None:
    both = ("--reset-offsets", "--group", "a", "--group", "b", "--export")
    printed = run(*both, "--to-latest")
    assert printed == 'a,t,0,5\na,"t,u",1,7\nb,t,0,1\n'
    (tmp_path / "plan").write_text(printed + "c,t,0,9\n")
    assert run(*both, "--from-file", str(tmp_path / "plan")) == printed


@pytest.mark.parametrize("line", ["t,0", "t,x,1", "t,0,-1", "a,b,c,d,e"])
def test_lines_that_are_no_plan_are_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(f"t,0,1\n{line}\n")
    with pytest.raises(click.UsageError, match="line 2"):
        groups._planned(str(tmp_path / "plan"), ["a"])


def test_groups_are_listed_by_state_and_type(admin: Admin) -> None:
    run("--list", "--state", "Stable, Empty", "--type", "consumer", "--timeout", "1500")
    assert admin.asked == {"states": ["Stable", "Empty"], "types": ["consumer"], "request_timeout": 1.5}
    run("--list", "--state")
    assert admin.asked == {"states": [], "types": [], "request_timeout": 30.0}
