"""Groups of commands."""

import difflib
from collections.abc import Sequence
from typing import Any

import click


class Commands(click.Group):
    """A group that answers a typing error with the nearest command, and can list its commands under headings."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sections: list[tuple[str, list[str]]] = []

    def add_section(self, heading: str, commands: Sequence[click.Command]) -> None:
        """Add commands, to be listed in this order under this heading."""
        for command in commands:
            self.add_command(command)
        self._sections.append((heading, [command.name or "" for command in commands]))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them for ``--help``."""
        if not self._sections:
            super().format_commands(ctx, formatter)
            return
        longest = max(len(name) for name in self.commands)
        for heading, names in self._sections:
            limit = formatter.width - longest - 4
            with formatter.section(heading):
                # Padded to one length, so that the columns of all sections stand below each other.
                formatter.write_dl(
                    [(name.ljust(longest), self.commands[name].get_short_help_str(limit)) for name in names]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises:
            click.UsageError: naming the nearest one, if there is none of that name.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            mend = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {name!r}{mend}", ctx)
        return super().resolve_command(ctx, args)
