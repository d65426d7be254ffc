"""Results for people: tables and a few words, fit for 80 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import msgspec
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from fader.model import Rule
from fader_cli.acknowledgements import reach_sentence
from fader_cli.config import DEFAULT_PROJECT
from fader_cli.dark_launches import dark_launch_sentences
from fader_cli.differences import differences
from fader_cli.ramp_history import ramp_findings, ramp_happening, ramp_reason
from fader_cli.ramps import Ramp, state_sentence
from fader_cli.sentences import (
    prerequisite_sentence,
    prerequisites_of,
    rule_sentence,
    rules_of,
    state_in_short,
)
from fader_cli.session import Session

_FIRST: Final = ("development", "staging", "production")
_STYLES: Final = {"+": "on", "-": "off", "~": "hint"}


def in_order(environments: Iterable[str]) -> list[str]:
    """Environments in the order in which code goes through them; those of one's own making come last."""
    return sorted(environments, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def table(*columns: str) -> Table:
    """A table in the house's style: no lines, quiet headings."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def coloured_state(state: str) -> str:
    """``ON …`` in green, ``OFF`` in red."""
    return f"[{'on' if state.startswith('ON') else 'off'}]{escape(state)}[/]"


def ago(at: str | None) -> str:
    """How long ago something was, in one unit."""
    if at is None:
        return "never"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def show_switched(
    session: Session, answer: Mapping[str, Any], *, before: Mapping[str, Any] | None, tells_rules: bool = True
) -> None:
    """What a change of a flag in an environment came to.

    Args:
        session: Where to write.
        answer: The server's.
        before: How the flag was there, if nothing was changed but only tried.
        tells_rules: Whether the rules are of interest after this change.
    """
    dry_run = before is not None
    flag, environment = answer["flag"], answer["environment"]
    configuration = flag["environments"][environment]
    state = coloured_state(state_in_short(configuration))
    verb = "would be" if dry_run else "is"
    if not answer["changed"]:
        verb, detail = "is", "nothing to change"
    else:
        detail = "nothing is changed yet" if dry_run else f"revision {answer['revision']}"
    session.out.print(
        f"[key]{escape(flag['key'])}[/] {verb} {state} in [key]{escape(environment)}[/] [quiet]({detail})[/]"
    )
    if before is not None:
        show_differences(session, before, configuration)
    elif configuration["rules"] and tells_rules:
        show_rules(session, rules_of(configuration))
        if not configuration["enabled"] and answer["changed"]:
            project = "" if flag["project"] == DEFAULT_PROJECT else f" -p {flag['project']}"
            switch = f"fader on {flag['key']} -e {environment}{project}"
            session.notes.print(f"[quiet]it is off; `{escape(switch)}` switches it on[/]", soft_wrap=True)
    for warning in answer.get("warnings", ()):
        session.notes.print(warning_line(warning), soft_wrap=True)


def warning_line(warning: Mapping[str, Any]) -> str:
    """What other clients than Fader's see otherwise."""
    return f"[hint]! {escape(warning['message'])}[/]"


def show_differences(session: Session, before: Any, after: Any) -> None:
    """What is different between two documents, indented."""
    _show_marked(session, differences(before, after))


def _show_marked(session: Session, lines: Iterable[str]) -> None:
    for line in lines:
        session.out.print(Padding(f"[{_STYLES[line[0]]}]{escape(line)}[/]", (0, 0, 0, 4), expand=False))


def show_rules(session: Session, rules: Sequence[Rule]) -> None:
    """Rules in their order."""
    if not rules:
        session.out.print("  [quiet]no rules: everybody, while it is on[/]")
        return
    made = table("", "RULE", "LETS IN")
    for position, rule in enumerate(rules, start=1):
        made.add_row(f"  {position}.", rule.id, escape(rule_sentence(rule)))
        if rule.description:
            made.add_row("", "", f"[quiet]{escape(rule.description)}[/]")
    session.out.print(made)


def show_flags(session: Session, flags: Sequence[Mapping[str, Any]], *, archived: bool) -> None:
    """A line a flag, a column an environment."""
    if not flags:
        kind = "archived flags" if archived else "flags"
        session.notes.print(f"[quiet]no {kind} in {escape(session.project)}; `fader create NAME` makes one[/]")
        return
    environments = in_order(flags[0]["environments"])
    made = table("FLAG", *(name.upper() for name in environments), "DESCRIPTION")
    for flag in flags:
        states = [
            _state_with_ramp(flag["environments"][name]) if name in flag["environments"] else ""
            for name in environments
        ]
        made.add_row(f"[key]{escape(flag['key'])}[/]", *states, f"[quiet]{escape(flag['description'])}[/]")
    session.out.print(made)


def _state_with_ramp(configuration: Mapping[str, Any]) -> str:
    ramp = "" if configuration["ramp"] is None else " [hint]in a ramp[/]"
    return coloured_state(state_in_short(configuration)) + ramp


def show_flag(session: Session, flag: Mapping[str, Any]) -> None:
    """All about one flag, with its ``usage``, its last ``changes`` and, by environment, its ``compatibility`` and the
    ``ramps`` that it is in."""
    out, changes = session.out, flag["changes"]
    archived = " [off]archived[/]" if flag["archived_at"] else ""
    out.print(f"[key]{escape(flag['key'])}[/] [quiet]{flag['type']} · {flag['kind']}[/]{archived}")
    if flag["description"]:
        out.print(escape(flag["description"]))
    about = [("owner", flag["owner"]), ("tags", ", ".join(flag["tags"]))]
    said = [f"[quiet]{name}[/] {escape(value)}" for name, value in about if value]
    if said:
        out.print("  ".join(said))
    for variant in flag["variants"]:
        is_off = "  [off]off variant[/]" if variant["name"] == flag["off_variant"] else ""
        out.print(f"  {escape(variant['name'])} = {escape(str(variant.get('value')))}{is_off}")
    wanted = session.environment_or_none if session.environment_given else None
    for name in in_order(flag["environments"]) if wanted is None else [wanted]:
        _show_in_environment(session, flag, name)
    if changes:
        out.print()
        for group in _groups(changes):
            out.print(change_line(group))


def _show_in_environment(session: Session, flag: Mapping[str, Any], name: str) -> None:
    out, configuration = session.out, flag["environments"][name]
    out.print()
    state = coloured_state(state_in_short(configuration))
    out.print(f"[key]{escape(name)}[/]  {state}  [quiet]{_counts(flag['usage'], name)}[/]")
    for launched in dark_launch_sentences(flag["usage"], name):
        out.print(f"  {escape(launched)}", soft_wrap=True)
    if name in flag["ramps"]:
        sentence = state_sentence(msgspec.convert(flag["ramps"][name], Ramp))
        status = f"fader ramp status {flag['key']} -e {name}"
        out.print(f"  [hint]its ramp {escape(sentence)}[/]  [quiet]{escape(status)}[/]", soft_wrap=True)
    for prerequisite in prerequisites_of(configuration):
        out.print(f"  {escape(prerequisite_sentence(prerequisite))}")
    if configuration["rules"]:
        show_rules(session, rules_of(configuration))
    for warning in flag["compatibility"].get(name, {}).get("warnings", ()):
        out.print(Padding(warning_line(warning), (0, 0, 0, 2), expand=False))


def _counts(usage: Mapping[str, Any], environment: str) -> str:
    counts = [item for item in usage["items"] if item["environment"] == environment]
    if not counts:
        return "not evaluated in 24 h"
    return "in 24 h: " + ", ".join(f"{item['variant']} {item['count']:,}" for item in counts)


def show_changes(session: Session, changes: Sequence[Mapping[str, Any]]) -> None:
    """The history, newest first, with what each change changed."""
    if not changes:
        session.notes.print("[quiet]no changes[/]")
    for group in _groups(changes):
        show_change(session, group)


def show_change(session: Session, changes: Sequence[Mapping[str, Any]]) -> None:
    """One change, made in one environment or in several at once."""
    session.out.print(change_line(changes))
    _show_marked(session, _changed(changes[0]))
    for change in changes:
        if change.get("propagation") is not None:
            where = f"{change['environment']}: " if len(changes) > 1 else ""
            session.out.print(f"    [quiet]{escape(where + reach_sentence(change['propagation']))}[/]")


def _changed(change: Mapping[str, Any]) -> list[str]:
    """What a change changed, a line each."""
    return ramp_findings(change) if change["kind"] == "ramp" else differences(change["before"], change["after"])


def _groups(changes: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Changes that follow each other and are the same one, made in several environments at once, put together."""

    def identity(change: Mapping[str, Any]) -> Any:
        what = (change["kind"], change["key"], change["action"], change["at"], change["actor"], change["reason"])
        return what, _changed(change)

    return [list(group) for _, group in groupby(changes, identity)]


def change_line(changes: Sequence[Mapping[str, Any]]) -> str:
    """One change in one line."""
    change = changes[0]
    at = datetime.fromisoformat(change["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    why = ramp_reason(change) if change["kind"] == "ramp" else change["reason"]
    reason = f"  “{escape(why)}”" if why else ""
    revisions = {one["environment"]: one["revision"] for one in changes}
    where = ", ".join(f"[key]{escape(name)}[/] {revisions[name]}" for name in in_order(revisions))
    what = ramp_happening(change) if change["kind"] == "ramp" else change["action"]
    return f"[quiet]{at}[/]  {where}  {escape(change['key'])} {what} by {escape(change['actor'])}{reason}"
