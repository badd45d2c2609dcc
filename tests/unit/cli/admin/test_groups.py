"""``kafkax groups``: plans of offsets in CSV files, filters of lists, and the columns of descriptions."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from kafkax.cli.admin import groups
from kafkax.client.admin.types import GroupDescription, MemberDescription
from kafkax.client.types import TopicPartition


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


MEMBER = MemberDescription("m1", "i1", "c", "/h", [("t", 1), ("t", 0), ("u", 2)], 3, [("t", 0)])
CONSUMER = GroupDescription("new", "Stable", "Consumer", "consumer", "uniform", 1, [MEMBER], 5, 4)
CLASSIC = GroupDescription("old", "Empty", "Classic", "consumer", "range", 1, [MemberDescription("m2", None, "d", "/g", [])])


class Described(Admin):
    """Two groups with a member each; the consumer group has committed in one of its three partitions."""

    def describe_consumer_groups(self, names: list[str], **_: object) -> dict[str, Future[GroupDescription]]:
        found: dict[str, Future[GroupDescription]] = {}
        for each in (CONSUMER, CLASSIC):
            if each.group_id in names:
                found[each.group_id] = Future()
                found[each.group_id].set_result(each)
        return found

    def list_topics(self) -> object:
        return SimpleNamespace(brokers={1: SimpleNamespace(host="h", port=5)})

    def list_consumer_group_offsets(self, group: str) -> list[TopicPartition]:
        return [TopicPartition("t", 0, 7, leader_epoch=2)] if group == "new" else []

    def list_offsets(self, wanted: dict[tuple[str, int], object]) -> dict[tuple[str, int], Future[object]]:
        ends: dict[tuple[str, int], Future[object]] = {key: Future() for key in wanted}
        for future in ends.values():
            future.set_result(SimpleNamespace(offset=9))
        return ends


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        (
            ("--group", "new"),
            ["GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID", "new t 0 7 9 2 m1 /h c"],
        ),
        (
            ("--group", "new", "--verbose"),
            [
                "GROUP TOPIC PARTITION LEADER-EPOCH CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID",
                "new t 0 2 7 9 2 m1 /h c",
                "new t 1 - - 9 - m1 /h c",
            ],
        ),
        (("--group", "old", "--members"), ["GROUP CONSUMER-ID HOST CLIENT-ID #PARTITIONS", "old m2 /g d 0"]),
        (
            ("--group", "new", "--members", "--verbose"),
            [
                "GROUP CONSUMER-ID GROUP-INSTANCE-ID HOST CLIENT-ID #PARTITIONS CURRENT-EPOCH CURRENT-ASSIGNMENT TARGET-EPOCH "
                "TARGET-ASSIGNMENT",
                "new m1 i1 /h c 3 3 t:0,1;u:2 4 t:0",
            ],
        ),
        (
            ("--group", "old", "--state"),
            ["GROUP COORDINATOR (ID) ASSIGNMENT-STRATEGY STATE #MEMBERS", "old h:5 (1) range Empty 1"],
        ),
        (
            ("--group", "new", "--group", "old", "--state", "--verbose"),
            [
                "GROUP COORDINATOR (ID) ASSIGNMENT-STRATEGY STATE GROUP-EPOCH TARGET-ASSIGNMENT-EPOCH #MEMBERS",
                "new h:5 (1) uniform Stable 5 4 1",
                "old h:5 (1) range Empty - - 1",
            ],
        ),
    ],
)
def test_groups_are_described_in_the_columns_of_kafkas_tool(
    how: tuple[str, ...], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "connect", lambda *_: Described())
    printed = [" ".join(line.split()) for line in run("--describe", *how).splitlines()]
    assert printed[: len(lines)] == lines


@pytest.mark.parametrize(("regex", "valid"), [("a.*", True), ("(", False), ("a(?=b)", False)])
def test_an_expression_is_looked_at_without_a_broker(regex: str, valid: bool) -> None:
    done = CliRunner().invoke(groups.command, ["--validate-regex", regex])
    assert (done.exit_code == 0) is valid
    assert done.output.startswith(f"The regular expression `{regex}` is {'valid' if valid else 'invalid'}")
