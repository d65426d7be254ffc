"""Whom a flag lets in: ``rule list|add|edit|remove``."""

from typing import Any, Final

import click
import msgspec

from fader.model import Constraint, Rule, Split, WeightedVariant
from fader_cli.api import path_of
from fader_cli.commands.switching import apply
from fader_cli.conditions import ConditionError, parse_condition
from fader_cli.documents import read_object
from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode
from fader_cli.groups import Commands
from fader_cli.options import (
    PERCENTAGE,
    complete_segments,
    dry_run_option,
    flag_argument,
    force_option,
    reason_option,
    with_session,
)
from fader_cli.render import show_rules
from fader_cli.sentences import rules_of
from fader_cli.session import Session


class Condition(click.ParamType[Constraint]):
    """A parameter such as ``country in DE, AT``."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Constraint:
        """Read it."""
        try:
            return value if isinstance(value, Constraint) else parse_condition(value)
        except ConditionError as error:
            self.fail(str(error), param, ctx)


class Shares(click.ParamType[tuple[WeightedVariant, ...]]):
    """A parameter such as ``red=50,blue=50``."""

    name = "split"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[WeightedVariant, ...]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        shares = []
        for part in value.split(","):
            name, _, weight = part.strip().partition("=")
            if not name or not weight.isdecimal():
                self.fail(f"{part.strip()!r} is not NAME=WEIGHT: write it like red=50,blue=50", param, ctx)
            shares.append(WeightedVariant(variant=name, weight=int(weight)))
        return tuple(shares)


def _rule_options(command: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--if",
                "conditions",
                type=Condition(),
                multiple=True,
                metavar="CONDITION",
                help="Such as 'country in DE, AT' or 'not plan is free'; all given must hold.",
            ),
            click.option(
                "--segment",
                "segments",
                multiple=True,
                metavar="NAME",
                shell_complete=complete_segments,
                help="Members only; all given.",
            ),
            click.option("--rollout", type=PERCENTAGE, metavar="PERCENT", help="The share that is let in."),
            click.option("--by", metavar="ATTRIBUTE", help="What is hashed: default, random, or an attribute."),
            click.option("--salt", metavar="TEXT", help="Same salt, same users."),
            click.option("--serve", metavar="VARIANT", help="The variant that it serves."),
            click.option("--split", type=Shares(), metavar="NAME=WEIGHT,…", help="Several variants, by weight."),
            click.option("-d", "--description", metavar="TEXT", help="What it is for."),
            click.option(
                "--from-json",
                type=click.Path(exists=True, dir_okay=False, allow_dash=True),
                metavar="FILE",
                help="The rule as a document instead (- for standard input).",
            ),
        )
    ):
        command = option(command)
    return command


def _rule(base: Rule, given: dict[str, Any]) -> dict[str, Any]:
    """A rule with what the options say about it, as the admin API takes it."""
    if given["from_json"] is not None:
        if any(_is_said(value) for name, value in given.items() if name != "from_json"):
            raise usage_error("--from-json is the whole rule", "leave the other options out, or put them into the file")
        return read_object(given["from_json"], "a rule")
    changes: dict[str, Any] = {}
    if given["conditions"] or given.get("no_conditions"):
        changes["constraints"] = given["conditions"]
    if given["segments"] or given.get("no_segments"):
        changes["segments"] = given["segments"]
    if given["description"] is not None:
        changes["description"] = given["description"]
    rollout = {"percentage": given["rollout"], "by": given["by"], "salt": given["salt"]}
    said = {name: value for name, value in rollout.items() if value is not None}
    if said:
        changes["rollout"] = msgspec.structs.replace(base.rollout, **said)
    if given["serve"] is not None and given["split"] is not None:
        raise usage_error("--serve and --split cannot go together", "a rule serves one variant or shares out several")
    if given["serve"] is not None:
        changes |= {"variant": given["serve"], "split": None}
    if given["split"] is not None:
        changes |= {"variant": None, "split": Split(variants=given["split"])}
    document: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(base, **changes))
    return document


def _is_said(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _path(session: Session, flag: str, *more: str) -> str:
    return path_of("projects", session.project, "flags", flag, "environments", session.environment, "rules", *more)


def _existing(session: Session, flag: str) -> tuple[Rule, ...]:
    found = session.api.get(path_of("projects", session.project, "flags", flag))
    environments = found["environments"]
    session.require_environment(environments)
    return rules_of(environments[session.environment])


@click.group(cls=Commands)
def rule() -> None:
    """Whom a flag lets in, and which variant they get."""


@rule.command("list")
@flag_argument
@with_session(environment=True)
def list_rules(session: Session, flag: str) -> None:
    """The rules in their order, with their ids."""
    rules = _existing(session, flag)
    session.emit([msgspec.to_builtins(one) for one in rules], lambda: show_rules(session, rules))


@rule.command()
@flag_argument
@_rule_options
@click.option("--position", type=click.IntRange(min=1), metavar="N", help="Make it the N-th rule; 1 is asked first.")
@reason_option
@dry_run_option
@force_option
@with_session(environment=True, waits=True)
def add(
    session: Session, flag: str, position: int | None, reason: str, dry_run: bool, force: bool, **given: Any
) -> None:
    """Add a rule, last unless --position says otherwise."""
    body = _rule(Rule(), given) | {"reason": reason}
    if position is not None:
        body["position"] = position - 1
    path = _path(session, flag)
    how = {"dry_run": dry_run or None, "force": force or None}
    apply(session, flag, lambda: session.api.post(path, body, **how), dry_run=dry_run)


@rule.command()
@flag_argument
@click.argument("rule_id", metavar="RULE")
@_rule_options
@click.option("--no-conditions", is_flag=True, help="Take all conditions away.")
@click.option("--no-segments", is_flag=True, help="Take all segments away.")
@reason_option
@dry_run_option
@force_option
@with_session(environment=True, waits=True)
def edit(session: Session, flag: str, rule_id: str, reason: str, dry_run: bool, force: bool, **given: Any) -> None:
    """Change what the options name; the rest of the rule stays. Conditions given replace all that it has."""
    if not any(map(_is_said, given.values())):
        raise usage_error("what is to be changed?", "see `fader rule edit --help`")
    rules = _existing(session, flag)
    found = next((one for one in rules if one.id == rule_id), None)
    if found is None:
        have = ", ".join(one.id for one in rules) or "none"
        raise CliError(f"{flag} has no rule {rule_id!r} here", f"there are: {have}", ExitCode.NOT_FOUND)
    body = _rule(found, given) | {"reason": reason}
    path = _path(session, flag, rule_id)
    how = {"dry_run": dry_run or None, "force": force or None}
    apply(session, flag, lambda: session.api.put(path, body, **how), dry_run=dry_run)


@rule.command()
@flag_argument
@click.argument("rule_id", metavar="RULE")
@reason_option
@dry_run_option
@force_option
@with_session(environment=True, waits=True)
def remove(session: Session, flag: str, rule_id: str, reason: str, dry_run: bool, force: bool) -> None:
    """Remove a rule. A flag that is on and has no rules left is on for everybody, so mind the last one."""
    path = _path(session, flag, rule_id)
    how = {"reason": reason or None, "dry_run": dry_run or None, "force": force or None}
    apply(session, flag, lambda: session.api.delete(path, **how), dry_run=dry_run)


COMMANDS: Final = (rule,)
