"""``import`` and ``export``: flags come from other flag services, and go there."""

import codecs
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from fader_cli.api import path_of
from fader_cli.commands.waiting import conclude
from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode
from fader_cli.options import dry_run_option, reason_option, with_session
from fader_cli.session import Session, plural

_FORMATS: Final = ("unleash", "launchdarkly", "flagd")
_EXPORTS: Final = ("unleash", "flagd")
_STYLES: Final = {"created": "on", "updated": "hint", "unchanged": "quiet", "exported": "quiet", "refused": "off"}
_MEANINGS: Final = {
    "disputed": "the other service's own SDKs differ here",
    "redrawn": "as many users as before, but others",
}

_file: Final = click.Path(exists=True, dir_okay=False, allow_dash=True)
_accept: Final = click.option(
    "--accept",
    type=click.Choice(tuple(_MEANINGS)),
    multiple=True,
    help="Take it although it is not exact: "
    + "; ".join(f"{name} ({meaning})" for name, meaning in _MEANINGS.items())
    + ".",
)


@click.command("import")
@click.argument("form", type=click.Choice(_FORMATS), metavar="FORMAT")
@click.argument("file", type=_file, metavar="FILE")
@click.option("--segments", "segments_file", type=_file, metavar="FILE", help="Segments that FILE only names.")
@_accept
@click.option("--skip-refused", is_flag=True, help="Import what can be, and leave the rest.")
@reason_option
@dry_run_option
@with_session(environment=True, waits=True)
def import_command(
    session: Session,
    form: str,
    file: str,
    segments_file: str | None,
    accept: tuple[str, ...],
    skip_refused: bool,
    reason: str,
    dry_run: bool,
) -> None:
    """Take over flags from another service, exactly or not at all.

    FORMAT is unleash (what its project page exports, or what GET /api/client/features answers), launchdarkly (what
    GET /api/v2/flags/… answers, or what its SDKs are sent) or flagd (what its providers read). FILE is JSON; - is
    standard input.

    All of it becomes true at once, in one environment. The same file may be imported again: what is so
    already is left alone.
    """
    document = _read(file)
    if segments_file is not None:
        found = _read(segments_file)
        known = found.get("segments", found.get("items"))
        document["segments"] = _with_segments(document.get("segments"), known, segments_file)
    body = {
        "format": form,
        "environment": session.environment,
        "document": document,
        "accept": list(accept),
        "skip_refused": skip_refused,
        "reason": reason or f"Imported from {form}",
    }
    path = path_of("projects", session.project, "import")
    report = session.api.transfer(path, body, dry_run=True)
    refused = [one for one in _things(report) if one["outcome"] == "refused"]
    is_done = not dry_run and (skip_refused or not refused)
    if is_done:
        report = session.api.transfer(path, body)
        conclude(
            session,
            report,
            lambda: _show(session, report, is_done=True),
            revisions={report["environment"]: report["revision"]},
        )
    else:
        session.emit(report, lambda: _show(session, report, is_done=False))
    if refused and not skip_refused:
        raise _refusal(refused, "imported", "would be" if dry_run else "are")


def _refusal(refused: list[dict[str, Any]], done: str, verb: str) -> CliError:
    subject, verb = (
        (refused[0]["key"], "is" if verb == "are" else verb) if len(refused) == 1 else (str(len(refused)), verb)
    )
    return CliError(
        f"{subject} {verb} refused, so nothing is {done}",
        "--skip-refused goes on without",
        ExitCode.FAILED,
    )


def _read(file: str) -> dict[str, Any]:
    with click.open_file(file, "rb") as opened:
        content = opened.read()
    try:
        document = msgspec.json.decode(content)
    except UnicodeDecodeError:
        raise usage_error(f"{_named(file)} is not JSON", "JSON is UTF-8: save it so") from None
    except msgspec.DecodeError as error:
        raise usage_error(f"{_named(file)} is not JSON: {error}", _mend(content)) from None
    except RecursionError:
        raise usage_error(f"{_named(file)} is nested too deeply") from None
    if not isinstance(document, dict):
        raise usage_error(f"{_named(file)} holds no JSON object")
    return document


def _named(file: str) -> str:
    return "standard input" if file == "-" else Path(file).name


def _mend(content: bytes) -> str | None:
    """What to do about it, if that is known."""
    if not content.strip():
        return "it is empty"
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "save it as UTF-8 without a byte order mark"
    return None


def _with_segments(named: Any, known: Any, file: str) -> Any:
    """Segments with what another document knows of them: a list, or an object by their keys."""
    if not known or not isinstance(known, list | dict):
        raise usage_error(f"{_named(file)} has no segments", "they are what `segments` or `items` lists")
    if not isinstance(named, list) or not isinstance(known, list):
        return known
    by_id = {one["id"]: one for one in known if isinstance(one, dict) and isinstance(one.get("id"), int)}
    return [one | by_id.get(_id_of(one), {}) if isinstance(one, dict) else one for one in named]


def _id_of(segment: dict[str, Any]) -> int | None:
    found = segment.get("id")
    return found if isinstance(found, int) else None


def _things(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [*report["segments"], *report["flags"]]


def _show(session: Session, report: dict[str, Any], *, is_done: bool) -> None:
    out = session.out
    for remark in report["remarks"]:
        out.print(f"[quiet]{escape(remark)}[/]")
    segments = len(report["segments"])
    for position, one in enumerate(_things(report)):
        _show_one(out, one, "segment " if position < segments else "")
    counts = Counter(one["outcome"] for one in _things(report))
    told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in _STYLES if counts[outcome]) or "nothing there"
    where = f"in [key]{escape(report['environment'])}[/]"
    out.print(f"{told} {where}" + (f" [quiet](revision {report['revision']})[/]" if is_done else ""))
    if not is_done:
        out.print("[quiet]nothing is changed yet[/]")


def _show_one(out: Console, one: dict[str, Any], noun: str) -> None:
    outcome = one["outcome"]
    if outcome not in ("unchanged", "exported") or one["remarks"]:
        out.print(f"[{_STYLES[outcome]}]{outcome:<9}[/]  {noun}[key]{escape(one['key'])}[/]")
    for refusal in one["refusals"]:
        hint = f" [hint]{escape(refusal['hint'])}[/]" if refusal["hint"] else ""
        reason = refusal["reason"].rstrip(".") + "."
        out.print(f"           {_place(refusal['path'])}{escape(reason)}{hint}", soft_wrap=True)
    for remark in one["remarks"]:
        out.print(f"           [quiet]{_place(remark['path'])}{escape(remark['text'])}[/]", soft_wrap=True)


def _place(path: str) -> str:
    return f"{escape(path)}: " if path else ""


@click.command("export")
@click.option("--format", "form", type=click.Choice(_EXPORTS), required=True, help="For whom.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Not to the screen."
)
@click.option(
    "--segments",
    "segments_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write segments with all that they ask; Unleash's document only names them.",
)
@_accept
@click.option("--skip-refused", is_flag=True, help="Export what can be, and leave the rest.")
@with_session(environment=True)
def export_command(
    session: Session,
    form: str,
    output: Path | None,
    segments_file: Path | None,
    accept: tuple[str, ...],
    skip_refused: bool,
) -> None:
    """Write flags down for another service, exactly or not at all.

    For unleash, to be imported on its project page, or back here; for flagd, a file for its providers. The document
    goes to standard output, and what there is to say of it to standard error.
    """
    path = path_of("projects", session.project, "environments", session.environment, "export")
    found = session.api.get(path, format=form, accept=accept)
    refused = [one for one in found["flags"] if one["outcome"] == "refused"]
    for one in found["flags"]:
        _show_one(session.notes, one, "")
    if refused and not skip_refused:
        raise _refusal(refused, "exported", "are")
    if segments_file is not None:
        segments_file.write_bytes(_text(found["segments"] or {"segments": []}))
    elif found["segments"] and found["segments"]["segments"]:
        session.notes.print(
            "[quiet]segments are only named: --segments FILE writes down what they ask[/]", soft_wrap=True
        )
    text = _text(found if session.as_json else found["document"])
    if output is None:
        sys.stdout.write(text.decode())
    else:
        output.write_bytes(text)
        count = plural(len(found["flags"]) - len(refused), "flag")
        session.notes.print(f"{count} of [key]{escape(session.environment)}[/] in {escape(str(output))}")


def _text(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


COMMANDS: Final = (import_command, export_command)
