"""``kafkax configs``: describe and alter configs of topics, brokers, groups and client metrics, and quotas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, connect, fail_on, settle, split_configs
from kafkax.cli.admin.quotas import alter_quotas, describe_quotas
from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.cli.output import show
from kafkax.client.admin import AdminClient, ConfigAlteration, ConfigOperation, ConfigResource, ResourceType

__all__ = ["command"]

_TYPES = {
    "topics": ResourceType.TOPIC,
    "brokers": ResourceType.BROKER,
    "broker-loggers": ResourceType.BROKER_LOGGER,
    "client-metrics": ResourceType.CLIENT_METRICS,
    "groups": ResourceType.GROUP,
}
_DYNAMIC = (
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "CLIENT_METRICS_CONFIG",
    "GROUP_CONFIG",
)
_COLUMNS = ("entity", "name", "value", "source", "read_only", "sensitive")


@click.command("configs")
@bootstrap_server
@command_config
@actions("describe", "alter")
@click.option("--entity-type", type=click.Choice(list(_TYPES)), help="What has the configs.")
@click.option("--entity-name", "names", multiple=True, metavar="NAME", help="Its name; a broker's id. Several times for several.")
@click.option("--entity-default", is_flag=True, help="The default of all brokers.")
@click.option("--topic", metavar="NAME", help="Short for --entity-type topics --entity-name NAME.")
@click.option("--broker", metavar="ID", help="Short for --entity-type brokers --entity-name ID.")
@click.option("--broker-defaults", is_flag=True, help="Short for --entity-type brokers --entity-default.")
@click.option("--broker-logger", metavar="ID", help="Short for --entity-type broker-loggers --entity-name ID.")
@click.option("--user", metavar="NAME", help="The quotas of a user; with --client those of both together.")
@click.option("--user-defaults", is_flag=True, help="The quotas of users that have none of their own.")
@click.option("--client", metavar="ID", help="The quotas of a client id.")
@click.option("--client-defaults", is_flag=True, help="The quotas of client ids that have none of their own.")
@click.option("--ip", metavar="ADDRESS", help="The quotas of an address.")
@click.option("--ip-defaults", is_flag=True, help="The quotas of addresses that have none of their own.")
@click.option("--group", metavar="ID", help="Short for --entity-type groups --entity-name ID.")
@click.option("--client-metrics", metavar="NAME", help="Short for --entity-type client-metrics --entity-name NAME.")
@click.option("--all", "everything", is_flag=True, help="With --describe: defaults and what the files say, too.")
@click.option("--add-config", metavar="K=V,...", help="Configs to set; brackets keep commas: k1=v1,k2=[v2,v3].")
@click.option("--add-config-file", type=click.Path(exists=True, dir_okay=False), help="Properties file with configs to set.")
@click.option("--delete-config", metavar="K,...", help="Configs to take back to their defaults.")
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None, **options: Any) -> None:
    """Describe and alter configs."""
    action = action_of(describe=options["describe"], alter=options["alter"])
    if limited := _limited(options):
        with connect(bootstrap_server, command_config) as admin:
            if action == "alter":
                alter_quotas(admin, limited, options)
            else:
                describe_quotas(admin, limited, form)
        return
    kind, names = _entities(options)
    with connect(bootstrap_server, command_config) as admin:
        if action == "alter":
            _alter(admin, [ConfigResource(kind, name) for name in names], form, options)
        else:
            _describe(admin, kind, names, form, options["everything"])


def _limited(options: dict[str, Any]) -> dict[str, str | None]:
    """Whose quotas are meant, if quotas are."""
    entity: dict[str, str | None] = {}
    for option, kind in (("user", "user"), ("client", "client-id"), ("ip", "ip")):
        if options[option] is not None:
            entity[kind] = options[option]
        elif options[f"{option}_defaults"]:
            entity[kind] = None
    return entity


def _entities(options: dict[str, Any]) -> tuple[ResourceType, list[str]]:
    for option, kind in (
        ("topic", ResourceType.TOPIC),
        ("broker", ResourceType.BROKER),
        ("broker_logger", ResourceType.BROKER_LOGGER),
        ("group", ResourceType.GROUP),
        ("client_metrics", ResourceType.CLIENT_METRICS),
    ):
        if options[option] is not None:
            return kind, [options[option]]
    if options["broker_defaults"]:
        return ResourceType.BROKER, [""]
    if options["entity_type"] is None:
        raise click.UsageError("give --entity-type, or one of the short forms such as --topic, --broker or --user")
    names = list(options["names"]) + ([""] if options["entity_default"] else [])
    if options["alter"] and not names:
        raise click.UsageError("--alter needs --entity-name or --entity-default")
    return _TYPES[options["entity_type"]], names


def _everything(admin: AdminClient, kind: ResourceType) -> list[str]:
    """Names of all entities of a type."""
    if kind is ResourceType.TOPIC:
        return sorted(admin.list_topics().topics)
    if kind in (ResourceType.BROKER, ResourceType.BROKER_LOGGER):
        return [str(node) for node in sorted(admin.list_topics().brokers)]
    if kind is ResourceType.GROUP:
        return [each.group_id for each in admin.list_consumer_groups()]
    raise click.UsageError("--entity-name is needed for client-metrics")


def _describe(admin: AdminClient, kind: ResourceType, names: Sequence[str], form: str | None, everything: bool) -> None:
    resources = [ConfigResource(kind, name) for name in names or _everything(admin, kind)]
    results, errors = settle(admin.describe_configs(resources), lambda resource: resource.name) if resources else ({}, {})
    rows = [
        {
            "entity": resource.name or "default",
            "name": entry.name,
            "value": entry.value,
            "source": entry.source,
            "read_only": entry.is_read_only,
            "sensitive": entry.is_sensitive,
            "synonyms": [f"{source}:{name}={value}" for name, value, source in entry.synonyms],
        }
        for resource, entries in results.items()
        for entry in sorted(entries.values())
        if everything or entry.source in _DYNAMIC
    ]
    show(rows, form, (*_COLUMNS, "synonyms") if form == "json" else _COLUMNS)
    fail_on(errors)


def _alter(admin: AdminClient, resources: Sequence[ConfigResource], form: str | None, options: dict[str, Any]) -> None:
    from kafkax.config import read_properties

    added = pairs("--add-config", split_configs(options["add_config"] or ""))
    if options["add_config_file"]:
        added = {**read_properties(options["add_config_file"]), **added}
    deleted = [name.strip() for name in (options["delete_config"] or "").split(",") if name.strip()]
    changes = [ConfigAlteration(name, ConfigOperation.SET, value) for name, value in added.items()]
    changes += [ConfigAlteration(name, ConfigOperation.DELETE) for name in deleted]
    if not changes:
        raise click.UsageError("--alter needs --add-config, --add-config-file or --delete-config")
    results, errors = settle(admin.incremental_alter_configs(dict.fromkeys(resources, changes)), lambda resource: resource.name)
    if form == "json":
        show([{"entity": each.name, "set": added, "deleted": deleted} for each in results], form, ("entity", "set", "deleted"))
    fail_on(errors)
