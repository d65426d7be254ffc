"""The values that a flag can take: ``variant list|add|remove|off``."""

import json
from typing import Any, Final

import click
from rich.markup import escape

from fader_cli.api import path_of
from fader_cli.commands.waiting import conclude
from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode
from fader_cli.groups import Commands
from fader_cli.options import dry_run_option, flag_argument, reason_option, with_session
from fader_cli.render import table
from fader_cli.session import Session


def parse_variant(text: str, value_type: str) -> dict[str, Any]:
    """Read ``NAME=VALUE``: text as it is for string flags, JSON for all others.

    Raises:
        CliError: saying how to write it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise usage_error(f"{text!r} is not a variant", "write it like --variant red='#f00'")
    return {"name": name, "value": parse_value(value, value_type)}


def parse_value(text: str, value_type: str) -> Any:
    """A value of a flag of this type.

    Raises:
        CliError: if it is none.
    """
    if value_type == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        example = "3.5" if value_type == "number" else '{"limit": 5}'
        raise usage_error(f"{text!r} is not JSON, as values of {value_type} flags are", f"such as {example}") from None


def _path(session: Session, flag: str) -> str:
    return path_of("projects", session.project, "flags", flag)


def _change(session: Session, flag: str, body: dict[str, Any], *, dry_run: bool) -> None:
    changed = session.api.patch(_path(session, flag), body, dry_run=dry_run or None)

    def show() -> None:
        _show(session, changed)
        if dry_run:
            session.out.print("[quiet]nothing is changed yet[/]")

    conclude(session, changed, show)


def _show(session: Session, flag: dict[str, Any]) -> None:
    if not flag["variants"]:
        session.out.print("[quiet]a boolean flag: on = true, off = false[/]")
        return
    made = table("VARIANT", "VALUE", "")
    for variant in flag["variants"]:
        is_off = variant["name"] == flag["off_variant"]
        value = json.dumps(variant.get("value"), ensure_ascii=False)
        made.add_row(escape(variant["name"]), escape(value), "[off]off variant[/]" if is_off else "")
    session.out.print(made)


@click.group(cls=Commands)
def variant() -> None:
    """The values that a flag can take."""


@variant.command("list")
@flag_argument
@with_session()
def list_variants(session: Session, flag: str) -> None:
    """All variants of a flag."""
    found = session.api.get(_path(session, flag))
    session.emit(found["variants"], lambda: _show(session, found))


@variant.command("set")
@flag_argument
@click.argument("name")
@click.argument("value")
@reason_option
@dry_run_option
@with_session(waits=True)
def set_variant(session: Session, flag: str, name: str, value: str, reason: str, dry_run: bool) -> None:
    """Give a variant another value, or add it."""
    found = session.api.get(_path(session, flag))
    new = {"name": name, "value": parse_value(value, found["type"])}
    variants = [new if one["name"] == name else one for one in found["variants"]]
    if new not in variants:
        variants.append(new)
    _change(session, flag, {"variants": variants, "reason": reason}, dry_run=dry_run)


@variant.command("remove")
@flag_argument
@click.argument("name")
@reason_option
@dry_run_option
@with_session(waits=True)
def remove_variant(session: Session, flag: str, name: str, reason: str, dry_run: bool) -> None:
    """Remove a variant that no rule serves."""
    found = session.api.get(_path(session, flag))
    variants = [one for one in found["variants"] if one["name"] != name]
    if len(variants) == len(found["variants"]):
        have = ", ".join(one["name"] for one in found["variants"]) or "none"
        raise CliError(f"{flag} has no variant {name!r}", f"it has: {have}", ExitCode.NOT_FOUND)
    _change(session, flag, {"variants": variants, "reason": reason}, dry_run=dry_run)


@variant.command("off")
@flag_argument
@click.argument("name")
@reason_option
@dry_run_option
@with_session(waits=True)
def set_off_variant(session: Session, flag: str, name: str, reason: str, dry_run: bool) -> None:
    """Say which variant is served while the flag is off."""
    _change(session, flag, {"off_variant": name, "reason": reason}, dry_run=dry_run)


COMMANDS: Final = (variant,)
