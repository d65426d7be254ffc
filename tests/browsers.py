"""A browser, as a server sees it: it has a client key, and one of Unleash's SDKs."""

from typing import Any
from urllib.parse import urlencode

from in_process import Answer, InProcess

CLIENT_KEY = "default:production.client-" + "0123456789abcdef" * 2


class Browser:
    """Asks as Unleash's SDKs in browsers do.

    Args:
        server: Whom.
        key: With which key.
    """

    def __init__(self, server: InProcess, key: str = CLIENT_KEY) -> None:
        self.server = server
        self.key = key
        self.project, self.environment = key.partition(".")[0].split(":") if ":" in key else ("", "")

    @classmethod
    async def of_new_project(cls, server: InProcess, project: str) -> "Browser":
        """One with a project of its own, so that tests can share a server."""
        await server.admin("POST", "/projects", {"key": project})
        body = {"name": "web", "environment": "production", "kind": "client"}
        made = await server.admin("POST", f"/projects/{project}/keys", body)
        return cls(server, made["secret"])

    async def get(self, path: str = "/api/frontend", query: str = "", **headers: str) -> Answer:
        return await self.server.request(
            "GET", path, query=query, headers={"Authorization": self.key, **_dashed(headers)}
        )

    async def post(self, path: str, body: Any = None, raw: bytes | None = None, **headers: str) -> Answer:
        return await self.server.request(
            "POST", path, body, raw=raw, headers={"Authorization": self.key, **_dashed(headers)}
        )

    async def follow(self) -> None:
        """Let the server hear of what has been changed since it was asked first."""
        await (await self.server.state.distributor.feed(self.project, self.environment)).catch_up()

    async def create_flag(self, key: str, configuration: Any = None, **fields: Any) -> None:
        """A flag in its project, and how it is in production."""
        await self.server.create_flag(key, configuration, project=self.project, **fields)

    async def sees(self, **context: str) -> dict[str, Any]:
        """The flags that are on, with their variants."""
        answer = await self.get(query=urlencode(context))
        assert answer.status == 200, answer
        return {toggle["name"]: toggle["variant"] for toggle in answer.json["toggles"]}


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
