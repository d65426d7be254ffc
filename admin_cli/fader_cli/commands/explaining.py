"""``explain``: which rule, which bucket, why."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec
from rich.markup import escape
from rich.tree import Tree

from fader.model import TARGETING_KEY, Constraint
from fader_cli.api import path_of
from fader_cli.conditions import format_condition
from fader_cli.errors import usage_error
from fader_cli.options import flag_argument, with_session
from fader_cli.percentages import format_percentage
from fader_cli.session import Session

_YES, _NO, _SKIPPED = "[on]✓[/]", "[off]✗[/]", "[quiet]·[/]"
_REASONS: Final = {
    "STATIC": "it is on, and has no rules",
    "TARGETING_MATCH": "a rule lets this user in",
    "SPLIT": "a rule lets this user in, by percentage or weight",
    "DISABLED": "it is switched off",
    "PREREQUISITE_FAILED": "another flag is not as it has to be",
    "DEFAULT": "no rule lets this user in",
}


@click.command()
@flag_argument
@click.option("-u", "--user", metavar="ID", help="The targeting key.")
@click.option(
    "-a",
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Such as country=DE; numbers, true, false and lists as JSON.",
)
@with_session(environment=True)
def explain(session: Session, flag: str, user: str | None, attributes: tuple[str, ...]) -> None:
    """Why a flag is on or off for somebody.

    Tells of each rule, each condition, and the bucket.
    """
    context = _context(user, attributes)
    path = path_of("projects", session.project, "flags", flag, "environments", session.environment, "explain")
    answer = session.api.post(path, {"context": context})
    session.emit(answer, lambda: _show(session, answer, user))


def _context(user: str | None, attributes: tuple[str, ...]) -> dict[str, Any]:
    context: dict[str, Any] = {} if user is None else {TARGETING_KEY: user}
    for text in attributes:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise usage_error(f"{text!r} is not an attribute", "write it like -a country=DE")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        # 3.10 is a version and not the number 3.1: a number is only what is written as JSON would write it.
        context[name] = read if not isinstance(read, int | float) or json.dumps(read) == value else value
    return context


def _show(session: Session, answer: Mapping[str, Any], user: str | None) -> None:
    state = "[on]ON[/]" if answer["enabled"] else "[off]OFF[/]"
    who = escape(user) if user is not None else "somebody without an id"
    why = _REASONS.get(answer["reason"], answer["reason"])
    tree = Tree(
        f"[key]{escape(answer['flag'])}[/] is {state} for {who} in {escape(session.environment)}: {why}",
        guide_style="quiet",
    )
    for one in answer["prerequisites"]:
        actual = one["actual"] if one["actual"] is not None else "not there"
        tree.add(f"{_mark(one['held'])} needs {escape(one['flag'])} {escape(one['wanted'])}: it is {escape(actual)}")
    for position, rule in enumerate(answer["rules"], start=1):
        _add_rule(tree, position, rule)
    served = f"variant [key]{escape(answer['variant'])}[/] = {escape(json.dumps(answer['value'], ensure_ascii=False))}"
    tree.add(f"serves {served} [quiet](revision {answer['revision']})[/]")
    session.out.print(tree)


def _mark(held: bool) -> str:
    return _YES if held else _NO


def _add_rule(tree: Tree, position: int, rule: Mapping[str, Any]) -> None:
    name = escape(rule["description"] or rule["id"])
    if not rule["evaluated"]:
        tree.add(f"{_SKIPPED} [quiet]rule {position} ({name}): not reached[/]")
        return
    branch = tree.add(f"{_mark(rule['matched'])} rule {position} ({name}): {escape(rule['why'])}")
    for one in rule["constraints"]:
        constraint = msgspec.convert(
            {name: one[name] for name in ("attribute", "operator", "values", "inverted", "case_insensitive")},
            Constraint,
        )
        actual = "missing" if one["actual"] is None else one["actual"]
        branch.add(f"{_mark(one['held'])} {escape(format_condition(constraint))} [quiet]· it is {escape(actual)}[/]")
    for one in rule["segments"]:
        branch.add(f"{_mark(one['held'])} in segment {escape(one['segment'])} [quiet]· {escape(one['why'])}[/]")
    if rule["rollout"] is not None:
        _add_rollout(branch, rule["rollout"])
    if rule["split"] is not None:
        split = rule["split"]
        place = "drawn at random" if split["place"] is None else f"place {split['place']} of {split['of']}"
        branch.add(f"{_YES} {place} → {escape(str(split['variant']))}")


def _add_rollout(branch: Tree, rollout: Mapping[str, Any]) -> None:
    share = format_percentage(rollout["percentage"])
    if rollout["percentage"] == 100:
        return
    if rollout["bucket"] is None:
        branch.add(f"{_mark(rollout['admitted'])} rollout {share} [quiet]· nothing to hash: drawn at random[/]")
        return
    at = rollout["bucket"] / 1000
    width = 40
    place = min(int(at / 100 * width), width - 1)
    filled = round(rollout["percentage"] / 100 * width)
    line = "".join("●" if cell == place else ("━" if cell < filled else "─") for cell in range(width))
    branch.add(
        f"{_mark(rollout['admitted'])} rollout {share} [quiet]· {escape(rollout['id'])} is at {at:.3f} %[/]\n"
        f"  [{'on' if rollout['admitted'] else 'off'}]{line}[/]"
    )


COMMANDS: Final = (explain,)
