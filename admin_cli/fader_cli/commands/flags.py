"""Flags as such: ``create``, ``edit``, ``archive``, ``unarchive``, ``delete``."""

from typing import Any, Final

import click

from fader_cli.api import path_of
from fader_cli.commands.variants import parse_variant
from fader_cli.commands.waiting import conclude
from fader_cli.errors import usage_error
from fader_cli.options import dry_run_option, flag_argument, reason_option, with_session, yes_option
from fader_cli.render import in_order, show_differences
from fader_cli.session import Session

_KINDS: Final = ("release", "ops", "experiment", "permission")
_TYPES: Final = ("boolean", "string", "number", "object")


def flag_path(session: Session, flag: str, *more: str) -> str:
    """Where a flag is."""
    return path_of("projects", session.project, "flags", flag, *more)


@click.command()
@click.argument("flag", metavar="FLAG")
@click.option("-d", "--description", default="", metavar="TEXT", help="What it switches.")
@click.option("--owner", default="", metavar="WHO", help="Whom to ask.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="May be given several times.")
@click.option("--kind", type=click.Choice(_KINDS), default="release", show_default=True)
@click.option("--type", "value_type", type=click.Choice(_TYPES), default="boolean", show_default=True)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value that it can take; may be given several times. Not for boolean flags.",
)
@click.option("--off-variant", metavar="NAME", help="The variant that is served while the flag is off.")
@reason_option
@dry_run_option
@with_session(waits=True)
def create(
    session: Session,
    flag: str,
    description: str,
    owner: str,
    tags: tuple[str, ...],
    kind: str,
    value_type: str,
    variants: tuple[str, ...],
    off_variant: str | None,
    reason: str,
    dry_run: bool,
) -> None:
    """Make a flag. It is off everywhere, until somebody turns it on."""
    body: dict[str, Any] = {
        "key": flag,
        "description": description,
        "owner": owner,
        "tags": tags,
        "kind": kind,
        "type": value_type,
        "variants": [parse_variant(text, value_type) for text in variants],
        "reason": reason,
    }
    if off_variant is not None:
        body["off_variant"] = off_variant
    made = session.api.post(path_of("projects", session.project, "flags"), body, dry_run=dry_run or None)

    def show() -> None:
        verb = "would be made" if dry_run else "is made"
        where = ", ".join(in_order(made["environments"]))
        session.out.print(f"[key]{flag}[/] {verb}; it is [off]OFF[/] in {where}")

    conclude(session, made, show)


@click.command()
@flag_argument
@click.option("-d", "--description", metavar="TEXT")
@click.option("--owner", metavar="WHO")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Instead of all tags that it has.")
@click.option("--kind", type=click.Choice(_KINDS))
@reason_option
@dry_run_option
@with_session(waits=True)
def edit(
    session: Session,
    flag: str,
    description: str | None,
    owner: str | None,
    tags: tuple[str, ...],
    kind: str | None,
    reason: str,
    dry_run: bool,
) -> None:
    """Describe a flag anew."""
    given = {"description": description, "owner": owner, "tags": tags or None, "kind": kind}
    body = {name: value for name, value in given.items() if value is not None} | {"reason": reason}
    if len(body) == 1:
        raise usage_error("what is to be changed?", "name it: --description, --owner, --tag or --kind")
    before = session.api.get(flag_path(session, flag))
    changed = session.api.patch(flag_path(session, flag), body, dry_run=dry_run or None)

    def show() -> None:
        session.out.print(f"[key]{flag}[/] {'would be' if dry_run else 'is'} changed")
        show_differences(session, *({**one, "environments": None} for one in (before, changed)))

    conclude(session, changed, show)


def _last_use(session: Session, flag: str) -> str:
    usage = session.api.get(flag_path(session, flag, "usage"), hours=24)
    count = sum(item["count"] for item in usage["items"])
    return f" It was evaluated {count:,} times in the last 24 hours." if count else ""


@click.command()
@flag_argument
@reason_option
@dry_run_option
@yes_option
@with_session(waits=True)
def archive(session: Session, flag: str, reason: str, dry_run: bool, yes: bool) -> None:
    """Take a flag out of use.

    Applications get their own default from then on. It can be brought back.
    """
    if not dry_run:
        session.confirm(f"Archive {flag} in all environments?{_last_use(session, flag)}", yes=yes)
    changed = session.api.post(flag_path(session, flag, "archive"), {"reason": reason}, dry_run=dry_run or None)
    conclude(session, changed, lambda: session.out.print(f"[key]{flag}[/] {'would be' if dry_run else 'is'} archived"))


@click.command()
@flag_argument
@reason_option
@dry_run_option
@with_session(waits=True)
def unarchive(session: Session, flag: str, reason: str, dry_run: bool) -> None:
    """Bring an archived flag back, as it was."""
    changed = session.api.post(flag_path(session, flag, "unarchive"), {"reason": reason}, dry_run=dry_run or None)
    conclude(session, changed, lambda: session.out.print(f"[key]{flag}[/] {'would be' if dry_run else 'is'} back"))


@click.command()
@flag_argument
@reason_option
@yes_option
@with_session(waits=True)
def delete(session: Session, flag: str, reason: str, yes: bool) -> None:
    """Remove an archived flag for good. Its history stays."""
    session.confirm(f"Delete {flag} for good?", yes=yes)
    session.api.delete(flag_path(session, flag), reason=reason or None)
    conclude(session, {"deleted": flag}, lambda: session.out.print(f"[key]{flag}[/] is deleted"))


COMMANDS: Final = (create, edit, archive, unarchive, delete)
