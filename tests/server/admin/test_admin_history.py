"""The history: what each change tells, in pages and as a stream."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import urllib3

from admin_server import ADMIN_TOKEN, AdminClient, AdminServer, running_admin_server
from fader_server.api.admin.following import followed_changes
from fader_server.api.admin.services import AdminServices
from fader_server.bus.in_process import InProcessBus
from fader_server.storage import Store


class EventStream:
    """A stream of Server-Sent Events, read line by line."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.headers = response.headers
        self._lines = self._read_lines(response)

    @staticmethod
    def _read_lines(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
        held = b""
        while part := response.read1(65536):
            *lines, held = (held + part).split(b"\n")
            yield from (line.decode() for line in lines)

    def next_block(self) -> dict[str, str]:
        """The next event or comment (under the name ``comment``)."""
        block: dict[str, str] = {}
        for line in self._lines:
            if not line and block:
                return block
            name, _, value = line.partition(": ") if not line.startswith(":") else ("comment", "", line[1:].strip())
            block[name] = value
        raise EOFError

    def next_event(self) -> dict[str, str]:
        while "event" not in (block := self.next_block()):
            pass
        return block


@contextmanager
def following(url: str, query: str = "", token: str = ADMIN_TOKEN, **headers: str) -> Iterator[EventStream]:
    with urllib3.PoolManager(retries=False) as pool:
        response = pool.request(
            "GET",
            f"{url}/api/v1/changes/stream{query}",
            headers={"Authorization": f"Bearer {token}"} | headers,
            preload_content=False,
            timeout=20,
        )
        assert response.status == 200
        stream = EventStream(response)
        assert stream.next_block() == {"comment": "follows changes"}
        yield stream
        response.close()


def _change(event: dict[str, str]) -> Any:
    assert event["event"] == "change"
    change = json.loads(event["data"])
    assert event["id"] == str(change["id"])
    return change


def test_a_change_tells_who_did_what_and_why(admin: AdminClient, project: str) -> None:
    admin.post(f"/projects/{project}/flags", {"key": "a", "reason": "new"})
    admin.post(f"/projects/{project}/flags/a/environments/production/on", {"percentage": 5, "reason": "INC-1"})
    newest, *_ = admin.get(f"/projects/{project}/changes").body["items"]
    before, after = newest.pop("before"), newest.pop("after")
    assert newest.pop("at").endswith("Z")
    assert newest.pop("id") > 0
    assert newest == {
        "project": project,
        "environment": "production",
        "revision": 3,
        "kind": "flag",
        "key": "a",
        "action": "on",
        "actor": "initial",
        "reason": "INC-1",
        "propagation": None,
    }
    assert (before["enabled"], before["rules"]) == (False, [])
    assert (after["enabled"], after["rules"][0]["rollout"]) == (True, {"percentage": 5.0})
    assert {key for key in before if before[key] != after[key]} == {"enabled", "rules"}


def test_every_action_has_its_name(admin: AdminClient, project: str) -> None:
    flags = f"/projects/{project}/flags"
    place = f"{flags}/a/environments/production"
    admin.post(f"/projects/{project}/segments", {"key": "s"})
    admin.put(f"/projects/{project}/segments/s", {"description": "x"})
    admin.delete(f"/projects/{project}/segments/s")
    admin.post(flags, {"key": "a"})
    admin.post(f"{place}/on")
    admin.post(f"{place}/rollout", {"percentage": 1})
    admin.post(f"{place}/off")
    admin.post(f"{place}/undo")
    admin.post(f"{place}/rules", {"id": "r"})
    admin.put(place, {"enabled": False})
    admin.patch(f"{flags}/a", {"owner": "me"})
    admin.post(f"{flags}/a/archive")
    admin.post(f"{flags}/a/unarchive")
    admin.post(f"{flags}/a/archive")
    admin.delete(f"{flags}/a")
    told = [
        (change["kind"], change["action"])
        for change in reversed(admin.all(f"/projects/{project}/changes?environment=production"))
    ]
    assert told == [
        ("environment", "created"),
        *[("segment", action) for action in ("created", "updated", "deleted")],
        *[("flag", action) for action in ("created", "on", "rollout", "off", "undo", "rules", "configured")],
        *[("flag", action) for action in ("updated", "archived", "unarchived", "archived", "deleted")],
    ]
    revisions = [change["revision"] for change in admin.all(f"/projects/{project}/changes?environment=production")]
    assert revisions == list(range(len(told), 0, -1))


def test_changes_are_filtered_and_come_in_pages(admin: AdminClient, project: str) -> None:
    changes = f"/projects/{project}/changes"
    for key in ("a", "b"):
        admin.post(f"/projects/{project}/flags", {"key": key})
    admin.post(f"/projects/{project}/segments", {"key": "a"})
    assert {change["key"] for change in admin.all(f"{changes}?flag=a")} == {"a"}
    assert {change["kind"] for change in admin.all(f"{changes}?flag=a")} == {"flag"}
    assert {change["kind"] for change in admin.all(f"{changes}?segment=a")} == {"segment"}
    assert {change["environment"] for change in admin.all(f"{changes}?environment=staging")} == {"staging"}
    pages, cursor = [], ""
    while True:
        page = admin.get(f"{changes}?limit=5{cursor}").body
        pages += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == admin.all(changes)
    assert [change["id"] for change in pages] == sorted((change["id"] for change in pages), reverse=True)
    assert admin.get(f"{changes}?flag=a&segment=a").status == 422
    assert admin.get(f"{changes}?cursor=x").body["field"] == "cursor"


def test_changes_are_streamed_as_they_happen(server: AdminServer, admin: AdminClient, project: str) -> None:
    admin.post(f"/projects/{project}/flags", {"key": "a"})
    with following(server.url, f"?project={project}&environment=production") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["Cache-Control"] == "no-cache, no-transform"
        admin.post(f"/projects/{project}/flags/a/environments/staging/on")
        admin.post("/projects/default/flags", {"key": f"other-{project}"})
        admin.post(f"/projects/{project}/flags/a/environments/production/on", {"reason": "go"})
        change = _change(stream.next_event())
        assert (change["environment"], change["key"], change["action"], change["reason"]) == (
            "production",
            "a",
            "on",
            "go",
        )
        admin.post(f"/projects/{project}/flags/a/environments/production/off")
        assert _change(stream.next_event())["action"] == "off"
    listed = admin.get(f"/projects/{project}/changes?environment=production&limit=1").body["items"]
    assert listed[0]["action"] == "off"


def test_a_stream_resumes_where_it_was(server: AdminServer, admin: AdminClient, project: str) -> None:
    admin.post(f"/projects/{project}/flags", {"key": "a"})
    [seen] = admin.get(f"/projects/{project}/changes?environment=production&limit=1").body["items"]
    for _ in range(60):
        admin.post(f"/projects/{project}/flags/a/environments/production/on")
        admin.post(f"/projects/{project}/flags/a/environments/production/off")
    with following(server.url, f"?project={project}", **{"Last-Event-ID": str(seen["id"])}) as stream:
        missed = [_change(stream.next_event()) for _ in range(121)]
        admin.post(f"/projects/{project}/flags/a/environments/production/on")
        missed.append(_change(stream.next_event()))
    assert [change["revision"] for change in missed if change["environment"] == "production"] == list(
        range(seen["revision"] + 1, seen["revision"] + 122)
    )
    assert [change["key"] for change in missed if change["environment"] == "staging"] == ["a"]


def test_a_quiet_stream_shows_that_it_lives(server: AdminServer) -> None:
    with following(server.url) as stream:
        assert stream.next_block() == {"comment": "heartbeat"}


@contextmanager
def busy(admin: AdminClient, project: str) -> Iterator[None]:
    """Something changes in a project, many times in each interval between heartbeats."""
    admin.post(f"/projects/{project}/flags", {"key": "busy"})
    enough = threading.Event()

    def write() -> None:
        writer = admin.as_token(ADMIN_TOKEN)
        while not enough.is_set():
            for verb in ("on", "off"):
                writer.post(f"/projects/{project}/flags/busy/environments/production/{verb}")
        writer.close()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        enough.set()
        writing.join()


def test_a_stream_shows_that_it_lives_however_busy_others_are(
    server: AdminServer, admin: AdminClient, project: str
) -> None:
    """What happens elsewhere is heard by its server, and not by its reader."""
    with busy(admin, project), following(server.url, "?project=default") as stream:
        for _ in range(3):
            assert stream.next_block() == {"comment": "heartbeat"}


def test_a_busy_stream_ends_with_its_token_too(server: AdminServer, admin: AdminClient, project: str) -> None:
    token = admin.post("/tokens", {"name": "short", "role": "viewer"}).body
    with busy(admin, project), following(server.url, token=token["secret"]) as stream:
        assert stream.next_event()["event"] == "change"
        admin.delete(f"/tokens/{token['id']}")
        while stream.next_event()["event"] != "goodbye":
            pass


def test_a_stream_shows_only_what_its_token_may_see(server: AdminServer, admin: AdminClient, project: str) -> None:
    limited = {"name": "staging only", "role": "viewer", "environments": ["staging"], "projects": [project]}
    token = admin.post("/tokens", limited).body["secret"]
    with following(server.url, token=token) as stream:
        admin.post(f"/projects/{project}/flags", {"key": "a"})
        admin.post(f"/projects/{project}/flags/a/environments/production/on")
        admin.post(f"/projects/{project}/flags/a/environments/staging/on")
        told = [_change(stream.next_event()) for _ in range(2)]
    assert [(change["environment"], change["action"]) for change in told] == [("staging", "created"), ("staging", "on")]
    refused = admin.as_token(token)
    assert refused.get("/changes/stream?project=default").status == 403
    assert refused.get("/changes/stream?environment=production").status == 403


def test_a_stream_ends_with_its_token(server: AdminServer, admin: AdminClient) -> None:
    token = admin.post("/tokens", {"name": "short", "role": "viewer"}).body
    with following(server.url, token=token["secret"]) as stream:
        admin.delete(f"/tokens/{token['id']}")
        assert stream.next_event()["event"] == "goodbye"
        with pytest.raises(EOFError):
            stream.next_event()


def test_a_server_that_stops_says_goodbye(tmp_path: Path) -> None:
    with running_admin_server(tmp_path) as server:
        stopping = following(server.url)
        stream = stopping.__enter__()
    assert stream.next_event() == {"event": "goodbye", "retry": "1000", "data": "{}"}
    with pytest.raises(EOFError):
        stream.next_event()
    stopping.__exit__(None, None, None)


@pytest.mark.parametrize("number", ["-1", "x", "9" * 30, "1.5"])
def test_a_wrong_place_to_resume_at_is_refused(admin: AdminClient, number: str) -> None:
    refused = admin.send("GET", "/changes/stream", headers={"Last-Event-ID": number})
    assert (refused.status, refused.body["field"]) == (422, "Last-Event-ID")


def test_a_stream_ends_in_good_order_when_the_database_goes_away(tmp_path: Path) -> None:
    """It can go on where it was, so it is no error. (A store that was never opened is one whose database is away.)"""

    async def run() -> list[bytes]:
        store = Store(f"sqlite:///{tmp_path}/fader.db")
        admin = cast("AdminServices", SimpleNamespace(bus=InProcessBus(), store=store, heartbeat_seconds=1.0))

        async def may_stay() -> bool:
            return True

        found = [event async for event in followed_changes(admin, 5, lambda _: True, may_stay)]
        await store.close()
        return found

    assert [event.partition(b"\n")[0] for event in asyncio.run(run())] == [b": follows changes", b"event: goodbye"]
