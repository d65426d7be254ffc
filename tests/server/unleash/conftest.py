"""One server for all tests of a module, and a project of its own for each test."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from in_process import Answer, InProcess, running_in_process

SPEC = {"unleash-client-spec": "5.2.0"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[InProcess]:
    async with running_in_process(tmp_path_factory.mktemp("unleash"), FADER_POLL_SECONDS="60") as server:
        yield server


class Project:
    """A project with the environment production, and a key for it.

    Args:
        server: Where it is.
        name: Its key.
        sdk_key: For production.
    """

    def __init__(self, server: InProcess, name: str, sdk_key: str) -> None:
        self.server = server
        self.name = name
        self.sdk_key = sdk_key

    async def get(self, path: str = "features", query: str = "", **headers: str) -> Answer:
        """Ask the client API, once the server has heard of everything. Underscores stand for hyphens."""
        if self.server.state.distributor.is_current:
            await (await self.server.state.distributor.feed(self.name, "production")).catch_up()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = SPEC | {"authorization": self.sdk_key} | named
        return await self.server.request("GET", f"/api/client/{path}", headers=sent, query=query)

    async def post(self, path: str, body: Any = None, *, raw: bytes | None = None) -> Answer:
        """Report to the client API."""
        headers = {"authorization": self.sdk_key}
        return await self.server.request("POST", f"/api/client/{path}", body, headers=headers, raw=raw)

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the admin API, which must do it."""
        return await self.server.admin(method, f"/projects/{self.name}{path}", body)

    async def flag(self, key: str, configuration: Any = None, **fields: Any) -> None:
        """A flag, and how it is in production."""
        await self.admin("POST", "/flags", {"key": key, **fields})
        if configuration is not None:
            await self.configure(key, configuration)

    async def configure(self, key: str, configuration: Any) -> None:
        """How a flag is in production from now on."""
        await self.admin("PUT", f"/flags/{key}/environments/production", configuration)

    async def usage(self, flag: str) -> dict[str, int]:
        """How often which variant was served."""
        found = await self.admin("GET", f"/flags/{flag}/usage")
        return {one["variant"]: one["count"] for one in found["items"]}

    async def clients(self) -> list[Any]:
        """The clients of production."""
        return list((await self.admin("GET", "/environments/production/clients"))["items"])


@pytest.fixture
async def project(server: InProcess) -> Project:
    name = f"p-{uuid.uuid4().hex[:8]}"
    await server.admin("POST", "/projects", {"key": name})
    made = await server.admin("POST", f"/projects/{name}/keys", {"name": "web", "environment": "production"})
    return Project(server, name, made["secret"])
