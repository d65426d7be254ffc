"""The admin API behind a real socket, on a real SQLite file, and a small client for it."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
import uvicorn
from litestar import Litestar

from fader_server.access import Access, ensure_initial_credentials
from fader_server.api.admin import AdminServices, routes
from fader_server.api.openapi import openapi_config
from fader_server.api.problems import exception_handlers
from fader_server.bus.in_process import InProcessBus
from fader_server.clients import Gathering
from fader_server.distribution import Distributor
from fader_server.distribution.distributor import Pace
from fader_server.flags.limits import Limits
from fader_server.storage import Store
from fader_server.telemetry import Telemetry

ADMIN_TOKEN = "fader_" + "0123456789abcdef" * 2
MAX_BODY = 1024 * 1024


def utc_now() -> datetime:
    return datetime.now(UTC)


class Answer:
    """A response that has been read to its end."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.data.decode()

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    def __repr__(self) -> str:
        return f"{self.status} {self.text[:2000]}"


class AdminClient:
    """Sends JSON; paths are relative to ``/api/v1``."""

    def __init__(self, url: str, token: str | None = ADMIN_TOKEN) -> None:
        self.url = url
        self._token = token
        self._pool = urllib3.PoolManager(maxsize=16, retries=False)

    def as_token(self, token: str | None) -> "AdminClient":
        return AdminClient(self.url, token)

    def close(self) -> None:
        self._pool.clear()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent["Content-Type"] = "application/json"
        return Answer(
            self._pool.request(method, f"{self.url}/api/v1{path}", body=raw, headers=sent | (headers or {}), timeout=20)
        )

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.send("POST", path, body)

    def put(self, path: str, body: Any) -> Answer:
        return self.send("PUT", path, body)

    def patch(self, path: str, body: Any) -> Answer:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.send("DELETE", path)

    def all(self, path: str) -> list[Any]:
        """The items of a list, page by page."""
        joint, cursor, found = "&" if "?" in path else "?", "", []
        while True:
            page = self.get(f"{path}{joint}limit=500{cursor}").body
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"


class AdminServer:
    """A running server."""

    def __init__(self, services: AdminServices, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.services = services
        self.url = url
        self._loop = loop

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a coroutine function in the server's event loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(20)


@contextmanager
def running_admin_server(
    folder: Path, *, heartbeat_seconds: float = 0.2, database_url: str | None = None
) -> Iterator[AdminServer]:
    """Serve the admin API from a thread until the block ends; on a SQLite file in the folder, unless told otherwise."""
    started: list[AdminServer] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        try:
            store = await Store.open(database_url or f"sqlite:///{folder}/fader.db")
            await ensure_initial_credentials(store, admin_token=ADMIN_TOKEN, sdk_keys=[], now=utc_now())
            access, bus = Access(store, utc_now), InProcessBus()
            app = Litestar(
                route_handlers=routes,
                exception_handlers=exception_handlers,
                openapi_config=openapi_config(),
                logging_config=None,
                request_max_body_size=MAX_BODY,
            )
            telemetry = Telemetry()
            gathering = Gathering("node", None, True, time.time, time.monotonic, telemetry.metrics)
            pace = Pace(heartbeat=heartbeat_seconds, poll=10.0, poll_without_bus=1.0)
            distributor = Distributor(store, bus, None, gathering, utc_now, pace, telemetry)
            app.state.admin = services = AdminServices.build(
                store=store,
                bus=bus,
                access=access,
                distributor=distributor,
                gathering=gathering,
                clock=utc_now,
                limits=Limits(),
                heartbeat_seconds=heartbeat_seconds,
            )
            server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
            serving = asyncio.create_task(server._serve())
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            started.append(AdminServer(services, asyncio.get_running_loop(), f"http://127.0.0.1:{port}"))
            ready.set()
            await stop.wait()
            await bus.close()
            server.should_exit = True
            await serving
            await access.close()
            await store.close()
        finally:
            ready.set()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(30)
    try:
        yield started[0]
    finally:
        if started:
            started[0]._loop.call_soon_threadsafe(stop.set)
        thread.join(30)
