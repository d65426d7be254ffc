"""The shortcut for snapshots gives the answers of the whole way, and leaves to it whatever is unusual."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar.types import ASGIApp

from fader_server.api.snapshot_shortcut import SnapshotShortcut
from fader_server.app import create_app, create_asgi
from fader_server.settings import read_settings

pytestmark = pytest.mark.anyio

KEY = "default:production.0123456789abcdef"
LIMITS = {"FADER_SDK_REQUESTS_PER_SECOND": "1000", "FADER_SNAPSHOT_BYTES_PER_SECOND": "100000000"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Answer:
    """What an application has sent."""

    def __init__(self, messages: list[Any]) -> None:
        start, *rest = messages
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(message["body"] for message in rest)

    def without_id(self) -> tuple[int, dict[str, str], bytes]:
        assert self.headers.pop("x-request-id")
        return self.status, self.headers, self.body


async def ask(app: ASGIApp, *headers: tuple[str, str], method: str = "GET", key: str | None = KEY) -> Answer:
    given = [(name.encode(), value.encode()) for name, value in headers]
    if key is not None:
        given.append((b"authorization", f"Bearer {key}".encode()))
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/sdk/v1/snapshot",
        "raw_path": b"/sdk/v1/snapshot",
        "root_path": "",
        "query_string": b"",
        "headers": given,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Answer(sent)


async def nobody(*_: Any) -> None:
    pytest.fail("this went the whole way")


@asynccontextmanager
async def running(folder: Path, **more: str) -> AsyncIterator[tuple[SnapshotShortcut, ASGIApp]]:
    """The shortcut, and the whole way behind it."""
    given = {"DATABASE_URL": f"sqlite:///{folder}/fader.db", "FADER_INITIAL_SDK_KEYS": KEY, **LIMITS, **more}
    settings = read_settings(given)
    app = create_app(settings)
    async with app.lifespan():
        shortcut, _ = create_asgi(app, settings)
        assert isinstance(shortcut, SnapshotShortcut)
        yield shortcut, shortcut._app


async def test_its_answers_are_those_of_the_whole_way(tmp_path: Path) -> None:
    async with running(tmp_path) as (shortcut, whole):
        etag = (await ask(shortcut)).headers["etag"]
        shortcut._app = nobody
        for headers in (
            [],
            [("accept-encoding", "gzip, br")],
            [("accept-encoding", "gzip;q=0")],
            [("if-none-match", etag)],
            [("if-none-match", f'W/{etag}, "other"')],
            [("if-none-match", "*")],
            [("if-none-match", '"other-1"')],
        ):
            short = await ask(shortcut, *headers)
            assert short.without_id() == (await ask(whole, *headers)).without_id(), headers


async def test_a_request_id_is_kept_if_it_is_well_formed(tmp_path: Path) -> None:
    async with running(tmp_path) as (shortcut, _):
        await ask(shortcut)
        shortcut._app = nobody
        assert (await ask(shortcut, ("x-request-id", "mine.1"))).headers["x-request-id"] == "mine.1"
        drawn = {(await ask(shortcut, ("x-request-id", "not mine"))).headers["x-request-id"] for _ in range(3)}
        assert len(drawn) == 3
        assert "not mine" not in drawn


async def test_what_is_unusual_goes_the_whole_way(tmp_path: Path) -> None:
    async with running(tmp_path) as (shortcut, whole):
        asked: list[str] = []

        async def noticing(scope: Any, receive: Any, send: Any) -> None:
            asked.append(scope["method"])
            await whole(scope, receive, send)

        shortcut._app = noticing
        assert (await ask(shortcut)).status == 200
        assert len(asked) == 1, "nobody had seen this key"
        assert (await ask(shortcut)).status == 200
        assert len(asked) == 1
        assert (await ask(shortcut, method="HEAD")).body == b""
        assert (await ask(shortcut, method="POST")).status == 405
        assert (await ask(shortcut, key=None)).status == 401
        assert (await ask(shortcut, key=f"{KEY}0")).status == 401
        assert (await ask(shortcut, ("accept", "a"), ("accept", "b"))).status == 200
        assert len(asked) == 6
        distributor = shortcut._litestar.state.distributor
        distributor.is_current = False
        assert (await ask(shortcut)).headers["fader-stale"] == "true"
        assert len(asked) == 7


async def test_it_holds_everybody_to_the_limits(tmp_path: Path) -> None:
    async with running(tmp_path, FADER_SDK_REQUESTS_PER_SECOND="1") as (shortcut, _):
        statuses = [(await ask(shortcut)).status for _ in range(30)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert 8 <= statuses.count(200) <= 13
    async with running(tmp_path, FADER_SNAPSHOT_BYTES_PER_SECOND="65536") as (shortcut, _):
        answers = [await ask(shortcut) for _ in range(30)]
        assert {answer.status for answer in answers} == {200, 503}
        assert "retry-after" in answers[-1].headers


async def test_a_revoked_key_is_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (shortcut, _):
        assert (await ask(shortcut)).status == 200
        services = shortcut._litestar.state.admin
        [key] = (await services.store.valid_keys("default", "production")).values()
        await services.credentials.revoke_key("default", key.id, lambda _: None)
        assert (await ask(shortcut)).status == 401


async def test_it_counts_as_the_whole_way_does(tmp_path: Path) -> None:
    async with running(tmp_path) as (shortcut, whole):
        metrics = shortcut._litestar.state.telemetry.metrics

        async def counted() -> tuple[float, float]:
            text = (await metrics.exposition(""))[0].decode()
            lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
            asked = 'fader_http_requests_total{method="GET",route="/sdk/v1/snapshot",status="200"}'
            by_name = {name: float(value) for name, _, value in lines}
            return by_name.get(asked, 0.0), by_name.get("fader_snapshot_bytes_total", 0.0)

        await ask(whole)
        first = await counted()
        await ask(shortcut)
        second = await counted()
        assert first[0] == 1
        assert first[1] > 0
        assert second == (2, 2 * first[1])
