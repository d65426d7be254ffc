"""What a real server of Unleash's (8.1) has exported, and sent to an SDK, of the same flags."""

import json
from pathlib import Path
from typing import Any

import pytest

from fader.context import Context
from fader.model import Snapshot
from fader.snapshot import FlagSet
from fader_server.imports.unleash import wanted
from fader_server.imports.wanted import Wanted

WRITTEN = json.loads(Path(__file__).with_name("written_by_unleash.json").read_text("utf-8"))
CONTEXTS: list[dict[str, Any]] = [
    {"company": company, "city": city, "app": app, "current_time": time}
    for company in ("a", "b", "c", "d", "e", "f", "g", "h")
    for city in ("Berlin", "Bonn")
    for app in ("batch", "shop")
    for time in ("2025-06-01T00:00:00Z", "2026-06-01T00:00:00Z")
]


def read(document: dict[str, Any]) -> Wanted:
    found = wanted(document, "development")
    things = (*found.flags, *found.segments)
    assert {note.severity for one in things for note in one.notes} <= {"remark"}
    return found


def flags(found: Wanted) -> FlagSet:
    return FlagSet(
        Snapshot(
            project="p",
            environment="development",
            epoch="00000000",
            revision=1,
            flags={one.flag.key: one.flag for one in found.flags},
            segments={one.key: one.segment for one in found.segments if one.segment is not None},
        )
    )


@pytest.fixture(scope="module")
def exported() -> Wanted:
    """The export, with what ``GET /api/admin/segments`` says of the segments that it only names."""
    return read(WRITTEN["export"] | WRITTEN["segments"])


def test_an_export_is_what_sdks_are_sent(exported: Wanted) -> None:
    ours, theirs = flags(exported), flags(read(WRITTEN["client"]))
    answers = set()
    for number, attributes in enumerate(CONTEXTS):
        context = Context(f"user-{number}", **attributes)
        for flag in ("checkout", "colours", "search"):
            one, other = ours.details(flag, context, None), theirs.details(flag, context, None)
            assert (one.enabled, one.variant, one.value) == (other.enabled, other.variant, other.value)
            answers.add((flag, one.variant))
    assert answers == {
        ("checkout", "on"), ("checkout", "off"), ("colours", "red"), ("colours", "blue"), ("search", "on"),
    }  # fmt: skip


def test_what_people_see_is_in_the_export(exported: Wanted) -> None:
    [checkout] = [one for one in exported.flags if one.flag.key == "checkout"]
    assert (checkout.description, checkout.kind, checkout.tags) == ("About checkout", "ops", ("simple:shop",))
    assert [rule.description for rule in checkout.flag.rules] == ["A quarter", ""]
    [segment] = exported.segments
    assert segment.key == "Berlin-users"


def test_an_export_only_names_segments() -> None:
    [segment] = wanted(WRITTEN["export"], "development").segments
    assert (segment.key, segment.segment) == ("Berlin-users", None)
