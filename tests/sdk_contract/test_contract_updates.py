"""Which snapshots and changes a client follows, and which it leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest

from sdk_contract.answers import stream
from sdk_contract.documents import (
    OTHER_EPOCH,
    Document,
    change,
    change_event,
    flag,
    flag_for_segment,
    flag_with_value,
    segment,
    snapshot,
    snapshot_event,
)
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient

Connect = Callable[..., SdkClient]

HELD = 10
START = snapshot(
    HELD, flag("kept"), flag_for_segment("for-members", "members"), segments=(segment("members", "user-1"),)
)


@pytest.fixture
def client(server: ScriptedServer, connect: Connect) -> SdkClient:
    """A client that holds START and listens."""
    server.script("stream", stream(snapshot_event(START), then_live=True))
    client = connect()
    client.follows(HELD)
    return client


DARK = flag("kept", False)
NEWS: dict[str, tuple[dict[str, Any], Callable[[SdkClient], bool]]] = {
    "a flag changed": ({"flags": {"kept": DARK}}, lambda client: not client.is_enabled("kept")),
    "a flag deleted": ({"flags": {"kept": None}}, lambda client: client.evaluate("kept")["error_code"] ==
    "FLAG_NOT_FOUND"), "an unknown flag": ({"flags": {"new": flag("new")}}, lambda client:
    client.is_enabled("new")), "an unknown flag deleted": ({"flags": {"ghost": None}}, lambda client:
    client.is_enabled("kept")), "a segment changed": ({"segments": {"members": segment("members", "user-2")}},
    lambda client: client.is_enabled("for-members", "user-2")), "a segment deleted": ({"segments": {"members":
    None}}, lambda client: not client.is_enabled("for-members", "user-1")), "an unknown segment":
    ({"segments": {"others": segment("others", "user-2")}, "flags": {"kept": flag_for_segment("kept",
    "others")}}, lambda client: client.is_enabled("kept", "user-2")), "an unknown segment deleted":
    ({"segments": {"ghost": None}}, lambda client: client.is_enabled("for-members", "user-1")),
}  # fmt: skip


@pytest.mark.parametrize("what", NEWS)
def test_change_to_a_higher_revision_is_applied(server: ScriptedServer, client: SdkClient, what: str) -> None:
    news, is_seen = NEWS[what]
    server.push(change_event(change(HELD, HELD + 1, **news)))
    client.follows(HELD + 1)
    assert is_seen(client)
    assert len(server.asked("stream")) == 1


@pytest.mark.parametrize("revision", [HELD, HELD - 1, 1])
@pytest.mark.parametrize("what", [what for what in NEWS if "unknown" not in what])
def test_change_to_the_same_or_a_lower_revision_is_ignored(
    server: ScriptedServer, client: SdkClient, what: str, revision: int
) -> None:
    news, is_seen = NEWS[what]
    server.push(change_event(change(revision - 1, revision, **news)))
    # The next change shows that the client has read the stale one, and that it has stayed on the stream.
    server.push(change_event(change(HELD, HELD + 1, {"after": flag("after")})))
    client.follows(HELD + 1)
    assert client.is_enabled("after")
    assert not is_seen(client)
    assert len(server.asked("stream")) == 1


@pytest.mark.parametrize("revision", [HELD - 1, 0])
def test_snapshot_of_a_lower_revision_is_ignored(server: ScriptedServer, client: SdkClient, revision: int) -> None:
    server.push(snapshot_event(snapshot(revision, flag("kept", False))))
    server.push(change_event(change(HELD, HELD + 1, {"after": flag("after")})))
    client.follows(HELD + 1)
    assert client.is_enabled("kept")


def test_snapshot_of_a_higher_revision_replaces_everything(server: ScriptedServer, client: SdkClient) -> None:
    server.push(snapshot_event(snapshot(HELD + 5, flag("new"))))
    client.follows(HELD + 5)
    assert client.is_enabled("new")
    assert client.evaluate("kept")["error_code"] == "FLAG_NOT_FOUND"


def test_change_that_covers_several_revisions_is_applied(server: ScriptedServer, client: SdkClient) -> None:
    server.push(change_event(change(HELD - 3, HELD + 4, {"kept": flag("kept", False)})))
    client.follows(HELD + 4)
    assert not client.is_enabled("kept")


def test_gap_in_revisions_is_closed_by_asking_again_from_the_revision_held(
    server: ScriptedServer, client: SdkClient
) -> None:
    server.world.revision = HELD + 3
    server.world.flags = {"missed": flag("missed")}
    server.push(change_event(change(HELD + 2, HELD + 3, {"kept": flag("kept", False)})))
    client.follows(HELD + 3)
    assert client.is_enabled("missed")
    assert server.wait_for("stream", 2)[1].since in (None, f"0123abcd-{HELD}")


def test_change_of_another_epoch_makes_the_client_ask_without_a_version(
    server: ScriptedServer, client: SdkClient
) -> None:
    server.world.begin_epoch(OTHER_EPOCH, revision=3)
    server.world.flags = {"restored": flag("restored")}
    server.push(change_event(change(2, 3, {"kept": flag("kept", False)}, epoch=OTHER_EPOCH)))
    client.follows(3)
    assert client.is_enabled("restored")
    assert server.wait_for("stream", 2)[1].since is None


def test_snapshot_of_another_epoch_is_followed_to_a_lower_revision(server: ScriptedServer, client: SdkClient) -> None:
    server.push(snapshot_event(snapshot(2, flag("restored"), epoch=OTHER_EPOCH)))
    client.follows(2)
    assert client.is_enabled("restored")
    server.push(change_event(change(2, 3, {"next": flag("next")}, epoch=OTHER_EPOCH)))
    client.follows(3)
    assert client.is_enabled("next")


def test_resuming_after_a_break_brings_what_was_missed(server: ScriptedServer, connect: Connect) -> None:
    client = connect()
    client.wait()
    server.end_streams()
    for turn in range(20):
        server.change(flag("lit", bool(turn % 2)), flag(f"made-{turn}"))
    client.follows(21)
    assert client.is_enabled("lit")
    assert client.is_enabled("made-0")


VALUES: list[Any] = [
    "text",
    0,
    1.5,
    {"nested": [1, {"deep": None}]},
    [1, 2],
    "",
    "caf\u00e9 \u2603 \U0001f39a",
]


@pytest.mark.parametrize("value", VALUES)
def test_values_arrive_as_they_were_sent(server: ScriptedServer, connect: Connect, value: Any) -> None:
    server.world.flags["valued"] = flag_with_value("valued", value)
    client = connect()
    client.wait()
    assert client.evaluate("valued")["value"] == value
    assert client.evaluate("valued")["variant"] == "served"


def with_everything_newer(document: Document) -> Document:
    document["flags"]["lit"] |= {
        "rules": [{"id": "r", "constraints": [{"attribute": "a", "operator": "from_the_future", "values": ["x"]}]}],
        "future": {"deep": [1]},
    }
    return document | {"future": True, "experiments": {"e": {"key": "e"}}}


def test_fields_and_operators_of_a_newer_server_are_no_reason_to_refuse_its_data(
    server: ScriptedServer, connect: Connect
) -> None:
    newer = with_everything_newer(snapshot(7, flag("lit"), flag("plain")))
    server.script("stream", stream(snapshot_event(newer), then_live=True))
    client = connect()
    client.follows(7)
    assert client.is_enabled("plain")
    # An operator that the SDK does not know is false, never true.
    assert not client.is_enabled("lit")


@pytest.mark.parametrize("size", [1_000_000, 8_000_000])
def test_large_snapshots_arrive_whole(server: ScriptedServer, connect: Connect, size: int) -> None:
    members = [f"user-{number:08}" for number in range(size // 16)]
    server.world.flags["big"] = flag_for_segment("big", "big")
    server.world.segments["big"] = segment("big", *members)
    client = connect()
    client.follows(1)
    assert client.is_enabled("big", members[-1])
    assert not client.is_enabled("big", "stranger")
