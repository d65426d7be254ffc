"""Options that all commands share, and how their values are completed and checked."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from fader_cli import config
from fader_cli.api import path_of
from fader_cli.errors import usage_error
from fader_cli.percentages import parse_percentage
from fader_cli.session import Session
from fader_cli.waiting import EVERYBODY, TIMEOUT, Patience

F = TypeVar("F", bound=Callable[..., Any])

_PATIENCE: Final = 1.0
"""Seconds that completion may take: somebody is waiting with a finger on the tab key."""


def _complete(path: Callable[[Session], str]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = context.params
        try:
            session = Session(
                profile=given.get("profile"),
                url=given.get("url"),
                token=given.get("token"),
                project=given.get("project"),
                timeout=_PATIENCE,
            )
            items = session.api.pages(path(session), most=500)
            return [CompletionItem(item["key"]) for item in items if item["key"].startswith(incomplete)]
        except Exception:  # noqa: BLE001 (in the middle of somebody's typing there is no place for complaints)
            return []

    return complete


complete_flags: Final = _complete(lambda session: path_of("projects", session.project, "flags"))
complete_segments: Final = _complete(lambda session: path_of("projects", session.project, "segments"))
complete_projects: Final = _complete(lambda _session: "/projects")
complete_environments: Final = _complete(lambda session: path_of("projects", session.project, "environments"))


def complete_profiles(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The profiles that this command line knows."""
    try:
        return [CompletionItem(name) for name in config.load().profiles if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 (as above)
        return []


class Percentage(click.ParamType[float]):
    """A parameter such as ``10%``."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            return value if isinstance(value, float) else parse_percentage(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


PERCENTAGE: Final = Percentage()


def with_session(*, environment: bool = False, waits: bool = False) -> Callable[[F], F]:
    """Give a command the options of every command, and a :class:`Session` as its first argument.

    Args:
        environment: Whether it is about an environment, and so has ``-e``.
        waits: Whether it changes what SDKs evaluate with, and so has ``--wait``.
    """

    def decorate(command: F) -> F:
        @wraps(command)
        def run(
            *arguments: Any,
            profile: str | None,
            url: str | None,
            token: str | None,
            project: str | None,
            as_json: bool,
            retry_for: float,
            **named: Any,
        ) -> Any:
            patience = _patience(named) if waits else None
            session = Session(
                profile=profile,
                url=url,
                token=token,
                project=project,
                environment=named.pop("environment", None),
                as_json=as_json,
                retry_for=retry_for,
                patience=patience,
            )
            return command(session, *arguments, **named)

        for option in reversed(_COMMON):
            run = option(run)
        for option in reversed(_WAITING if waits else ()):
            run = option(run)
        if environment:
            run = _ENVIRONMENT(run)
        return run  # type: ignore[return-value]

    return decorate


def _patience(named: dict[str, Any]) -> Patience | None:
    """Take the options of ``_WAITING`` out, and make sense of them."""
    is_wanted, timeout, require = (named.pop(name) for name in ("wait", "timeout", "require"))
    if not is_wanted:
        if timeout is not None or require is not None:
            raise usage_error("--timeout and --require say how --wait waits", "add --wait")
        return None
    if named.get("dry_run"):
        raise usage_error("--wait and --dry-run cannot go together", "a dry run changes nothing to wait for")
    return patience(timeout, require)


def patience(timeout: float | None, require: float | None) -> Patience:
    """How to wait, with what was left open as it is by default."""
    return Patience(TIMEOUT if timeout is None else timeout, EVERYBODY if require is None else require)


_ENVIRONMENT: Final = click.option(
    "-e",
    "--environment",
    metavar="NAME",
    shell_complete=complete_environments,
    help="The environment.  [FADER_ENVIRONMENT, or the profile's]",
)

_COMMON: Final = (
    click.option(
        "-p",
        "--project",
        metavar="NAME",
        shell_complete=complete_projects,
        help="The project.  [FADER_PROJECT, else default]",
    ),
    click.option("--json", "as_json", is_flag=True, help="Write a JSON document instead of text for people."),
    click.option(
        "--profile", metavar="NAME", shell_complete=complete_profiles, help="The profile to use.  [FADER_PROFILE]"
    ),
    click.option("--url", metavar="URL", help="The server's address.  [FADER_URL]"),
    click.option("--token", metavar="TOKEN", help="An admin token; better: FADER_TOKEN, or `fader login`."),
    click.option(
        "--retry-for",
        type=click.FloatRange(0, 3600),
        default=30.0,
        envvar="FADER_RETRY_FOR",
        metavar="SECONDS",
        help="While the server cannot answer, try again for so long; 0: never.  [FADER_RETRY_FOR, else 30]",
    ),
)

timeout_option: Final = click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400, min_open=True),
    metavar="SECONDS",
    help=f"How long to wait at most; {TIMEOUT:g} unless given.",
)
require_option: Final = click.option(
    "--require",
    type=PERCENTAGE,
    metavar="PERCENT",
    help="The share of the SDKs that is enough: 99%, 99.5%; all unless given.",
)
_WAITING: Final = (
    click.option("--wait", is_flag=True, help="Return when every connected SDK has applied it."),
    timeout_option,
    require_option,
)

reason_option: Final = click.option("-m", "--reason", default="", metavar="TEXT", help="Why, for the history.")
dry_run_option: Final = click.option("--dry-run", is_flag=True, help="Check, show what would change, change nothing.")
force_option: Final = click.option(
    "--force", is_flag=True, help="Also if the flag is in a ramp, which is held then (`fader off` needs no force)."
)
yes_option: Final = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
flag_argument: Final = click.argument("flag", metavar="FLAG", shell_complete=complete_flags)
