"""Groups of commands."""

import difflib

import click


class Commands(click.Group):
    """A group that answers a typing error with the nearest command."""

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
            mend = f"did you mean {near[0]}?" if near else f"see `{ctx.command_path} --help`"
            raise click.UsageError(f"there is no command {name!r}; {mend}", ctx)
        return super().resolve_command(ctx, args)
