"""Ramps: ``ramp FLAG STEPS`` and what can be done with one that is under way."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from click.shell_completion import CompletionItem

from fader_cli.api import path_of
from fader_cli.commands.waiting import conclude, show_who_applied
from fader_cli.documents import read_object
from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode
from fader_cli.groups import Commands
from fader_cli.options import PERCENTAGE, complete_flags, dry_run_option, flag_argument, reason_option, with_session
from fader_cli.ramp_following import follow
from fader_cli.ramp_plans import ACTIONS, Guard, Prometheus, Step, Wishes, parse_guard, parse_steps, plan_document
from fader_cli.ramp_render import show_preview, show_ramp, show_ramps
from fader_cli.ramps import Ramp, state_sentence
from fader_cli.session import Session
from fader_cli.times import parse_moment, parse_time

_ENDS: Final = {
    "released": ExitCode.OK,
    "rolled_back": ExitCode.ROLLED_BACK,
    "held": ExitCode.HELD,
    "aborted": ExitCode.ABORTED,
}
_WHATEVER: Final = ("hold", "rollback", "advance")


class _Read(click.ParamType[Any]):
    """A parameter that one of our own functions reads.

    Args:
        name: What it is.
        read: Reads it; a ``ValueError`` says what is wrong.
    """

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


_TIME: Final = _Read("time", parse_time)
_STEPS: Final = _Read("steps", parse_steps)
_GUARD: Final = _Read("guard", parse_guard)
_MOMENT: Final = _Read("moment", lambda text: parse_moment(text, datetime.now(UTC)))


class _Ramps(Commands):
    """Takes what is no command for a flag: ``ramp FLAG STEPS`` is ``ramp start FLAG STEPS``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out what it is."""
        return super().parse_args(ctx, self._said_in_full(ctx, args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command."""
        return super().resolve_command(ctx, self._said_in_full(ctx, args))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and flags."""
        return [*super().shell_complete(ctx, incomplete), *complete_flags(ctx, self.params[0], incomplete)]

    def _said_in_full(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_command = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return args if is_command else ["start", *args]


@click.group(cls=_Ramps)
def ramp() -> None:
    """Bring a flag up in steps, and down by itself when it does harm.

    \b
    fader ramp FLAG STEPS    starts one: see `fader ramp start --help`
    """


def _path(session: Session, flag: str, *more: str) -> str:
    return path_of("projects", session.project, "flags", flag, "environments", session.environment, "ramp", *more)


def _plan_options(command: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--every", type=_TIME, metavar="TIME", help="How long a step takes at least; 10m unless given."
            ),
            click.option(
                "--users",
                type=click.IntRange(min=0),
                metavar="N",
                help="Users with the feature whom guards must have seen by then; 100 unless given.",
            ),
            click.option(
                "--bake",
                type=_TIME,
                metavar="TIME",
                help="How long guards go on after the last step; 30m unless given.",
            ),
            click.option(
                "-g",
                "--guard",
                "guards",
                type=_GUARD,
                multiple=True,
                metavar="METRIC[:latency[=TIME]][:margin=PERCENT][:hold|notify]",
                help="Compare users with and without the feature by what applications record as METRIC: checkout,"
                " checkout:latency=800ms, checkout:margin=10%:hold. May be given several times.",
            ),
            click.option("--prometheus", metavar="QUERY", help="A number to hold to --max or --min."),
            click.option("--max", "most", type=float, metavar="N", help="The highest that is well."),
            click.option("--min", "least", type=float, metavar="N", help="The lowest."),
            click.option(
                "--alpha",
                type=PERCENTAGE,
                metavar="PERCENT",
                help="How many healthy ramps may be turned back; 5% unless given.",
            ),
            click.option(
                "--approve",
                type=PERCENTAGE,
                multiple=True,
                metavar="PERCENT",
                help="Go to this step only when somebody approves.",
            ),
            click.option("--rule", metavar="ID", help="Whose rollout is raised; else that of the rule for everybody."),
            click.option(
                "--no-data",
                type=click.Choice(_WHATEVER),
                help="What to do when guards see too few users; hold unless given.",
            ),
            click.option(
                "--sample-ratio",
                type=click.Choice(ACTIONS[1:]),
                help="What to do when the wrong share of users is seen; hold unless given.",
            ),
            click.option(
                "--deadline", type=_MOMENT, metavar="WHEN", help="When it must be done: 6h, or 2030-01-31T18:00."
            ),
            click.option(
                "--at-deadline", type=click.Choice(_WHATEVER), help="What to do if it is not; hold unless given."
            ),
            click.option(
                "--from-json",
                type=click.Path(exists=True, dir_okay=False, allow_dash=True),
                metavar="FILE",
                help="The plan as a document instead (- for standard input).",
            ),
        )
    ):
        command = option(command)
    return command


@ramp.command()
@flag_argument
@click.argument("steps", type=_STEPS, required=False, metavar="STEPS")
@_plan_options
@click.option("--plan", "only_plan", is_flag=True, help="Say what it comes to; start nothing.")
@click.option("--users-per-hour", type=click.FloatRange(min=0), metavar="N", help="With --plan: how many users come.")
@click.option("--failing", type=PERCENTAGE, metavar="PERCENT", help="With --plan: how many of them fail as it is.")
@click.option("--follow", "follows", is_flag=True, help="Show how it goes, and end when it ends.")
@reason_option
@dry_run_option
@with_session(environment=True, waits=True)
def start(
    session: Session,
    flag: str,
    steps: tuple[Step, ...] | None,
    only_plan: bool,
    users_per_hour: float | None,
    failing: float | None,
    follows: bool,
    reason: str,
    dry_run: bool,
    **given: Any,
) -> None:
    """Start a ramp.

    STEPS are like 1%,10%,50%,100%, or with times of their own 1%:1h,10%,100%.

    `start` can be left out. A flag that is off is switched on. A step ends when its time is over, guards have seen
    enough users and find no harm, and somebody has approved where that is asked for. When guards find harm, the flag is
    switched off at once.

    With --follow, the exit code says how it has ended: 0 released, 8 rolled back, 9 held, 10 aborted.
    """
    plan = _plan_of(steps, given)
    if (users_per_hour is None) is not (failing is None) or (users_per_hour is not None and not only_plan):
        raise usage_error("--users-per-hour and --failing go together, with --plan")
    if only_plan:
        traffic = None if failing is None else {"users_per_hour": users_per_hour, "failing": failing / 100}
        preview = session.api.post(_path(session, flag, "plan"), plan | ({"traffic": traffic} if traffic else {}))
        session.emit(preview, lambda: show_preview(session, flag, preview, plan))
        return
    if follows and dry_run:
        raise usage_error("--follow and --dry-run cannot go together", "a dry run starts nothing to follow")
    answer = session.api.post(_path(session, flag), plan | {"reason": reason}, dry_run=dry_run or None)
    if follows and session.as_json and session.patience is None:
        _follow(session, flag)
        return
    _conclude(session, answer, note=_note(session, flag, dry_run=dry_run, follows=follows))
    if follows:
        _follow(session, flag)


def _plan_of(steps: tuple[Step, ...] | None, given: dict[str, Any]) -> dict[str, Any]:
    """The plan that the command line asks for."""
    file = given.pop("from_json")
    if file is not None:
        if steps is not None or any(value not in (None, ()) for value in given.values()):
            raise usage_error("--from-json is the whole plan", "leave STEPS and the other options out")
        return read_object(file, "a plan")
    if steps is None:
        raise usage_error("which steps?", "such as 1%,10%,50%,100%")
    guards: tuple[Guard, ...] = given["guards"]
    query, most, least = given["prometheus"], given["most"], given["least"]
    if (query is None) is not (most is None and least is None):
        raise usage_error("--prometheus needs --max or --min, and these need it")
    return plan_document(
        Wishes(
            steps=steps,
            every_seconds=given["every"],
            bake_seconds=given["bake"],
            users=given["users"],
            guards=guards,
            prometheus=None if query is None else Prometheus(query=query, max=most, min=least),
            alpha=None if given["alpha"] is None else given["alpha"] / 100,
            approve=given["approve"],
            rule=given["rule"],
            no_data=given["no_data"],
            sample_ratio=given["sample_ratio"],
            deadline=given["deadline"],
            at_deadline=given["at_deadline"],
        )
    )


def _note(session: Session, flag: str, *, dry_run: bool, follows: bool) -> str:
    if dry_run:
        return "nothing is started yet"
    where = f"{flag} -e {session.environment}"
    return "" if follows else f"`fader ramp status {where} --follow` shows how it goes"


def _conclude(session: Session, answer: dict[str, Any], *, note: str = "") -> None:
    """Write what a command made of a ramp."""
    moved = msgspec.convert(answer["ramp"], Ramp)

    def show() -> None:
        show_ramp(session, moved)
        if note:
            session.notes.print(f"[quiet]{note}[/]", soft_wrap=True)

    conclude(session, answer, show, revisions={moved.environment: answer["revision"]})


def _follow(session: Session, flag: str) -> None:
    """Follow a ramp to its end.

    Raises:
        CliError: unless it was released.
    """
    path = _path(session, flag)
    try:
        ended = follow(session, path, lambda now: now.status in _ENDS)
    except KeyboardInterrupt:
        session.notes.print("[quiet]the ramp goes on by itself[/]")
        raise
    if not session.as_json:
        show_ramp(session, ended)
    if ended.status == "rolled_back":
        show_who_applied(session, ended.environment, ended.revision)
    code = _ENDS[ended.status]
    if code is not ExitCode.OK:
        why = f": {ended.why}" if ended.why else ""
        raise CliError(f"{ended.flag} {state_sentence(ended)}{why}", _what_next(ended), code)


def _what_next(ended: Ramp) -> str | None:
    if ended.status == "held":
        where = f"{ended.flag} -e {ended.environment}"
        return f"`fader ramp resume {where}` goes on, `fader off {where}` ends it"
    return None


@ramp.command()
@flag_argument
@click.option("--follow", "follows", is_flag=True, help="Show how it goes on, and end when it ends.")
@with_session(environment=True)
def status(session: Session, flag: str, follows: bool) -> None:
    """How a flag's newest ramp stands.

    What its guards have found, with a picture of the evidence over time, and what it is waiting for.

    With --follow, the exit code says how it has ended: 0 released, 8 rolled back, 9 held, 10 aborted.
    """
    if follows:
        _follow(session, flag)
        return
    found = session.api.get(_path(session, flag))
    session.emit(found, lambda: show_ramp(session, msgspec.convert(found, Ramp)))


def _command(session: Session, flag: str, verb: str, body: dict[str, Any]) -> None:
    _conclude(session, session.api.post(_path(session, flag, verb), body))


@ramp.command()
@flag_argument
@reason_option
@with_session(environment=True)
def pause(session: Session, flag: str, reason: str) -> None:
    """Keep a ramp where it is. Guards go on watching, and turn it back if they must."""
    _command(session, flag, "pause", {"reason": reason})


@ramp.command()
@flag_argument
@reason_option
@with_session(environment=True)
def resume(session: Session, flag: str, reason: str) -> None:
    """Let a ramp go on that was paused or held. What has held it is taken to be known."""
    _command(session, flag, "resume", {"reason": reason})


@ramp.command()
@flag_argument
@reason_option
@with_session(environment=True, waits=True)
def advance(session: Session, flag: str, reason: str) -> None:
    """Go to the next step at once.

    Whatever the present one is waiting for.
    """
    _command(session, flag, "advance", {"reason": reason})


@ramp.command()
@flag_argument
@reason_option
@with_session(environment=True)
def approve(session: Session, flag: str, reason: str) -> None:
    """Let the present step end.

    It does, as soon as all else that it is waiting for is there.
    """
    _command(session, flag, "approve", {"reason": reason})


@ramp.command()
@flag_argument
@click.option("--off", is_flag=True, help="And switch the flag off; else it stays where it is.")
@reason_option
@with_session(environment=True, waits=True)
def abort(session: Session, flag: str, off: bool, reason: str) -> None:
    """End a ramp, and leave the flag where it is."""
    _command(session, flag, "abort", {"off": off, "reason": reason})


@ramp.command("list")
@click.option("--all", "also_over", is_flag=True, help="Also those that are over.")
@with_session(environment=True)
def list_ramps(session: Session, also_over: bool) -> None:
    """Ramps that are under way, newest first.

    In all environments, or in one with -e.
    """
    documents = session.api.pages(path_of("projects", session.project, "ramps"))
    wanted = session.environment_or_none if session.environment_given else None
    found = sorted(
        (
            (one, document)
            for document in documents
            if (one := msgspec.convert(document, Ramp)).environment == (wanted or one.environment)
            and (also_over or not one.is_over)
        ),
        key=lambda pair: pair[0].created_at,
        reverse=True,
    )

    def show() -> None:
        if found:
            show_ramps(session, [one for one, _ in found])
        else:
            session.notes.print("[quiet]no ramps are under way; --all shows those that are over[/]")

    session.emit([document for _, document in found], show)


COMMANDS: Final = (ramp,)
