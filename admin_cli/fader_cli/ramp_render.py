"""A ramp for people: where it stands, what its guards have found, what it is waiting for; and what a plan comes to."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

from rich.console import ConsoleDimensions
from rich.markup import escape
from rich.text import Text

from fader_cli.acknowledgements import reach_sentence
from fader_cli.evidence_pictures import evidence_line, evidence_picture
from fader_cli.percentages import format_percentage
from fader_cli.ramps import WHOLE, Arm, Check, Guard, Ramp, odds, promise, state_sentence
from fader_cli.render import table
from fader_cli.session import Session, plural
from fader_cli.times import clock, spelled

_STYLES: Final = {
    "running": "on",
    "baking": "on",
    "released": "on",
    "paused": "hint",
    "held": "off",
    "rolled_back": "off",
    "aborted": "hint",
}
_PRESENT: Final = {"rolled_back": ("✗", "off"), "aborted": ("✗", "hint"), "held": ("●", "off")}
_VERDICTS: Final = {"ok": "on", "worse": "off", "inconclusive": "hint", "cannot measure": "quiet"}
_CONSEQUENCES: Final = {
    "rollback": "turns back at {odds}",
    "hold": "holds the ramp at {odds}",
    "notify": "only tells, at {odds}",
}
_NOBODY_WITHOUT: Final = "  [quiet]everybody has it: nobody to compare with[/]"
_HEIGHT: Final = 8
_SMALL: Final = 5
_LEAST: Final = 3
"""Lines of a picture in which something can still be seen."""


def ramp_lines(ramp: Ramp, room: ConsoleDimensions | None = None) -> list[Text]:
    """All about a ramp.

    Args:
        ramp: Of which.
        room: What there is; pictures become smaller, or a line each, for the rest to fit in.
    """
    now = datetime.now(UTC)
    above = [*_headlines(ramp, now), _steps_line(ramp)]
    above += [f"[quiet]{escape(line)}[/]" for line in _small_print(ramp, now)]
    texts = [_guard_lines(guard, has_others=ramp.percentage < WHOLE) for guard in ramp.guards]
    below = [line for check in ramp.prometheus for line in ("", *_check_lines(check))]
    height = _HEIGHT if len(texts) < 3 else _SMALL
    if room is not None and texts:
        taken = sum(_height(line, room.width) for line in (*above, *chain(*texts), *below))
        # Below each picture there are three lines, and above each guard an empty one.
        height = min(height, (room.height - taken) // len(texts) - 4)
    lines = [*map(_markup, above)]
    for guard, text in zip(ramp.guards, texts, strict=True):
        lines += map(_markup, ("", *text))
        is_large = height >= _LEAST
        lines += evidence_picture(guard.looks, guard.threshold, height) if is_large else _in_a_line(guard)
    return [*lines, *map(_markup, below)]


def _height(line: str, width: int) -> int:
    """Lines that it takes there."""
    return max(math.ceil(_markup(line).cell_len / width), 1)


def _in_a_line(guard: Guard) -> list[Text]:
    drawn = evidence_line(guard.looks, guard.threshold)
    return [Text("  over time         ").append(drawn)] if drawn else []


def _markup(line: str) -> Text:
    return Text.from_markup(line)


def _headlines(ramp: Ramp, now: datetime) -> Iterator[str]:
    style = _STYLES.get(ramp.status, "key")
    where = f"[key]{escape(ramp.flag)}[/] in [key]{escape(ramp.environment)}[/]"
    yield f"{where} [{style}]{escape(state_sentence(ramp))}[/]"
    if ramp.why:
        yield escape(ramp.why)
    elif ramp.earliest is not None and ramp.earliest > now:
        left = math.ceil((ramp.earliest - now).total_seconds())
        yield f"until {clock(ramp.earliest, now)} at the earliest, in {spelled(left)}"
    if ramp.acknowledged is not None and ramp.status == "rolled_back":
        yield escape(reach_sentence(ramp.acknowledged))


def _steps_line(ramp: Ramp) -> str:
    steps = ramp.plan.steps
    each = {step.hold_seconds for step in steps}
    parts = []
    for number, step in enumerate(steps, start=1):
        is_past = number < ramp.step or ramp.status in ("baking", "released")
        mark, style = ("✓", "on") if is_past else _PRESENT.get(ramp.status, ("●", "key"))
        if number > ramp.step:
            mark, style = "·", "quiet"
        held = f" for {spelled(step.hold_seconds)}" if len(each) > 1 else ""
        approval = ""
        if number > max(ramp.step, 1) and steps[number - 2].needs_approval:
            approval = ", approved" if number == ramp.step + 1 and ramp.is_approved else " on approval"
        parts.append(f"[{style}]{mark} {format_percentage(step.percentage)}{held}{approval}[/]")
    if ramp.plan.bake_seconds and (ramp.guards or ramp.prometheus):
        mark, style = {"baking": ("●", "key"), "released": ("✓", "on")}.get(ramp.status, ("·", "quiet"))
        parts.append(f"[{style}]{mark} watched {spelled(ramp.plan.bake_seconds)} more[/]")
    if len(steps) > 1 and len(each) == 1:
        parts.append(f" [quiet]{spelled(steps[0].hold_seconds)} each[/]")
    return "  ".join(parts)


def _small_print(ramp: Ramp, now: datetime) -> Iterator[str]:
    reason = f" “{ramp.reason}”" if ramp.reason else ""
    yield f"started by {ramp.created_by} at {clock(ramp.created_at, now)}{reason}"
    if any(guard.action == "rollback" for guard in ramp.guards):
        yield promise(ramp.plan.alpha)
    elif not ramp.guards and not ramp.prometheus:
        yield "no guard watches: it goes up by the clock alone"


def _guard_lines(guard: Guard, *, has_others: bool) -> list[str]:
    style = _VERDICTS.get(guard.verdict, "key")
    metric = "" if guard.id in (guard.metric, f"{guard.metric}-latency") else f" ({guard.metric})"
    margin = f"; {format_percentage(100 * guard.margin)} more is tolerated" if guard.margin else ""
    consequence = _CONSEQUENCES.get(guard.action, guard.action).format(odds=odds(guard.threshold))
    times = "" if guard.ratio is None else f"   {guard.ratio:,.1f} times as many"
    lines = [
        f"[key]{escape(guard.id)}[/]  [{style}]{escape(guard.verdict)}[/]"
        f"  [quiet]users who {escape(_what_is_worse(guard) + metric)}[/]",
        f"  with the feature  {_arm(guard.treatment)}{times}",
        f"  without           {_arm(guard.control)}"
        if has_others
        else "  [quiet]everybody has it: nobody to compare with[/]",
        f"  evidence of harm  {odds(guard.e_value)}   [quiet]{consequence}{margin}[/]",
    ]
    if guard.of_nobody:
        lines.append(f"  [quiet]{plural(guard.of_nobody, 'more event')} of nobody in particular, on neither side[/]")
    return lines


def _what_is_worse(guard: Guard) -> str:
    if guard.kind != "latency":
        return "failed"
    if guard.slower_than_ms is None:
        usual = "" if guard.control_p95_ms is None else f", {guard.control_p95_ms:,.0f} ms until now"
        return f"waited longer than usual: this step learns what is usual{usual}"
    return f"waited more than {guard.slower_than_ms:,.0f} ms"


def _arm(arm: Arm) -> str:
    share = f"{arm.share:.2%}".replace("%", " %") if arm.exposed else ""
    return f"{arm.failed:>9,} of {arm.exposed:>9,}  {share:>8}"


def _check_lines(check: Check) -> list[str]:
    style = _VERDICTS.get(check.verdict, "key")
    value = "no answer" if check.value is None else f"{check.value:g}"
    limits = [f"at most {check.max:g}"] if check.max is not None else []
    limits += [f"at least {check.min:g}"] if check.min is not None else []
    beyond = f", beyond that {check.beyond} times in a row" if check.beyond else ""
    return [
        f"[key]{escape(check.id)}[/]  [{style}]{escape(check.verdict)}[/]  {value}"
        f"  [quiet]{' and '.join(limits)}{beyond}[/]",
        f"  [quiet]{escape(check.query)}[/]",
    ]


def show_ramp(session: Session, ramp: Ramp) -> None:
    """Write all about a ramp."""
    for line in ramp_lines(ramp):
        session.out.print(line)


def show_ramps(session: Session, ramps: Sequence[Ramp]) -> None:
    """A line a ramp."""
    made = table("FLAG", "ENVIRONMENT", "RAMP", "STEP", "BY")
    for ramp in ramps:
        made.add_row(
            f"[key]{escape(ramp.flag)}[/]",
            escape(ramp.environment),
            f"[{_STYLES.get(ramp.status, 'key')}]{escape(ramp.status.replace('_', ' '))}[/]",
            f"{ramp.step} of {len(ramp.plan.steps)}, {format_percentage(ramp.percentage)}",
            f"[quiet]{escape(ramp.created_by)}[/]",
        )
    session.out.print(made)


def show_preview(session: Session, flag: str, preview: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """What a plan comes to, before it starts."""
    out, traffic = session.out, preview["traffic"]
    out.print(
        f"[key]{escape(flag)}[/] would be released in [key]{escape(session.environment)}[/]"
        f" after {spelled(preview['seconds'])} at the earliest"
    )
    made = table("STEP", "TAKES", "WITH", "WITHOUT", "CATCHES")
    for step in preview["steps"]:
        made.add_row(
            format_percentage(step["percentage"]),
            spelled(step["seconds"]),
            _count(step["exposed"]),
            _count(step["others"]),
            _catch(step, traffic) if plan.get("guards") else "",
        )
    watched = preview["seconds"] - sum(step["seconds"] for step in preview["steps"])
    if watched >= 1:
        made.add_row("then", f"{spelled(watched)}", "", "", "[quiet]guards go on watching[/]")
    out.print(made)
    if plan.get("guards"):
        out.print(f"[quiet]{promise(preview['alpha'])}[/]")
        out.print(f"[quiet]{_basis(traffic)}[/]")
    elif not plan.get("prometheus"):
        out.print("[hint]no guard watches: it would go up by the clock alone[/]")
    out.print("[quiet]nothing is started yet[/]")


def _count(users: int | None) -> str:
    return "?" if users is None else f"{users:,}"


def _catch(step: Mapping[str, Any], traffic: Any) -> str:
    if step["percentage"] >= WHOLE:
        return "[quiet]nobody to compare with[/]"
    if traffic is None:
        return "?"
    lift = step["smallest_lift"]
    return "[hint]nothing: too few users[/]" if lift is None else f"{lift:.1f} times as many failures, or more"


def _basis(traffic: Any) -> str:
    if traffic is None:
        return "how many users come is not known: say --users-per-hour and --failing, or let one ramp count them"
    verb = "counted by the last ramp" if traffic["is_measured"] else "assumed"
    failing = f"{traffic['failing']:.2%}".replace("%", " %")
    return f"{verb}: {traffic['users_per_hour']:,.0f} users an hour, of whom {failing} fail"
