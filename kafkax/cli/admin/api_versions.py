"""``kafkax api-versions``: which APIs each broker serves, in which versions."""

from __future__ import annotations

from typing import Any

import click

from kafkax.cli.admin.common import connect
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show
from kafkax.protocol.api import API_KEYS

__all__ = ["command"]


@click.command("api-versions")
@bootstrap_server
@command_config
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None) -> None:
    """Show which APIs each broker serves, and the version that both sides would use."""
    with connect(bootstrap_server, command_config) as admin:
        served = admin.api_versions()
    rows: list[dict[str, Any]] = []
    for broker, versions in served.items():
        for key, (oldest, newest) in sorted(versions.items()):
            api = API_KEYS.get(key)
            usable = None if api is None else min(api.max_version, newest)
            rows.append(
                {
                    "broker": str(broker),
                    "key": key,
                    "api": api.name if api is not None else f"unknown({key})",
                    "min_version": oldest,
                    "max_version": newest,
                    "usable": usable
                    if api is not None and usable is not None and usable >= max(api.min_version, oldest)
                    else None,
                }
            )
    show(rows, form, ("broker", "key", "api", "min_version", "max_version", "usable"))
