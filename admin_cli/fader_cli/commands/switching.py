"""The verbs that on-call uses: ``on``, ``off``, ``rollout``, ``undo``."""

from collections.abc import Callable
from typing import Any, Final

import click

from fader_cli.api import path_of
from fader_cli.commands.waiting import conclude
from fader_cli.options import PERCENTAGE, dry_run_option, flag_argument, force_option, reason_option, with_session
from fader_cli.render import show_switched
from fader_cli.session import Session


def apply(session: Session, flag: str, send: Callable[[], Any], *, dry_run: bool, tells_rules: bool = True) -> None:
    """Change a flag in an environment, or try it, and show what became of it.

    Args:
        session: What to work with.
        flag: The flag's key.
        send: Makes the request; its answer is that of all writes to a flag in an environment.
        dry_run: Whether the request only tries.
        tells_rules: Whether the rules are of interest afterwards.
    """
    before = None
    if dry_run and not session.as_json:
        known = session.api.get(path_of("projects", session.project, "flags", flag))["environments"]
        before = known.get(session.environment, {})
    answer = send()
    conclude(
        session,
        answer,
        lambda: show_switched(session, answer, before=before, tells_rules=tells_rules),
        revisions={answer["environment"]: answer["revision"]},
    )


def _switch(
    session: Session, flag: str, verb: str, body: dict[str, Any], *, dry_run: bool, force: bool = False
) -> None:
    path = path_of("projects", session.project, "flags", flag, "environments", session.environment, verb)
    apply(
        session,
        flag,
        lambda: session.api.post(path, body, dry_run=dry_run or None, force=force or None),
        dry_run=dry_run,
        tells_rules=verb != "off",
    )


@click.command()
@flag_argument
@click.option("--at", "percentage", type=PERCENTAGE, metavar="PERCENT", help="Let only this share in, from the start.")
@reason_option
@dry_run_option
@force_option
@with_session(environment=True, waits=True)
def on(session: Session, flag: str, percentage: float | None, reason: str, dry_run: bool, force: bool) -> None:
    """Switch a flag on, for everyone whom its rules let in."""
    body: dict[str, Any] = {"reason": reason}
    if percentage is not None:
        body["percentage"] = percentage
    _switch(session, flag, "on", body, dry_run=dry_run, force=force)


@click.command()
@flag_argument
@reason_option
@dry_run_option
@with_session(environment=True, waits=True)
def off(session: Session, flag: str, reason: str, dry_run: bool) -> None:
    """Switch a flag off, for everyone, at once. Wins over every rule, and ends a ramp that it is in."""
    _switch(session, flag, "off", {"reason": reason}, dry_run=dry_run)


@click.command()
@flag_argument
@click.argument("percentage", type=PERCENTAGE, metavar="PERCENT")
@click.option("--by", metavar="ATTRIBUTE", help="What is hashed: default (the user id), random, or an attribute.")
@click.option("--salt", metavar="TEXT", help="Flags with the same salt are rolled out to the same users.")
@click.option("--rule", metavar="ID", help="The rule to change; else the last one that is for everybody.")
@reason_option
@dry_run_option
@force_option
@with_session(environment=True, waits=True)
def rollout(
    session: Session,
    flag: str,
    percentage: float,
    by: str | None,
    salt: str | None,
    rule: str | None,
    reason: str,
    dry_run: bool,
    force: bool,
) -> None:
    """Let in a share of all users: 10%, 0.5%, 0.001%. Raising it keeps everyone who was in.

    It never switches a flag on: what was turned off stays off.
    """
    given = {"by": by, "salt": salt, "rule": rule}
    body = {"percentage": percentage, "reason": reason} | {k: v for k, v in given.items() if v is not None}
    _switch(session, flag, "rollout", body, dry_run=dry_run, force=force)


@click.command()
@flag_argument
@reason_option
@dry_run_option
@force_option
@with_session(environment=True, waits=True)
def undo(session: Session, flag: str, reason: str, dry_run: bool, force: bool) -> None:
    """Go back to the state before the last change. Twice is as before."""
    _switch(session, flag, "undo", {"reason": reason}, dry_run=dry_run, force=force)


COMMANDS: Final = (on, off, rollout, undo)
