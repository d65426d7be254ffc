"""What becomes of an environment in a foreign format: a document, and what is to be known of each flag."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from fader_server.imports.wanted import Acceptable, refusals
from fader_server.unleash.notes import Note


class Exported(Struct, frozen=True, kw_only=True):
    """A document without the flags that were refused, and the notes on all. ``refused`` are those that were.
    ``segments`` is a second document, where the format of the first has no place for their constraints."""

    document: dict[str, Any]
    segments: dict[str, Any] | None = None
    notes: Mapping[str, tuple[Note, ...]]
    refused: Mapping[str, tuple[Note, ...]]


def refused_of(
    notes: Mapping[str, tuple[Note, ...]], needed: Mapping[str, Iterable[str]], accepted: frozenset[Acceptable]
) -> dict[str, tuple[Note, ...]]:
    """The flags that are not to be in a document, each with the reasons.

    Args:
        notes: On each flag.
        needed: The flags that each flag needs; without one of them it would mean something else.
        accepted: What may be in it although it is not exact.
    """
    refused = {key: found for key, written in notes.items() if (found := refusals(written, accepted))}
    users: dict[str, list[str]] = {}
    for key, others in needed.items():
        for other in others:
            users.setdefault(other, []).append(key)
    to_follow = list(refused)
    while to_follow:
        key = to_follow.pop()
        for user in users.get(key, ()):
            if user not in refused:
                refused[user] = (Note("prerequisites", f"flag {key!r} is refused"),)
                to_follow.append(user)
    return refused
