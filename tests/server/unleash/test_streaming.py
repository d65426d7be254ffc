"""Unleash's streams over real sockets."""

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from processes import ServerProcess, running_server, wait_for
from raw_stream import RawStream

SPEC = {"Unleash-Client-Spec": "5.2.0"}
_ID = re.compile(rb"^id: (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("unleash-streams")
    with running_server(
        folder, FADER_HEARTBEAT_SECONDS="0.2", FADER_POLL_SECONDS="0.5", FADER_MAX_STREAMS_PER_KEY="5"
    ) as server:
        yield server


@pytest.fixture
def flag(server: ServerProcess) -> str:
    """One that is served as being off."""
    key = f"flag-{uuid.uuid4().hex[:8]}"
    server.admin.create_flag(key)
    wait_for(lambda: key in features(server), "the flag to be served")
    return key


def features(server: ServerProcess) -> list[str]:
    headers = {"Authorization": server.sdk_key(), **SPEC}
    answer = urllib3.request("GET", f"{server.url}/api/client/features", headers=headers, retries=False)
    return [feature["name"] for feature in answer.json()["features"]]


class UnleashStream(RawStream):
    """One that remembers where it is."""

    last_id = ""

    def __init__(self, server: ServerProcess, *, key: str | None = None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(server, named | SPEC, path="/api/client/streaming", key=key)

    def chunk(self) -> bytes:
        body = super().chunk()
        for found in _ID.findall(body):
            self.last_id = found.decode()
        return body

    def events(self) -> tuple[str, list[Any]]:
        """The next message: its name, and the events in it."""
        name, data = self.event()
        return name, data["events"]

    def until(self, kind: str, name: str) -> Any:
        """The next event of a kind that is about a flag."""
        while True:
            for event in self.events()[1]:
                about = event.get("featureName") or event.get("feature", {}).get("name")
                if (event["type"], about) == (kind, name):
                    return event

    def read_to_the_end(self) -> list[tuple[str, Any]]:
        with contextlib.suppress(EOFError):
            while not self.is_over:
                self.chunk()
        return self._events


@pytest.fixture
def opened(server: ServerProcess) -> Iterator[Callable[..., UnleashStream]]:
    streams: list[UnleashStream] = []

    def open_stream(**named: Any) -> UnleashStream:
        streams.append(UnleashStream(server, **named))
        return streams[-1]

    yield open_stream
    for stream in streams:
        stream.close()


Opened = Callable[..., UnleashStream]


def test_a_stream_begins_with_everything_and_follows(server: ServerProcess, flag: str, opened: Opened) -> None:
    stream = opened()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["transfer-encoding"] == "chunked", "urllib3 sees nothing of others until they end"
    assert stream.headers["x-accel-buffering"] == "no"
    name, [hydration] = stream.events()
    assert (name, hydration["type"]) == ("unleash-connected", "hydration")
    assert flag in [feature["name"] for feature in hydration["features"]]

    server.admin.verb(flag, "on")
    name, [updated] = stream.events()
    assert (name, updated["type"]) == ("unleash-updated", "feature-updated")
    assert (updated["feature"]["name"], updated["feature"]["enabled"]) == (flag, True)
    assert updated["eventId"] == hydration["eventId"] + 1
    assert stream.last_id.partition(".")[0].endswith(f"-{updated['eventId']}")


def test_a_quiet_stream_lives(opened: Opened) -> None:
    stream = opened()
    stream.events()
    while stream.comments < 3:
        stream.chunk()


def test_who_comes_back_gets_what_was_missed(server: ServerProcess, flag: str, opened: Opened) -> None:
    first = opened()
    first.events()
    held = first.last_id
    assert opened(Last_Event_ID=held).events() == ("unleash-connected", [])

    server.admin.verb(flag, "on")
    first.until("feature-updated", flag)
    back = opened(Last_Event_ID=held)
    name, events = back.events()
    assert name == "unleash-connected"
    assert [(event["type"], event["feature"]["name"]) for event in events] == [("feature-updated", flag)]
    assert back.last_id == first.last_id


@pytest.mark.parametrize("held", ["1", "0-1", "nonsense", ""])
def test_who_comes_from_elsewhere_gets_everything(held: str, opened: Opened) -> None:
    _, [hydration] = opened(Last_Event_ID=held).events()
    assert hydration["type"] == "hydration"


def test_streams_of_one_environment_do_not_bother_others(server: ServerProcess, flag: str, opened: Opened) -> None:
    staging = opened(key=server.sdk_key("staging"))
    staging.events()
    server.admin.verb(flag, "on", environment="production")
    server.admin.verb(flag, "on", environment="staging")
    _, [event] = staging.events()
    assert event["feature"]["name"] == flag


def test_who_streams_is_listed_with_what_was_sent_last(server: ServerProcess, flag: str, opened: Opened) -> None:
    connection = uuid.uuid4().hex
    stream = opened(unleash_connection_id=connection, unleash_appname="shop", unleash_sdk="unleash-java-sdk:10.0.0")
    stream.events()

    def listed() -> Any:
        clients = server.admin.ok("GET", "/projects/default/environments/production/clients")["items"]
        return next((one for one in clients if one["instance"] == connection), None)

    revision = server.admin.verb(flag, "on")["revision"]
    wait_for(lambda: listed()["revision"] == revision, "its revision")
    assert (listed()["app"], listed()["sdk"], listed()["sdk_version"]) == ("shop", "unleash-java-sdk", "10.0.0")
    assert (listed()["transport"], listed()["state"]) == ("poll", "connected")
    # It cannot acknowledge, so nobody waits for it.
    path = f"/projects/default/environments/production/acknowledgements?revision={revision}"
    found = server.admin.ok("GET", path)
    assert (found["clients"], found["complete"]) == (0, True)
    assert found["polling"]["up_to_date"] >= 1


def test_a_stream_ends_when_its_key_is_revoked(server: ServerProcess, opened: Opened) -> None:
    body = {"name": "short-lived", "environment": "production"}
    key = server.admin.ok("POST", "/projects/default/keys", body)
    stream = opened(key=key["secret"])
    stream.events()
    server.admin.request("DELETE", f"/projects/default/keys/{key['id']}")
    assert stream.read_to_the_end() == []
    assert opened(key=key["secret"]).status == 401


def test_too_many_streams_are_told_to_poll(server: ServerProcess, opened: Opened) -> None:
    body = {"name": "many", "environment": "production"}
    key = server.admin.ok("POST", "/projects/default/keys", body)["secret"]
    streams = [opened(key=key) for _ in range(6)]
    # The SDK for Node takes this one for what it is, and polls.
    assert [stream.status for stream in streams] == [200] * 5 + [429]


def test_streams_outlive_a_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.admin.create_flag("checkout")
        first = UnleashStream(server)
        if first.events()[1][0]["features"] == []:
            first.until("feature-updated", "checkout")
        server.terminate()
        assert first.read_to_the_end() == [], "a planned end comes without a word that these SDKs would not know"
        server.start()
        # Nothing has changed, and so nothing comes.
        back = UnleashStream(server, Last_Event_ID=first.last_id)
        assert back.events() == ("unleash-connected", [])
        server.admin.verb("checkout", "on")
        assert back.until("feature-updated", "checkout")["feature"]["enabled"] is True
        first.close()
        back.close()
