"""The whole server in the test's own event loop, asked without a socket: real database, real routes, real answers."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.types import ASGIApp

from fader_server.app import create_app, create_asgi
from fader_server.settings import read_settings
from services.sqlite_files import make_database

ADMIN_TOKEN = "fader_" + "0123456789abcdef" * 2
SDK_KEY = "default:production." + "0123456789abcdef" * 2


class Answer:
    """What an application has sent."""

    def __init__(self, messages: list[Any]) -> None:
        start, *rest = messages
        self.status: int = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(message["body"] for message in rest)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.body[:500]!r})"


class InProcess:
    """A server.

    Args:
        litestar: Its inside.
        asgi: Its outside.
    """

    def __init__(self, litestar: Litestar, asgi: ASGIApp) -> None:
        self.litestar = litestar
        self.state = litestar.state
        self._asgi = asgi

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        """Send a request, and read its answer to the end."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        given = {name.lower(): value for name, value in (headers or {}).items()}
        if content:
            given.setdefault("content-type", "application/json")
            given["content-length"] = str(len(content))
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        sent: list[Any] = []

        to_come = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Any:
            return to_come.pop() if to_come else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._asgi(scope, receive, send)
        return Answer(sent)

    async def admin(self, method: str, path: str, body: Any = None, *, text: str | None = None) -> Any:
        """Ask the admin API, which must do it."""
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        if text is not None:
            headers["content-type"] = "text/plain"
        raw = None if text is None else text.encode()
        answer = await self.request(method, f"/api/v1{path}", body, raw=raw, headers=headers)
        assert 200 <= answer.status < 300, answer
        return answer.json if answer.body else None

    async def create_flag(
        self, key: str, configuration: Any = None, *, project: str = "default", **fields: Any
    ) -> None:
        """A flag, and how it is in production."""
        await self.admin("POST", f"/projects/{project}/flags", {"key": key, **fields})
        if configuration is not None:
            await self.admin("PUT", f"/projects/{project}/flags/{key}/environments/production", configuration)


@asynccontextmanager
async def running_in_process(folder: Path, **environment: str) -> AsyncIterator[InProcess]:
    """A server for the time of a ``with`` block.

    Args:
        folder: Where its database goes.
        environment: Variables for it.
    """
    if not (folder / "fader.db").exists():
        make_database(folder / "fader.db")
    settings = read_settings(
        {
            "DATABASE_URL": f"sqlite:///{folder}/fader.db",
            "FADER_INITIAL_ADMIN_TOKEN": ADMIN_TOKEN,
            "FADER_INITIAL_SDK_KEYS": SDK_KEY,
        }
        | environment
    )
    app = create_app(settings)
    async with app.lifespan():
        yield InProcess(app, create_asgi(app, settings)[0])
