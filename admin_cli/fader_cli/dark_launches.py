"""What became of a flag's dark launches, in words."""

from collections.abc import Mapping
from typing import Any


def dark_launch_sentences(usage: Mapping[str, Any], environment: str) -> list[str]:
    """What a flag's ``usage`` tells of dark launches in an environment: nothing, or one sentence."""
    return [_sentence(one) for one in usage.get("dark_launches", ()) if one["environment"] == environment]


def _sentence(launch: Mapping[str, Any]) -> str:
    compared = launch["compared"]
    parts = [f"dark launch in 24 h: {_share(launch['mismatched'], compared)} of {compared:,} answers differ"]
    parts.append(f"the candidate raised in {_share(launch['candidate_raised'], compared)}")
    if launch["control_raised"]:
        parts.append(f"the control alone in {_share(launch['control_raised'], compared)}")
    control, candidate = launch["control_ms"], launch["candidate_ms"]
    if control and candidate is not None:
        parts.append(f"it takes {candidate / control:.2f} times as long ({candidate:,.2f} ms, and not {control:,.2f})")
    if launch["dropped"]:
        parts.append(f"{launch['dropped']:,} did not run, for too many others did")
    return ", ".join(parts)


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.2%})" if count else "none"
