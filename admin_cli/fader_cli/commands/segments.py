"""Reusable sets of contexts: ``segment list|show|members|create|edit|delete``."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.markup import escape

from fader.model import Constraint
from fader_cli.api import path_of
from fader_cli.commands.rules import Condition
from fader_cli.commands.waiting import conclude
from fader_cli.conditions import format_condition
from fader_cli.errors import usage_error
from fader_cli.groups import Commands
from fader_cli.options import complete_segments, dry_run_option, reason_option, with_session, yes_option
from fader_cli.render import table
from fader_cli.session import Session, plural

_MANY: Final = 1_000
"""Users that a segment may list by id and still show them: as many as the server keeps with it."""
_MOST_EDITED: Final = 20_000
"""Users that the server adds and removes at once; with more, the whole list is sent."""

_name: Final = click.argument("name", metavar="SEGMENT", shell_complete=complete_segments)
_conditions: Final = click.option(
    "--if", "conditions", type=Condition(), multiple=True, metavar="CONDITION", help="Members are all with these …"
)
_keys: Final = click.option("--key", "keys", multiple=True, metavar="ID", help="… and these users, by id.")
_file: Final = click.option(
    "--keys-from",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A file of ids, a line each (- for standard input).",
)


def _path(session: Session, *more: str) -> str:
    return path_of("projects", session.project, "segments", *more)


def _read_keys(keys: tuple[str, ...], file: str | None) -> list[str]:
    found = dict.fromkeys(keys)
    if file is not None:
        try:
            with click.open_file(file, encoding="utf-8") as lines:
                found |= dict.fromkeys(line.strip() for line in lines if line.strip())
        except UnicodeDecodeError:
            raise usage_error(f"{Path(file).name} is not a text file", "ids go a line each, in UTF-8") from None
    return list(found)


def _show(session: Session, segment: dict[str, Any], *, dry_run: bool = False) -> None:
    out = session.out
    out.print(f"[key]{escape(segment['key'])}[/] [quiet]{escape(segment['description'])}[/]")
    for constraint in msgspec.convert(segment["constraints"], tuple[Constraint, ...]):
        out.print(f"  {escape(format_condition(constraint))}")
    keys, count = segment["targeting_keys"], segment["members"]["count"]
    if keys:
        shown = ", ".join(keys[:10]) + (" …" if len(keys) > 10 else "")
        out.print(f"  {plural(count, 'user')} by id: {escape(shown)}")
    elif count:
        out.print(f"  {plural(count, 'user')} by id [quiet](fader segment members {escape(segment['key'])})[/]")
    if not segment["constraints"] and not count:
        out.print("  [quiet]nobody yet[/]")
    used = ", ".join(segment["used_by"]) or "no flag"
    out.print(f"  [quiet]used by {escape(used)}[/]")
    if dry_run:
        out.print("[quiet]nothing is changed yet[/]")


@click.group(cls=Commands)
def segment() -> None:
    """Reusable sets of users."""


@segment.command("list")
@with_session()
def list_segments(session: Session) -> None:
    """All segments."""
    found = session.api.pages(_path(session))

    def show() -> None:
        made = table("SEGMENT", "CONDITIONS", "USERS BY ID", "USED BY", "DESCRIPTION")
        for one in found:
            made.add_row(
                escape(one["key"]),
                str(len(one["constraints"])),
                f"{one['members']['count']:,}",
                escape(", ".join(one["used_by"])),
                escape(one["description"]),
            )
        session.out.print(made if found else "[quiet]no segments[/]")

    session.emit(found, show)


@segment.command("show")
@_name
@with_session()
def show_segment(session: Session, name: str) -> None:
    """Who belongs to a segment, and which flags ask for it."""
    found = session.api.get(_path(session, name))
    session.emit(found, lambda: _show(session, found))


@segment.command()
@_name
@with_session()
def members(session: Session, name: str) -> None:
    """The users of a segment by id, as --keys-from reads them."""
    content, _ = session.api.download(_path(session, name, "members"))
    keys = content.decode().split("\n")[:-1]
    session.emit(keys, lambda: click.echo(content, nl=False))


@segment.command()
@click.argument("name", metavar="SEGMENT")
@_conditions
@_keys
@_file
@click.option("-d", "--description", default="", metavar="TEXT")
@reason_option
@dry_run_option
@with_session(waits=True)
def create(
    session: Session,
    name: str,
    conditions: tuple[Constraint, ...],
    keys: tuple[str, ...],
    file: str | None,
    description: str,
    reason: str,
    dry_run: bool,
) -> None:
    """Make a segment."""
    body = {
        "key": name,
        "description": description,
        "constraints": [msgspec.to_builtins(one) for one in conditions],
        "reason": reason,
    }
    users = _read_keys(keys, file)
    if len(users) <= _MANY or dry_run:
        made = session.api.post(_path(session), body | {"targeting_keys": users}, dry_run=dry_run or None)
    else:
        session.api.post(_path(session), body)
        made = _upload(session, name, users, reason=reason or None)
    conclude(session, made, lambda: _show(session, made, dry_run=dry_run))


@segment.command()
@_name
@_conditions
@_keys
@_file
@click.option("--remove-key", "removed", multiple=True, metavar="ID", help="Users who are members no longer.")
@click.option("--only-these", is_flag=True, help="The users given are all; nobody else is a member by id any longer.")
@click.option("--no-conditions", is_flag=True, help="Take all conditions away.")
@click.option("-d", "--description", metavar="TEXT")
@reason_option
@dry_run_option
@with_session(waits=True)
def edit(
    session: Session,
    name: str,
    conditions: tuple[Constraint, ...],
    keys: tuple[str, ...],
    file: str | None,
    removed: tuple[str, ...],
    only_these: bool,
    no_conditions: bool,
    description: str | None,
    reason: str,
    dry_run: bool,
) -> None:
    """Add and remove users; conditions given replace all that it has."""
    found = session.api.get(_path(session, name))
    users = _read_keys(keys, file)
    if only_these and not users:
        raise usage_error("--only-these needs users", "name them with --key, or in a file with --keys-from")
    body = {
        "description": found["description"] if description is None else description,
        "constraints": [msgspec.to_builtins(one) for one in conditions]
        or ([] if no_conditions else found["constraints"]),
        "reason": reason,
    }
    held = [] if only_these else found["targeting_keys"]
    wanted = [key for key in dict.fromkeys([*held, *users]) if key not in removed]
    is_long = bool(found["members"]["count"]) and not found["targeting_keys"]
    if len(wanted) <= _MANY and (only_these or not is_long):
        # All in one change, as long as that is little to send.
        kept = {"targeting_keys": wanted, "members": None}
        changed = session.api.put(_path(session, name), body | kept, dry_run=dry_run or None)
    else:
        changed = found
        if any(body[field] != found[field] for field in ("description", "constraints")):
            kept = {"targeting_keys": found["targeting_keys"], "members": found["members"]}
            changed = session.api.put(_path(session, name), body | kept, dry_run=dry_run or None)
        if users or removed:
            query = {"reason": reason or None, "dry_run": dry_run or None}
            changed = _change_members(session, name, users, removed, only_these=only_these, **query)
    conclude(session, changed, lambda: _show(session, changed, dry_run=dry_run))


def _change_members(
    session: Session, name: str, users: list[str], removed: tuple[str, ...], *, only_these: bool, **query: Any
) -> dict[str, Any]:
    """Add to a long list and take out of it; all of it is only read where much is to be added."""
    path = _path(session, name, "members")
    gone = set(removed)
    if not only_these and len(users) + len(removed) <= _MOST_EDITED:
        body = {
            "add": [key for key in users if key not in gone],
            "remove": list(removed),
            "reason": query["reason"] or "",
        }
        edited: dict[str, Any] = session.api.post(path, body, dry_run=query["dry_run"])
        return edited
    tag = None
    if not only_these:
        content, tag = session.api.download(path)
        users = list(dict.fromkeys([*content.decode().split("\n")[:-1], *users]))
    return _upload(session, name, [key for key in users if key not in gone], if_match=tag, **query)


def _upload(session: Session, name: str, users: list[str], **how: Any) -> dict[str, Any]:
    uploaded: dict[str, Any] = session.api.upload(_path(session, name, "members"), "\n".join(users).encode(), **how)
    return uploaded


@segment.command()
@_name
@reason_option
@yes_option
@with_session(waits=True)
def delete(session: Session, name: str, reason: str, yes: bool) -> None:
    """Remove a segment that no flag asks for."""
    session.confirm(f"Delete the segment {name}?", yes=yes)
    session.api.delete(_path(session, name), reason=reason or None)
    conclude(session, {"deleted": name}, lambda: session.out.print(f"segment [key]{escape(name)}[/] is deleted"))


COMMANDS: Final = (segment,)
