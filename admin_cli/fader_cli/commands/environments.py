"""Where flags are switched: ``env list|create|delete``."""

from typing import Final

import click
from rich.markup import escape

from fader_cli.api import path_of
from fader_cli.groups import Commands
from fader_cli.options import complete_environments, reason_option, with_session, yes_option
from fader_cli.render import ago, in_order, table
from fader_cli.session import Session


@click.group(cls=Commands)
def env() -> None:
    """The environments of a project."""


def _path(session: Session, *more: str) -> str:
    return path_of("projects", session.project, "environments", *more)


@env.command("list")
@with_session()
def list_environments(session: Session) -> None:
    """All environments, and the revision that each has reached."""
    found = session.api.pages(_path(session))

    def show() -> None:
        made = table("ENVIRONMENT", "REVISION", "SINCE")
        by_name = {one["key"]: one for one in found}
        for one in map(by_name.__getitem__, in_order(by_name)):
            made.add_row(f"[key]{escape(one['key'])}[/]", f"{one['revision']:,}", f"[quiet]{ago(one['created_at'])}[/]")
        session.out.print(made)

    session.emit(found, show)


@env.command()
@click.argument("name")
@reason_option
@with_session()
def create(session: Session, name: str, reason: str) -> None:
    """Make an environment. All flags are off in it."""
    made = session.api.post(_path(session), {"key": name, "reason": reason})
    session.emit(
        made, lambda: session.out.print(f"environment [key]{escape(name)}[/] is made; all flags are off in it")
    )


@env.command()
@click.argument("name", shell_complete=complete_environments)
@reason_option
@yes_option
@with_session()
def delete(session: Session, name: str, reason: str, yes: bool) -> None:
    """Remove an environment with all that was set in it. Its SDKs keep the flags that they have."""
    session.confirm(f"Delete the environment {name}, with all rules in it?", yes=yes)
    session.api.delete(_path(session, name), reason=reason or None)
    session.emit({"deleted": name}, lambda: session.out.print(f"environment [key]{escape(name)}[/] is deleted"))


COMMANDS: Final = (env,)
