"""``kafkax configs``: describe and alter configs of topics, brokers, groups and client metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, connect, fail_on, settle
from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.cli.output import show
from kafkax.client.admin import AdminClient, ConfigAlteration, ConfigOperation, ConfigResource, ResourceType

__all__ = ["command", "split_configs"]

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


def split_configs(text: str) -> list[str]:
    """Split ``k1=v1,k2=[v2,v3]`` at the commas outside brackets, and drop the brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [_bare(part.strip()) for part in parts if part.strip()]


def _bare(pair: str) -> str:
    key, equals, value = pair.partition("=")
    return f"{key}={value[1:-1]}" if equals and value.startswith("[") and value.endswith("]") else pair


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
    kind, names = _entities(options)
    with connect(bootstrap_server, command_config) as admin:
        if action == "alter":
            _alter(admin, [ConfigResource(kind, name) for name in names], form, options)
        else:
            _describe(admin, kind, names, form, options["everything"])


def _entities(options: dict[str, Any]) -> tuple[ResourceType, list[str]]:
    for option, kind in (
        ("topic", ResourceType.TOPIC),
        ("broker", ResourceType.BROKER),
        ("group", ResourceType.GROUP),
        ("client_metrics", ResourceType.CLIENT_METRICS),
    ):
        if options[option] is not None:
            return kind, [options[option]]
    if options["broker_defaults"]:
        return ResourceType.BROKER, [""]
    if options["entity_type"] is None:
        raise click.UsageError("give --entity-type, or --topic, --broker, --broker-defaults, --group or --client-metrics")
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
