"""How often browsers may ask: whoever opens a page has its key, and must not use up what others may ask."""

from typing import Any

import pytest

from fader_server.api.client_allowances import network_of
from fader_server.api.request_limits import RequestLimits, RequestRates

pytestmark = pytest.mark.anyio

KEY = b"default:production.client-0123456789abcdef"
SDK_KEY = b"default:production.0123456789abcdef"
RATES = RequestRates(sdk=20, client=1, admin=3)
"""Ten times as many may be made at once."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Door:
    """Limits, at a time that stands still, before an application that knows all keys but those of strangers."""

    def __init__(self) -> None:
        self.limits = RequestLimits(self._serve, RATES, lambda _: None, lambda: 0.0)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        status = 401 if b"stranger" in scope["headers"][0][1] else 200
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def ask(
        self, key: bytes = KEY, host: str = "192.0.2.1", path: str = "/api/frontend", header: bytes = b"authorization"
    ) -> int:
        statuses = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope: Any = {"type": "http", "method": "GET", "path": path, "headers": [(header, key)], "state": {}}
        await self.limits({**scope, "client": (host, 1)}, None, send)  # type: ignore[arg-type]
        return int(statuses[0])

    async def allowed(self, **asking: Any) -> int:
        """How many are let in at once."""
        for number in range(1_000):
            if await self.ask(**asking) == 429:
                return number
        raise AssertionError("nobody is ever refused")


@pytest.mark.parametrize(
    ("path", "header"),
    [("/api/frontend", b"authorization"), ("/ofrep/v1/evaluate/flags", b"x-api-key"), ("/api/proxy", b"authorization")],
)
async def test_each_address_has_an_allowance_of_its_own(path: str, header: bytes) -> None:
    door = Door()
    first = await door.allowed(path=path, header=header)
    assert first == 1 + 10, "the first was still a stranger's"
    # Now that the key is known, nobody with it is a stranger.
    assert await door.allowed(path=path, header=header, host="192.0.2.2") == 10
    assert await door.allowed(path=path, header=header, host="2001:db8::1") == 10
    assert await door.ask(path=path, header=header, host="2001:db8::2:1") == 429, "the same network"
    assert await door.ask(path=path, header=header, host="2001:db8:0:1::1") == 200


async def test_servers_with_a_key_of_theirs_share_theirs_whatever_their_addresses() -> None:
    door = Door()
    assert await door.allowed(key=SDK_KEY, path="/ofrep/v1/evaluate/flags") == 1 + 200
    assert await door.ask(key=SDK_KEY, path="/ofrep/v1/evaluate/flags", host="192.0.2.2") == 429
    assert await door.ask() == 200, "a client key is another matter"


async def test_who_only_looks_like_a_client_is_a_stranger() -> None:
    door = Door()
    assert await door.allowed(key=b"default:production.client-stranger") == 30
    assert await door.ask(key=b"default:production.client-stranger-too", host="192.0.2.2") == 429


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("what:ever", "what:ever"),
        ("", ""),
    ],
)
def test_one_asker(host: str, network: str) -> None:
    assert network_of(host) == network
