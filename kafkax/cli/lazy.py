"""Groups of commands whose modules are imported only when they are run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group that knows its commands by module and help line.

    Args:
        commands: command name to module, which has the command as ``command``, and its line in the group's help.
        settings: what :class:`click.Group` takes.
    """

    def __init__(self, *, commands: Mapping[str, tuple[str, str]], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._modules = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order they were declared."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of that name."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = import_module(self._modules[cmd_name][0]).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, with a near miss in the error."""
        name = args[0]
        if name not in self._modules and not name.startswith("-"):
            from kafkax.config.values import nearest

            meant = nearest(name, self._modules)
            known = f"Did you mean {meant}?" if meant else f"There are: {', '.join(self._modules)}."
            ctx.fail(f"No such command {name!r}. {known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._modules.items()])
