"""What browsers ask before they let a page read an answer, and what they are told."""

from typing import Any

import pytest
from litestar.types import ASGIApp

from fader_server.api.cors import Cors

pytestmark = pytest.mark.anyio

SHOP = "https://shop.example"
FRONTEND = "/api/frontend"
PREFLIGHT = {
    "Origin": SHOP,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,unleash-appname,x-made-up",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Asked:
    """An answer to a browser."""

    def __init__(self, messages: list[Any]) -> None:
        self.status: int = messages[0]["status"]
        self.fields = [(name.decode(), value.decode()) for name, value in messages[0]["headers"]]
        self.headers = dict(self.fields)
        self.allowed = self.headers.get("access-control-allow-origin")


async def ask(app: ASGIApp, path: str, method: str = "GET", **headers: str) -> Asked:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope: Any = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, None, send)  # type: ignore[arg-type]
    return Asked(messages)


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """An application that has just had enough."""
    assert scope["method"] != "OPTIONS" or not scope["path"].startswith(("/ofrep/", FRONTEND)), "it is not to be asked"
    headers = [(b"retry-after", b"7"), (b"vary", b"Authorization")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.mark.parametrize("path", ["/ofrep/v1/evaluate/flags", FRONTEND, f"{FRONTEND}/client/metrics", "/api/proxy"])
async def test_a_page_may_ask_from_anywhere_and_read_refusals_too(path: str) -> None:
    app = Cors(refusing, ["*"])
    preflight = await ask(app, path, "OPTIONS", **PREFLIGHT)
    assert (preflight.status, preflight.allowed) == (204, "*")
    assert preflight.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert int(preflight.headers["access-control-max-age"]) > 0
    answer = await ask(app, path, Origin=SHOP)
    assert (answer.status, answer.allowed) == (429, "*")
    assert answer.headers["access-control-expose-headers"] == "ETag, Retry-After"
    assert [value for name, value in answer.fields if name == "vary"] == ["Authorization", "Origin"]


async def test_only_pages_of_these_origins_may_ask() -> None:
    app = Cors(refusing, [SHOP, "capacitor://localhost"])
    for origin in (SHOP, "capacitor://localhost"):
        assert (await ask(app, FRONTEND, Origin=origin)).allowed == origin
        assert (await ask(app, FRONTEND, "OPTIONS", **{**PREFLIGHT, "Origin": origin})).allowed == origin
    for stranger in ("https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null", ""):
        preflight = await ask(app, FRONTEND, "OPTIONS", **{**PREFLIGHT, "Origin": stranger})
        assert preflight.status == 204
        assert not [name for name in preflight.headers if name.startswith("access-control")]
        answer = await ask(app, FRONTEND, Origin=stranger)
        assert answer.allowed is None
        assert ("vary", "Origin") in answer.fields, "or a cache gives it to a page that may read it"


async def test_cookies_are_never_asked_for() -> None:
    for origins in (["*"], [SHOP]):
        for method in ("OPTIONS", "GET"):
            answer = await ask(Cors(refusing, origins), FRONTEND, method, **PREFLIGHT)
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/sdk/v1/snapshot", "/api/v1/whoami", "/api/client/features", "/health/ready"])
async def test_all_else_is_closed_to_pages(path: str) -> None:
    app = Cors(refusing, ["*"])
    for method in ("GET", "OPTIONS"):
        answer = await ask(app, path, method, **PREFLIGHT)
        assert answer.status == 429
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_what_is_no_name_of_a_header_is_not_repeated() -> None:
    odd = await ask(
        Cors(refusing, ["*"]), FRONTEND, "OPTIONS", **{**PREFLIGHT, "Access-Control-Request-Headers": "a: b; <c>"}
    )
    assert (odd.status, odd.allowed) == (204, "*")
    assert "access-control-allow-headers" not in odd.headers
