"""What the history tells of ramps, in words."""

from collections.abc import Mapping
from typing import Any, Final

from fader_cli.percentages import format_percentage
from fader_cli.ramps import odds

_RAMP: Final = "ramp"
"""Who does what ramps do by themselves."""

_BY_PLAN: Final = frozenset({"running", "baking", "released"})

_HAPPENED: Final = {
    "started": "ramp started with {place}",
    "running": "ramp goes to {place}",
    "advanced": "ramp sent to {place}",
    "paused": "ramp paused in {place}",
    "resumed": "ramp resumed in {place}",
    "approved": "ramp approved of, in {place}",
    "held": "ramp held in {place}",
    "baking": "ramp done with all steps, guards go on watching",
    "released": "ramp released",
    "rolled_back": "ramp ROLLED BACK from {place}",
    "aborted": "ramp aborted in {place}",
}


def ramp_happening(change: Mapping[str, Any]) -> str:
    """What has become of a ramp, in a few words."""
    after = change["after"] or change["before"] or {}
    place = f"step {after.get('step')} of {after.get('steps')}, {format_percentage(after.get('percentage', 0.0))}"
    # Sent on from the last step it is baking, or released.
    action = change["action"]
    if action == "advanced" and after.get("status") != "running":
        action = after.get("status")
    return _HAPPENED.get(action, f"ramp {change['action']}, in {{place}}").format(place=place)


def ramp_reason(change: Mapping[str, Any]) -> str:
    """Why, unless that is what :func:`ramp_happening` says already."""
    is_plain = change["actor"] == _RAMP and change["action"] in _BY_PLAN
    return "" if is_plain else change["reason"]


def ramp_findings(change: Mapping[str, Any]) -> list[str]:
    """Why, and what its guards had found by then, a line each; marked as differences are."""
    after = change["after"] or {}
    found = [one for one in after.get("found", ()) if one["verdict"] == "worse" or one["e_value"] > 1]
    lines = [f"~ {_finding(one, change['reason'])}; evidence of harm {odds(one['e_value'])}" for one in found]
    why = after.get("why") or ""
    is_said = (
        why == change["reason"]
        or why.startswith(f"{change['action']} by {change['actor']}")
        or any(why == one["found"] for one in found)
    )
    return lines if is_said or not why else [f"~ {why}", *lines]


def _finding(found: Mapping[str, Any], reason: str) -> str:
    """What a guard has found; its name alone where the rest is said already, as the change's reason."""
    said: str = found["guard"] if found["found"] == reason else found["found"]
    return said
