"""``kafkax configs``: whose configs, or quotas, its short options mean."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from click.testing import CliRunner

from kafkax.cli.admin import configs
from kafkax.cli.admin.common import split_configs
from kafkax.client.admin import ConfigResource, ResourceType


class Admin:
    """An administration client that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def alter_client_quotas(self, entity: dict[str, str | None], changes: dict[str, float | None]) -> None:
        self.asked += [entity, changes]

    def describe_client_quotas(self, entity: dict[str, str | None]) -> dict[Any, dict[str, float]]:
        self.asked.append(entity)
        return {(("user", "u"), ("client-id", None)): {"producer_byte_rate": 5.0}}

    def describe_configs(self, resources: list[ConfigResource]) -> dict[ConfigResource, Future[dict[str, object]]]:
        self.asked += resources
        futures: dict[ConfigResource, Future[dict[str, object]]] = {each: Future() for each in resources}
        for future in futures.values():
            future.set_result({})
        return futures


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    admin = Admin()
    monkeypatch.setattr(configs, "connect", lambda *_: admin)
    return admin


def run(*arguments: str) -> str:
    done = CliRunner().invoke(configs.command, ["--bootstrap-server", "127.0.0.1:1", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("options", "entity"),
    [
        (("--user", "u"), {"user": "u"}),
        (("--user", "u", "--client-defaults"), {"user": "u", "client-id": None}),
        (("--user-defaults", "--client", "c"), {"user": None, "client-id": "c"}),
        (("--ip", "127.0.0.1"), {"ip": "127.0.0.1"}),
        (("--ip-defaults",), {"ip": None}),
    ],
)
def test_quotas_are_set_and_removed(admin: Admin, options: tuple[str, ...], entity: dict[str, str | None]) -> None:
    run("--alter", *options, "--add-config", "producer_byte_rate=5,request_percentage=1.5", "--delete-config", "a, b")
    assert admin.asked == [entity, {"producer_byte_rate": 5.0, "request_percentage": 1.5, "a": None, "b": None}]


def test_quotas_are_described(admin: Admin) -> None:
    printed = [line.split() for line in run("--describe", "--user", "u").splitlines()]
    assert printed == [["ENTITY", "QUOTA", "VALUE"], ["user=u,client-id=<default>", "producer_byte_rate", "5.0"]]


@pytest.mark.parametrize(
    ("options", "resource"),
    [
        (("--broker-logger", "1"), ConfigResource(ResourceType.BROKER_LOGGER, "1")),
        (("--broker-defaults",), ConfigResource(ResourceType.BROKER, "")),
        (("--group", "g"), ConfigResource(ResourceType.GROUP, "g")),
    ],
)
def test_short_forms_name_a_resource(admin: Admin, options: tuple[str, ...], resource: ConfigResource) -> None:
    run("--describe", *options)
    assert admin.asked == [resource]


def test_configs_are_split_at_commas_outside_brackets() -> None:
    assert split_configs("a=1, b=[x,y],c=") == ["a=1", "b=x,y", "c="]
