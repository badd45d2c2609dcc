"""``kafkax quotas``: quotas of users, client ids and addresses."""

from __future__ import annotations

from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, connect
from kafkax.cli.admin.configs import split_configs
from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.cli.output import show

__all__ = ["command"]

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
            changes = _changes(options)
            if not entity or not changes:
                raise click.UsageError(
                    "--alter needs --user, --client-id, --ip or --default, and --add-config or --delete-config"
                )
            admin.alter_client_quotas(entity, changes)
            return
        found = admin.describe_client_quotas(entity)
    rows = [
        {"entity": ",".join(f"{kind}={name or '<default>'}" for kind, name in key), "quota": quota, "value": value}
        for key, values in found.items()
        for quota, value in sorted(values.items())
    ]
    show(rows, form, ("entity", "quota", "value"))


def _changes(options: dict[str, Any]) -> dict[str, float | None]:
    changes: dict[str, float | None] = {}
    for key, value in pairs("--add-config", split_configs(options["add_config"] or "")).items():
        try:
            changes[key] = float(value)
        except ValueError:
            raise click.UsageError(f"--add-config {key}={value}: a number is allowed") from None
    return {**changes, **{name.strip(): None for name in (options["delete_config"] or "").split(",") if name.strip()}}
