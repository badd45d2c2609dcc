"""``kafkax quotas``: quotas of users, client ids and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, connect, split_configs
from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.cli.output import show
from kafkax.client.admin import AdminClient

__all__ = ["Entity", "alter_quotas", "command", "describe_quotas"]

Entity = Mapping[str, "str | None"]
"""Names by kind; None is the default of all of the kind."""

_ENTITIES = {"users": "user", "clients": "client-id", "ips": "ip"}


@click.command("quotas")
@bootstrap_server
@command_config
@actions("describe", "alter")
@click.option("--user", metavar="NAME", help="A user.")
@click.option("--client-id", metavar="ID", help="A client id.")
@click.option("--ip", metavar="ADDRESS", help="An address.")
@click.option("--default", "defaults", multiple=True, type=click.Choice(list(_ENTITIES)), help="The default of all of a kind.")
@click.option("--add-config", metavar="K=V,...", help="Quotas to set, like producer_byte_rate=1048576.")
@click.option("--delete-config", metavar="K,...", help="Quotas to remove.")
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None, **options: Any) -> None:
    """Describe and alter quotas."""
    action = action_of(describe=options["describe"], alter=options["alter"])
    entity: dict[str, str | None] = {_ENTITIES[kind]: None for kind in options["defaults"]}
    for option, kind in (("user", "user"), ("client_id", "client-id"), ("ip", "ip")):
        if options[option] is not None:
            entity[kind] = options[option]
    with connect(bootstrap_server, command_config) as admin:
        if action == "alter":
            if not entity:
                raise click.UsageError("--alter needs --user, --client-id, --ip or --default")
            alter_quotas(admin, entity, options)
        else:
            describe_quotas(admin, entity, form)


def alter_quotas(admin: AdminClient, entity: Entity, options: Mapping[str, Any]) -> None:
    """Set and remove what --add-config and --delete-config name."""
    changes = _changes(options)
    if not changes:
        raise click.UsageError("--alter needs --add-config or --delete-config")
    admin.alter_client_quotas(entity, changes)


def describe_quotas(admin: AdminClient, entity: Entity, form: str | None) -> None:
    """Show the quotas of an entity."""
    found = admin.describe_client_quotas(entity)
    rows = [
        {"entity": ",".join(f"{kind}={name or '<default>'}" for kind, name in key), "quota": quota, "value": value}
        for key, values in found.items()
        for quota, value in sorted(values.items())
    ]
    show(rows, form, ("entity", "quota", "value"))


def _changes(options: Mapping[str, Any]) -> dict[str, float | None]:
    changes: dict[str, float | None] = {}
    for key, value in pairs("--add-config", split_configs(options["add_config"] or "")).items():
        try:
            changes[key] = float(value)
        except ValueError:
            raise click.UsageError(f"--add-config {key}={value}: a number is allowed") from None
    return {**changes, **{name.strip(): None for name in (options["delete_config"] or "").split(",") if name.strip()}}
