"""The events that lead Unleash's SDKs from one version to another."""

import gc
import json
import re
import weakref
from datetime import datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fader.model import Flag, Prerequisite, Rule, Segment, Snapshot
from fader_server.api.unleash.encoding import UnleashEncoding
from fader_server.api.unleash.tags import FORM, is_ahead, tag_of, version_held, version_of
from fader_server.api.unleash.views import View, Views
from fader_server.distribution.events import Version

ON = Flag(key="a", enabled=True)
STAFF = Segment(key="staff", id=7, targeting_keys=("ada",))


class Scene:
    """An environment that changes, and a view of it. Implements :class:`fader_server.distribution.encoding.Served`."""

    changed_at: datetime | None = None

    def __init__(self, *flags: Flag, segments: tuple[Segment, ...] = (), revision: int = 5) -> None:
        self.snapshot = Snapshot(project="p", environment="e", epoch="one", revision=revision)
        self.version = Version("one", revision)
        self.serves(*flags, segments=segments, revision=revision)
        self.view = View(self)
        self.encoding = UnleashEncoding(self, self.view)
        self.view.current()

    def after(self, since: Version) -> None:
        return None

    def serves(
        self, *flags: Flag, segments: tuple[Segment, ...] = (), revision: int | None = None, epoch: str = "one"
    ) -> None:
        """From now on, there are these, and at the next revision unless told otherwise."""
        self.snapshot = replace(
            self.snapshot,
            epoch=epoch,
            revision=self.snapshot.revision + 1 if revision is None else revision,
            flags={flag.key: flag for flag in flags},
            segments={segment.key: segment for segment in segments},
        )
        self.version = Version(epoch, self.snapshot.revision)

    def since(self, revision: int, epoch: str = "one") -> list[Any]:
        events = self.view.events_since(Version(epoch, revision))
        return list(msgspec.json.decode(msgspec.json.encode(events)))

    def told(self, revision: int) -> list[str]:
        """The same, in short."""
        return [_short(event) for event in self.since(revision)]


def _short(event: Any) -> str:
    about = event.get("feature", {}).get("name") or event.get("featureName") or event.get("segmentId")
    about = about or event.get("segment", {}).get("id")
    return event["type"] if about is None else f"{event['type']} {about}"


def flag(key: str, *segments: str, enabled: bool = True, **more: Any) -> Flag:
    return Flag(key=key, enabled=enabled, rules=(Rule(segments=segments),) if segments else (), **more)


def test_who_has_nothing_or_something_else_gets_everything() -> None:
    scene = Scene(flag("b"), flag("a", "staff"), segments=(STAFF,))
    for held in (None, Version("two", 5), Version("one", 4)):
        [event] = msgspec.json.decode(msgspec.json.encode(scene.view.events_since(held)))
        assert (event["type"], event["eventId"]) == ("hydration", 5)
        assert [feature["name"] for feature in event["features"]] == ["a", "b"]
        assert [segment["id"] for segment in event["segments"]] == [7]


def test_who_has_it_or_more_gets_nothing() -> None:
    scene = Scene(ON)
    assert scene.since(5) == []
    assert scene.since(9) == [], "another server was further; this one will come to it"


def test_a_change_is_as_large_as_what_has_changed() -> None:
    flags = [flag(f"f{number:03}") for number in range(100)]
    scene = Scene(*flags)
    scene.serves(*flags[:50], flag("f050", enabled=False), *flags[51:])
    assert scene.told(5) == ["feature-updated f050"]
    scene.serves(*flags[1:50], *flags[51:])
    assert scene.told(6) == ["feature-removed f000", "feature-removed f050"]
    assert scene.told(5) == ["feature-removed f000", "feature-removed f050"]
    assert {event["eventId"] for event in scene.since(5)} == {7}


def test_a_segment_changes_without_the_flags_that_ask_for_it() -> None:
    flags = [flag(f"f{number}", "staff") for number in range(10)]
    scene = Scene(*flags, segments=(STAFF,))
    scene.serves(*flags, segments=(replace(STAFF, targeting_keys=("ada", "grace")),))
    [event] = scene.since(5)
    assert event["segment"]["constraints"][0]["values"] == ["ada", "grace"]


def test_segments_come_before_the_flags_that_ask_for_them_and_go_after() -> None:
    scene = Scene(flag("a"))
    scene.serves(flag("a", "staff"), segments=(STAFF,))
    assert scene.told(5) == ["segment-updated 7", "feature-updated a"]
    scene.serves(flag("a"))
    assert scene.told(6) == ["feature-updated a", "segment-removed 7"]


def test_what_a_change_does_to_other_flags_is_told_as_well() -> None:
    parent, child = flag("parent"), flag("child", prerequisites=(Prerequisite(flag="parent"),))
    scene = Scene(parent, child)
    scene.serves(replace(parent, prerequisites=(Prerequisite(flag="child", enabled=False),)), child)
    told = scene.told(5)
    assert "feature-updated parent" in told
    scene.serves(child)
    assert "feature-removed parent" in scene.told(6)


def test_a_restored_database_is_followed() -> None:
    scene = Scene(ON, revision=50)
    scene.serves(replace(ON, enabled=False), revision=3, epoch="two")
    [event] = scene.since(50)
    assert (event["type"], event["eventId"], event["features"][0]["enabled"]) == ("hydration", 3, False)
    scene.serves(ON, epoch="two")
    [event] = scene.since(3, epoch="two")
    assert event["type"] == "feature-updated"


def test_some_features() -> None:
    scene = Scene(flag("a"), flag("b"))
    scene.serves(flag("a", enabled=False), flag("b", enabled=False))
    events = scene.view.events_since(Version("one", 5), frozenset({"b"}))
    assert [_short(event) for event in msgspec.json.decode(msgspec.json.encode(events))] == [
        "feature-removed a",
        "feature-updated b",
    ]


def test_a_view_is_there_for_as_long_as_its_environment() -> None:
    views, scene = Views(), Scene(ON)
    view = weakref.ref(views.of(scene))
    assert views.of(scene) is view()
    del scene
    gc.collect()
    assert view() is None


# On streams.


def message(delivery: Any) -> tuple[dict[str, str], Any]:
    lines = delivery.message["body"].decode().rstrip("\n").split("\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return fields, json.loads(fields.pop("data"))


def test_a_stream_begins_with_a_message_in_any_case() -> None:
    scene = Scene(ON)
    fields, data = message(scene.encoding.beginning(None))
    assert fields == {"id": f"one-5.{FORM}", "event": "unleash-connected"}
    assert [event["type"] for event in data["events"]] == ["hydration"]
    fields, data = message(scene.encoding.beginning(Version("one", 5)))
    assert fields == {"event": "unleash-connected"}, "whoever has more should say so again"
    assert data == {"events": []}


def test_everything_is_encoded_once_for_all_who_need_it() -> None:
    scene = Scene(ON)
    first = scene.encoding.beginning(None)
    assert scene.encoding.beginning(Version("two", 9)) is first
    scene.serves(replace(ON, enabled=False))
    assert scene.encoding.beginning(None) is not first


def test_a_stream_goes_on_with_what_has_changed() -> None:
    scene = Scene(ON)
    scene.serves(replace(ON, enabled=False))
    way = scene.encoding.way(Version("one", 5))
    fields, data = message(way)
    assert way.leads_to == Version("one", 6)
    assert way.event == "change"
    assert fields == {"id": f"one-6.{FORM}", "event": "unleash-updated"}
    assert [event["type"] for event in data["events"]] == ["feature-updated"]


def test_a_change_that_unleash_does_not_see_still_brings_its_version() -> None:
    scene = Scene(ON)
    scene.serves(ON)
    fields, data = message(scene.encoding.way(Version("one", 5)))
    assert fields["id"] == f"one-6.{FORM}"
    assert data == {"events": []}


# Tags.


def test_tags_are_read_back() -> None:
    version = Version("0abc", 17)
    assert version_of(tag_of(version)) == version
    assert version_of(tag_of(version, "q"), "q") == version
    assert version_held(f'W/"{tag_of(version, "q")}"'.encode(), "q") == version


@pytest.mark.parametrize("tag", ["", "17", "0abc-17", "0abc-17.00000000", f"0abc-17.{FORM}.other", "\xff", "*"])
def test_tags_of_others_say_nothing(tag: str) -> None:
    assert version_of(tag) is None
    assert version_held(tag.encode("latin-1")) is None


def test_only_a_later_revision_of_the_same_epoch_is_ahead() -> None:
    here = Version("one", 5)
    assert is_ahead(Version("one", 6), here)
    assert not any(is_ahead(held, here) for held in (None, here, Version("one", 4), Version("two", 6)))


def test_the_form_is_that_of_the_code() -> None:
    assert re.fullmatch("[0-9a-f]{8}", FORM)
    assert version_of(f"0abc-17.{'0' * 8}") is None, "of a server that translates otherwise"
