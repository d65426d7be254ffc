"""The shortcuts for snapshots, ours and what Unleash's SDKs poll, give the answers of the whole way, and leave to it
whatever is unusual."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.types import ASGIApp

from fader_server.api.snapshot_shortcut import SnapshotShortcut
from fader_server.api.unleash.features_shortcut import FeaturesShortcut
from fader_server.app import create_app, create_asgi
from fader_server.settings import read_settings

pytestmark = pytest.mark.anyio

KEY = "default:production.0123456789abcdef"
LIMITS = {"FADER_SDK_REQUESTS_PER_SECOND": "1000", "FADER_SNAPSHOT_BYTES_PER_SECOND": "100000000"}


OURS = "/sdk/v1/snapshot"
UNLEASH = "/api/client/features"
NAMED = {
    OURS: (("fader-instance", "one"), ("fader-app", "shop"), ("user-agent", "fader-python/1.0")),
    UNLEASH: (("unleash-connection-id", "one"), ("unleash-appname", "shop"), ("unleash-sdk", "fader-python:1.0")),
}

on_both_paths = pytest.mark.parametrize("path", [OURS, UNLEASH])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Answer:
    """What was answered."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = body

    def without_id(self) -> tuple[int, dict[str, str], bytes]:
        assert self.headers.pop("x-request-id")
        return self.status, self.headers, self.body


class Ways:
    """Both, into one application."""

    def __init__(self, app: Litestar, whole: ASGIApp, shortcut: SnapshotShortcut | FeaturesShortcut) -> None:
        self.state = app.state
        self._whole = whole
        self._shortcut = shortcut

    async def whole(self, *headers: tuple[str, str], method: str = "GET", key: str | None = KEY) -> Answer:
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": self._shortcut.path.decode(),
            "raw_path": self._shortcut.path,
            "root_path": "",
            "query_string": b"",
            "headers": _fields(headers, key),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._whole(scope, receive, send)
        start, *rest = sent
        return Answer(start["status"], start["headers"], b"".join(message["body"] for message in rest))

    def short(self, *headers: tuple[str, str], key: str | None = KEY, body: bytes = b"") -> Answer | None:
        answer = self._shortcut.answer(_fields(headers, key), body)
        if answer is None:
            return None
        assert answer.fields.endswith(b"\r\n")
        pairs = [line.partition(b": ") for line in answer.fields.split(b"\r\n")[:-1]]
        return Answer(answer.status, [(name, value) for name, _, value in pairs], answer.body)

    async def usual(self, *headers: tuple[str, str]) -> Answer:
        """As a connection does it: the short way if there is one."""
        return self.short(*headers) or await self.whole(*headers)

    def polling(self) -> list[tuple[str, str, str, int]]:
        clients = self.state.sdk.gathering.roster("default", "production").clients()
        return [(one.identity.instance, one.identity.app, one.identity.sdk, one.applied) for one in clients]


def _fields(headers: tuple[tuple[str, str], ...], key: str | None) -> list[tuple[bytes, bytes]]:
    given = [(name.encode(), value.encode()) for name, value in headers]
    return given if key is None else [*given, (b"authorization", f"Bearer {key}".encode())]


@asynccontextmanager
async def running(folder: Path, path: str = OURS, **more: str) -> AsyncIterator[Ways]:
    given = {"DATABASE_URL": f"sqlite:///{folder}/fader.db", "FADER_INITIAL_SDK_KEYS": KEY, **LIMITS, **more}
    settings = read_settings(given)
    app = create_app(settings)
    async with app.lifespan():
        whole, shortcuts = create_asgi(app, settings)
        [shortcut] = [one for one in shortcuts if one.path == path.encode()]
        assert isinstance(shortcut, SnapshotShortcut | FeaturesShortcut)
        yield Ways(app, whole, shortcut)


@on_both_paths
async def test_its_answers_are_those_of_the_whole_way(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, path) as ways:
        etag = (await ways.whole()).headers["etag"]
        for headers in (
            [],
            [("accept-encoding", "gzip, br")],
            [("accept-encoding", "gzip;q=0")],
            [("if-none-match", etag)],
            [("if-none-match", f'W/{etag}, "other"')],
            [("if-none-match", "*")],
            [("if-none-match", '"other-1"')],
        ):
            short = ways.short(*headers)
            assert short is not None
            assert short.without_id() == (await ways.whole(*headers)).without_id(), headers


async def test_a_request_id_is_kept_if_it_is_well_formed(tmp_path: Path) -> None:
    async with running(tmp_path) as ways:
        await ways.whole()
        kept = ways.short(("x-request-id", "mine.1"))
        assert kept is not None
        assert kept.headers["x-request-id"] == "mine.1"
        others = [ways.short(("x-request-id", "not mine")) for _ in range(3)]
        drawn = {other.headers["x-request-id"] for other in others if other is not None}
        assert len(drawn) == 3
        assert "not mine" not in drawn


@on_both_paths
async def test_what_is_unusual_is_left_to_the_whole_way(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, path) as ways:
        assert ways.short() is None, "nobody has seen this key"
        assert (await ways.whole()).status == 200
        assert ways.short() is not None
        assert ways.short(key=None) is None
        assert ways.short(key=f"{KEY}0") is None
        assert ways.short(("accept", "a"), ("accept", "b")) is None
        assert ways.short(body=b"{}") is None
        with caplog.at_level("DEBUG", "fader_server.requests"):
            assert ways.short() is None, "its line is wanted"
        ways.state.distributor.is_current = False
        assert ways.short() is None
        assert (await ways.whole()).headers["fader-stale"] == "true"


@on_both_paths
async def test_it_holds_everybody_to_the_limits(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, path, FADER_SDK_REQUESTS_PER_SECOND="1") as ways:
        statuses = [(await ways.usual()).status for _ in range(30)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert 8 <= statuses.count(200) <= 13
    async with running(tmp_path, path, FADER_SNAPSHOT_BYTES_PER_SECOND="65536") as ways:
        answers = [await ways.usual() for _ in range(30)]
        assert {answer.status for answer in answers} == {200, 503}
        assert all("retry-after" in answer.headers for answer in answers if answer.status == 503)


@on_both_paths
async def test_a_revoked_key_is_refused_at_once(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, path) as ways:
        assert (await ways.whole()).status == 200
        services = ways.state.admin
        [key] = (await services.store.valid_keys("default", "production")).values()
        await services.credentials.revoke_key("default", key.id, lambda _: None)
        assert ways.short() is None
        assert (await ways.whole()).status == 401


@on_both_paths
async def test_it_counts_as_the_whole_way_does(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, path) as ways:
        metrics = ways.state.telemetry.metrics

        async def counted() -> tuple[float, float]:
            text = (await metrics.exposition(""))[0].decode()
            lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
            asked = f'fader_http_requests_total{{method="GET",route="{path}",status="200"}}'
            by_name = {name: float(value) for name, _, value in lines}
            return by_name.get(asked, 0.0), by_name.get("fader_snapshot_bytes_total", 0.0)

        await ways.whole()
        first = await counted()
        assert ways.short() is not None
        second = await counted()
        assert first[0] == 1
        assert first[1] > 0
        assert second == (2, 2 * first[1])


@on_both_paths
async def test_who_polls_is_remembered_on_either_way(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, path) as ways:
        await ways.whole()
        named = NAMED[path]
        assert ways.short(*named) is not None
        [(instance, app, sdk, revision)] = ways.polling()
        assert (instance, app, sdk) == ("one", "shop", "fader-python")
        etag = (await ways.whole()).headers["etag"]
        assert f"-{revision}" in etag
        await ways.whole(*named)
        assert ways.short(*named, ("if-none-match", etag)) is not None
        assert ways.polling() == [(instance, app, sdk, revision)]


async def test_unleash_sdks_for_node_are_asked_to_stream_on_the_whole_way(tmp_path: Path) -> None:
    async with running(tmp_path, UNLEASH) as ways:
        etag = (await ways.whole()).headers["etag"]
        node = (("unleash-connection-id", "one"), ("unleash-sdk", "unleash-node-sdk:6.12.1"))
        assert ways.short(*node) is not None
        assert ways.short(*node, ("if-none-match", etag)) is None
        assert (await ways.whole(*node, ("if-none-match", etag))).headers["fetch-mode"] == "streaming"
        polling = ways.short(*node, ("if-none-match", etag))
        assert polling is not None
        assert polling.status == 304


async def test_unleash_sdks_are_not_sent_back_on_the_short_way(tmp_path: Path) -> None:
    async with running(tmp_path, UNLEASH) as ways:
        epoch, _, rest = (await ways.whole()).headers["etag"].partition("-")
        revision, _, marks = rest.partition(".")
        ahead = ("if-none-match", f"{epoch}-{int(revision) + 5}.{marks}")
        behind = ("if-none-match", f"{epoch}-{int(revision) - 1}.{marks}")
        assert ways.short(ahead) is None
        assert (await ways.whole(ahead)).status == 304
        answer = ways.short(behind)
        assert answer is not None
        assert answer.status == 200
