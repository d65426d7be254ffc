"""``wait``, and what ``--wait`` does: return when every connected SDK has applied a change."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from fader_cli.acknowledgements import duration
from fader_cli.api import path_of
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.options import patience, require_option, timeout_option, with_session
from fader_cli.progress import meanwhile, show_outcome
from fader_cli.session import Session, listed
from fader_cli.waiting import EVERYBODY, Patience, Waiting, wait


def conclude(
    session: Session, answer: Mapping[str, Any], show: Callable[[], None], *, revisions: Mapping[str, int] | None = None
) -> None:
    """Write what a change came to; and with ``--wait``, wait until it has been applied.

    Args:
        session: What to work with.
        answer: The server's.
        show: Writes it for people.
        revisions: What the change came to, by environment. Unless given, it concerns all environments, and what they
            have come to is asked for: at least that change.

    Raises:
        CliError: if not all who were waited for have applied it. The change stands.
    """
    if session.patience is None:
        session.emit(answer, show)
        return
    if not session.as_json:
        show()
    began = time.monotonic()
    waitings: list[Waiting] = []
    error: CliError | None = None
    try:
        found = revisions or _newest(session, session.patience.timeout)
        waitings = [Waiting(name, found[name], session.patience.require, is_certain=True) for name in found]
        _wait(session, waitings, session.patience, began)
    except CliError as raised:
        error = raised
    acknowledged = _document(waitings, began, error)
    if session.as_json:
        session.emit({**answer, "acknowledged": acknowledged}, show)
    elif error is None:
        show_outcome(session, waitings)
    if error is not None:
        raise CliError(f"the change is made, but not known to be applied: {error.message}", error.hint, _NOT_APPLIED)
    _require_all(waitings, "the change is made, but", began)


def show_who_applied(session: Session, environment: str, revision: int) -> None:
    """Wait a moment for a change that somebody else has made, and write who has applied it; nothing depends on it."""
    began = time.monotonic()
    waiting = Waiting(environment, revision, EVERYBODY, is_certain=True)
    _wait(session, [waiting], Patience(), began)
    if session.as_json:
        session.emit_line({"acknowledged": _document([waiting], began)})
    else:
        show_outcome(session, [waiting])


_NOT_APPLIED: Final = ExitCode.NOT_APPLIED


@click.command("wait")
@click.argument("revision", type=click.IntRange(min=0), metavar="REVISION")
@timeout_option
@require_option
@with_session(environment=True)
def wait_command(session: Session, revision: int, timeout: float | None, require: float | None) -> None:
    """Return when every connected SDK has applied a revision.

    Every change says which revision it has made; so does `fader history`.
    """
    began, given = time.monotonic(), patience(timeout, require)
    waiting = Waiting(session.environment, revision, given.require, is_certain=False)
    _wait(session, [waiting], given, began)
    if waiting.is_hopeless and waiting.answer is None and waiting.fault is not None:
        raise waiting.fault
    session.emit({"acknowledged": _document([waiting], began)}, lambda: show_outcome(session, [waiting]))
    _require_all([waiting], f"revision {revision}:", began)


def _newest(session: Session, seconds: float) -> dict[str, int]:
    api = session.api.within(seconds, retry_for=seconds)
    found = api.pages(path_of("projects", session.project, "environments"))
    return {one["key"]: one["revision"] for one in found}


def _wait(session: Session, waitings: Sequence[Waiting], given: Patience, began: float) -> None:
    api, project = session.api, session.project

    def ask(waiting: Waiting, seconds: float) -> dict[str, Any]:
        path = path_of("projects", project, "environments", waiting.environment, "acknowledgements")
        answer: dict[str, Any] = api.within(seconds).get(path, revision=waiting.revision)
        return answer

    with meanwhile(session, waitings) as show:
        wait(waitings, ask, began + given.timeout, show)


def _document(waitings: Sequence[Waiting], began: float, error: CliError | None = None) -> dict[str, Any]:
    """What ``--json`` tells of the waiting: of one environment, the server's last answer; of several, all of them."""
    documents = [_one_document(waiting) for waiting in waitings]
    outcome: dict[str, Any] = {
        "reached": error is None and all(waiting.is_reached for waiting in waitings),
        "waited_ms": round((time.monotonic() - began) * 1000),
    }
    if error is not None:
        outcome["error"] = error.message
    return {**documents[0], **outcome} if len(documents) == 1 else {**outcome, "environments": documents}


def _one_document(waiting: Waiting) -> dict[str, Any]:
    told: dict[str, Any] = dict(waiting.document or {"environment": waiting.environment, "revision": waiting.revision})
    told["reached"] = waiting.is_reached
    if waiting.fault is not None:
        told["error"] = waiting.fault.message
    return told


def _require_all(waitings: Sequence[Waiting], opening: str, began: float) -> None:
    """Make sure that all that was waited for has been reached.

    Raises:
        CliError: if not.
    """
    left = [waiting for waiting in waitings if not waiting.is_reached]
    if not left:
        return
    said = listed([_complaint(waiting, is_only=len(waitings) == 1) for waiting in left])
    again = "; ".join(f"`fader wait {waiting.revision} -e {waiting.environment}`" for waiting in left)
    took = duration(time.monotonic() - began)
    raise CliError(f"{opening} {said} after {took}", f"{again} waits again", _NOT_APPLIED)


def _complaint(waiting: Waiting, *, is_only: bool) -> str:
    where = "" if is_only else f" in {waiting.environment}"
    if waiting.answer is None:
        why = "the server does not answer in time" if waiting.fault is None else waiting.fault.message
        return f"nobody knows who has applied it{where}: {why}"
    missing = max(waiting.answer.behind, waiting.expected - waiting.answer.applied)
    if not missing:
        return f"not every server of Fader serves it yet{where}"
    return f"{missing:,} of {waiting.expected:,} SDKs have not confirmed it{where}"


COMMANDS: Final = (wait_command,)
