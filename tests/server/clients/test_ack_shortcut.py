"""The shortcut for acknowledgements does what the whole way does, and leaves to it whatever is unusual."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar.types import ASGIApp

from fader_server.api.ack_shortcut import AckShortcut
from fader_server.app import create_app, create_asgi
from fader_server.clients import Gathering, Identity
from fader_server.clients.tally import shown
from fader_server.settings import read_settings

pytestmark = pytest.mark.anyio

KEY = "default:production.0123456789abcdef"
USUAL = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
ACK = {"instance": "one", "epoch": "e", "revision": 5}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Ways:
    """Both, into one application."""

    def __init__(self, app: Any, whole: ASGIApp, shortcut: AckShortcut) -> None:
        self._whole = whole
        self._shortcut = shortcut
        self.metrics = app.state.telemetry.metrics
        self.gathering: Gathering = app.state.sdk.gathering
        self.gathering.roster("default", "production").serves("e", 4)

    def short(self, body: bytes, headers: dict[str, str] = USUAL) -> bool:
        answer = self._shortcut.answer([(name.encode(), value.encode()) for name, value in headers.items()], body)
        assert answer is None or (answer.status, answer.fields, answer.body) == (204, b"", b"")
        return answer is not None

    async def whole(self, body: bytes, headers: dict[str, str] = USUAL) -> int:
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/sdk/v1/ack",
            "raw_path": b"/sdk/v1/ack",
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        statuses: list[int] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            statuses.append(message.get("status"))

        await self._whole(scope, receive, send)
        return statuses[0]

    def begin(self) -> None:
        """One client, that holds revision 4."""
        roster = self.gathering.roster("default", "production")
        roster.said_goodbye("one")
        roster.connected(Identity("one"), "e", 4, came_from="")

    def seen(self) -> tuple[int, str, str]:
        [client] = self.gathering.roster("default", "production").clients()
        told = shown(client)
        return told.revision, told.state, told.error

    async def counted(self) -> list[float]:
        text = (await self.metrics.exposition(""))[0].decode()
        names = ('route="/sdk/v1/ack",status="204"', 'acknowledgements_total{outcome="')
        lines = [line for line in text.splitlines() if any(name in line for name in names) and "_total{" in line]
        return [float(line.rpartition(" ")[2]) for line in sorted(lines)]


@pytest.fixture
async def ways(tmp_path: Path) -> AsyncIterator[Ways]:
    given = {"DATABASE_URL": f"sqlite:///{tmp_path}/fader.db", "FADER_INITIAL_SDK_KEYS": KEY}
    settings = read_settings(given | {"FADER_SDK_REQUESTS_PER_SECOND": "10"})
    app = create_app(settings)
    async with app.lifespan():
        whole, shortcuts = create_asgi(app, settings)
        [shortcut] = [one for one in shortcuts if isinstance(one, AckShortcut)]
        yield Ways(app, whole, shortcut)


async def test_it_does_what_the_whole_way_does(ways: Ways) -> None:
    assert not ways.short(json.dumps(ACK).encode()), "nobody has seen this key yet"
    assert await ways.whole(json.dumps(ACK).encode()) == 204
    for more in (
        {},
        {"held_ms": 12.5, "node": "elsewhere"},
        {"applied": False, "error": "no such\noperator"},
        {"applied": False},
        {"epoch": "another"},
        {"instance": "of another node"},
        {"revision": 3},
        {"something": "new"},
    ):
        body = json.dumps(ACK | more).encode()
        ways.begin()
        before = await ways.counted()
        assert await ways.whole(body) == 204
        expected, between = ways.seen(), await ways.counted()
        ways.begin()
        assert ways.short(body)
        assert ways.seen() == expected, more
        after = await ways.counted()
        assert [new - old for old, new in zip(between, after, strict=True)] == [
            new - old for old, new in zip(before, between, strict=True)
        ], more


async def test_what_is_unusual_is_left_to_the_whole_way(ways: Ways) -> None:
    good = json.dumps(ACK).encode()
    assert await ways.whole(good) == 204
    ways.begin()
    for body, headers, status in (
        (b"{", USUAL, 400),
        (json.dumps(ACK | {"revision": "5"}).encode(), USUAL, 422),
        (json.dumps(ACK | {"instance": ""}).encode(), USUAL, 422),
        (good, USUAL | {"content-type": "text/plain"}, 415),
        (good, USUAL | {"authorization": f"Bearer {KEY}0"}, 401),
        (good, {"content-type": "application/json"}, 401),
    ):
        assert not ways.short(body, headers)
        assert await ways.whole(body, headers) == status
        assert ways.seen() == (4, "connected", ""), body
    headers = USUAL | {"x-request-id": "mine"}
    assert not ways.short(good, headers)
    assert await ways.whole(good, headers) == 204


async def test_four_count_as_one_request(ways: Ways) -> None:
    good = json.dumps(ACK).encode()
    assert await ways.whole(good) == 204
    taken = 0
    while ways.short(good) and taken < 1_000:
        taken += 1
    assert 350 <= taken < 1_000
    assert await ways.whole(good) == 429
