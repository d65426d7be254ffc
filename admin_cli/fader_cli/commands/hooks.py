"""URLs at which an alert switches a flag off: ``hook list|create|delete``."""

from typing import Any, Final

import click
from rich.markup import escape

from fader_cli.api import path_of
from fader_cli.groups import Commands
from fader_cli.options import complete_flags, with_session, yes_option
from fader_cli.render import ago, table
from fader_cli.session import Session

_flag: Final = click.argument("flag", metavar="FLAG", shell_complete=complete_flags)


def _place(session: Session, flag: str, *further: str) -> str:
    return path_of(
        "projects", session.project, "flags", flag, "environments", session.environment, "hooks", *further
    )  # fmt: skip


@click.group(cls=Commands)
def hook() -> None:
    """URLs at which an alert switches a flag off."""


@hook.command("list")
@_flag
@with_session(environment=True)
def list_hooks(session: Session, flag: str) -> None:
    """All hooks of a flag in an environment. Their URLs are not kept, so they cannot be shown."""
    found = session.api.pages(_place(session, flag))

    def show() -> None:
        made = table("ID", "NAME", "CREATED BY", "CREATED", "LAST USED")
        for one in found:
            made.add_row(
                one["id"],
                escape(one["name"]),
                escape(one["created_by"]),
                ago(one["created_at"]),
                ago(one["last_used_at"]),
            )
        session.out.print(made)

    session.emit(found, show)


@hook.command("create")
@_flag
@click.option("--name", default="alert", show_default=True, help="Who history says has switched the flag off.")
@with_session(environment=True)
def create_hook(session: Session, flag: str, name: str) -> None:
    """Make a URL for Alertmanager, Grafana, PagerDuty or a script.

    What is sent there switches the flag off in this environment, unless it says that an alert is resolved. The URL can
    do nothing else, and needs no token: whoever has it may use it.
    """
    made: dict[str, Any] = session.api.post(_place(session, flag), {"name": name})
    made["url"] = session.api.url + made["path"]

    def show() -> None:
        session.notes.print(
            f"hook [key]{escape(made['name'])}[/] switches [key]{escape(flag)}[/] off in {session.environment}."
            " [hint]Copy its URL now: it is not shown again.[/]"
        )
        session.out.print(made["url"], markup=False, soft_wrap=True)

    session.emit(made, show)


@hook.command("delete")
@_flag
@click.argument("hook_id", metavar="ID")
@yes_option
@with_session(environment=True)
def delete_hook(session: Session, flag: str, hook_id: str, yes: bool) -> None:
    """End a hook: its URL does nothing from then on."""
    session.confirm(f"Delete the hook {hook_id} of {flag} in {session.environment}?", yes=yes)
    session.api.delete(_place(session, flag, hook_id))
    session.emit({"deleted": hook_id}, lambda: session.out.print(f"hook [key]{escape(hook_id)}[/] is deleted"))


COMMANDS: Final = (hook,)
