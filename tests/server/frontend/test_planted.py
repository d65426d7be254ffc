"""What a browser may not see, whatever it asks: strings are planted wherever the server keeps some, and looked for in
every answer to a client key, on every path that there is."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

from browsers import CLIENT_KEY
from in_process import SDK_KEY, Answer, InProcess, running_in_process

pytestmark = pytest.mark.anyio

_PARAMETER: Final = re.compile(r"\{(\w+):\w+\}")

PLANTED: Final = "planted"
"""Part of everything that is nobody's business. What a browser may see has names without it."""

FLAGS: Final = ("coloured", "plain", "dependent", "vips", "others", "dark")
LONG_LIST: Final = 2_000
"""Members of a segment that are too many to travel with it."""

SEGMENT: Final = {
    "key": "planted-segment",
    "description": "planted",
    "constraints": [{"attribute": "planted_country", "operator": "in", "values": ["planted-country"]}],
    "targeting_keys": ["planted-user", "ada"],
    "reason": "planted",
}
RULE: Final = {
    "id": "planted-rule",
    "description": "planted",
    "constraints": [{"attribute": "planted_plan", "operator": "in", "values": ["planted-plan"]}],
    "segments": ["planted-segment"],
}
FOR_ADA: Final = {**RULE, "id": "planted-ada", "constraints": []}
SHARE: Final = {"id": "planted-share", "description": "planted", "rollout": {"percentage": 50, "salt": "planted-salt"}}
SPLIT: Final = {
    "variants": [{"variant": "red", "weight": 1}, {"variant": "planted-blue", "weight": 0}],
    "salt": "planted-salt",
    "by": "planted_account",
}
ABOUT: Final = {"description": "planted", "owner": "planted", "tags": ["planted"], "reason": "planted"}

CONTEXTS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"targetingKey": "ada", "userId": "ada"},
    {"targetingKey": "bob", "userId": "bob", "planted": {}, "properties": {"plan": 7}},
    {"targetingKey": [1], "userId": {"a": []}},
)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcess]:
    limits = {"FADER_CLIENT_REQUESTS_PER_SECOND": "10000", "FADER_ADMIN_REQUESTS_PER_SECOND": "10000"}
    folder = tmp_path_factory.mktemp("planted")
    async with running_in_process(folder, FADER_INITIAL_CLIENT_KEYS=CLIENT_KEY, **limits) as server:
        await plant(server)
        yield server


async def plant(server: InProcess) -> None:
    project = "/projects/default"
    await server.admin("PATCH", project, {"description": "planted", "reason": "planted"})
    await server.admin("POST", "/projects", {"key": "planted-project", "description": "planted"})
    await server.admin("POST", f"{project}/segments", SEGMENT)
    await server.admin("POST", f"{project}/segments", {"key": "planted-list"})
    members = "\n".join(f"planted-{number}" for number in range(LONG_LIST))
    await server.admin("PUT", f"{project}/segments/planted-list/members", text=members)
    for name, kind in (("planted-server", "server"), ("planted-client", "client")):
        await server.admin("POST", f"{project}/keys", {"name": name, "environment": "production", "kind": kind})
    await server.admin("POST", "/tokens", {"name": "planted-token", "role": "viewer"})
    variants = [
        {"name": "red", "value": {"colour": "red"}},
        {"name": "planted-blue", "value": {"colour": "planted"}},
        {"name": "grey", "value": {"colour": "grey"}},
    ]
    await server.create_flag(
        "coloured",
        {"enabled": True, "rules": [{**RULE, "variant": "planted-blue"}, {**SHARE, "split": SPLIT}, FOR_ADA]},
        type="object",
        variants=variants,
        off_variant="grey",
        **ABOUT,
    )
    await server.create_flag("plain", {"enabled": True, "rules": [RULE, FOR_ADA, SHARE]}, **ABOUT)
    needs = [{"flag": "coloured", "variants": ["planted-blue"]}]
    await server.create_flag("dependent", {"enabled": True, "prerequisites": needs}, **ABOUT)
    vips = {"id": "planted-vips", "segments": ["planted-list"]}
    await server.create_flag("vips", {"enabled": True, "rules": [vips]}, **ABOUT)
    others = {"id": "planted-others", "constraints": RULE["constraints"]}
    await server.create_flag("others", {"enabled": True, "rules": [{**others, "variant": "off"}, SHARE]}, **ABOUT)
    await server.create_flag("dark", {"enabled": False, "rules": [RULE]}, **ABOUT)
    await server.admin("PUT", f"{project}/flags/dark/environments/staging", {"enabled": True, "rules": [RULE]})


NAMES: Final = {"project": "default", "environment": "production"}
EVALUATING: Final = ("/api/frontend", "/api/proxy", "/ofrep")
MOUNTED: Final = ("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/{flag:str}", "/ofrep/v1/configuration")
"""Paths that may be known to a handler of several, and not to the application."""


def requests(server: InProcess) -> Iterator[tuple[str, str, Any]]:
    """A request by every method to every path that the application has; to those at which flags are evaluated, about
    every flag and for every context."""
    for template in sorted({route.path for route in server.litestar.routes} | {*MOUNTED}):
        evaluates = template.startswith(EVALUATING)
        for flag in FLAGS if evaluates else FLAGS[:1]:
            path = _PARAMETER.sub(lambda found, flag=flag: NAMES.get(found[1], flag), template)
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                for context in CONTEXTS if evaluates and method == "POST" else CONTEXTS[:1]:
                    yield method, path, {"context": context}


def seen_in(answer: Answer) -> str:
    return f"{answer.headers} {answer.body.decode('utf-8', 'replace')}".lower()


def streams_of(answer: Answer) -> list[str]:
    """Streams that an answer of OFREP's invites to."""
    if answer.status != 200 or b'"eventStreams"' not in answer.body:
        return []
    return [stream["endpoint"]["requestUri"] for stream in answer.json["eventStreams"]]


async def test_a_browser_sees_nothing_but_its_values(server: InProcess) -> None:
    statuses: Counter[int] = Counter()
    served = ""
    asked = dict.fromkeys((method, path, repr(body)) for method, path, body in requests(server))
    assert len(asked) > 500
    for method, path, body in requests(server):
        for headers in ({"Authorization": f"Bearer {CLIENT_KEY}"}, {"X-API-Key": CLIENT_KEY}):
            answer = await server.request(method, path, None if method == "GET" else body, headers=headers)
            assert PLANTED not in seen_in(answer), f"{method} {path}: {answer}"
            statuses[answer.status] += 1
            served += seen_in(answer)
            for uri in streams_of(answer):
                path, _, query = uri.partition("?")
                assert PLANTED not in seen_in(await server.request("GET", path, query=query)), uri
    # It has not just been refused everything.
    assert statuses[200] > 50
    assert "coloured" in served
    assert "vips" in served
    assert statuses[500] == 0


@pytest.mark.parametrize(
    "query",
    [
        "userId=ada",
        "userId=bob&properties[planted_plan]=x",
        "userId=%FF&userId=%00&=&&properties[a][b]=1&properties[]=2",
        "properties=7&currentTime=never&remoteAddress=nowhere",
    ],
)
async def test_nor_by_any_query(server: InProcess, query: str) -> None:
    for path in ("/api/frontend", "/api/frontend/all", "/api/proxy", "/api/frontend/features/coloured"):
        answer = await server.request("GET", path, query=query, headers={"Authorization": CLIENT_KEY})
        assert answer.status == 200
        assert PLANTED not in seen_in(answer), f"{path}: {answer}"


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/api/frontend", b"{"),
        ("/api/frontend", b"[" * 100_000),
        ("/api/frontend", b'{"context": "ada"}'),
        ("/api/frontend", b"x" * 2_000_000),
        ("/api/frontend/client/metrics", b'{"bucket": 7}'),
        ("/api/frontend/features/none", b"{}"),
        ("/api/frontend/none", b"{}"),
        ("/ofrep/v1/evaluate/flags", b"{"),
        ("/ofrep/v1/evaluate/flags", b'{"context": 7}'),
        ("/ofrep/v1/evaluate/flags/none", b"{}"),
        ("/ofrep/v1/none", b"{}"),
        ("/sdk/v1/ack", b"{}"),
        ("/api/client/metrics", b"{}"),
    ],
)
async def test_nor_by_any_mistake(server: InProcess, path: str, raw: bytes) -> None:
    answer = await server.request("POST", path, raw=raw, headers={"Authorization": f"Bearer {CLIENT_KEY}"})
    assert 400 <= answer.status < 500
    assert PLANTED not in seen_in(answer), answer


async def test_the_strings_are_there_to_be_found(server: InProcess) -> None:
    """By who may see them: else nothing would be shown by not finding any."""
    headers = {"Authorization": f"Bearer {SDK_KEY}"}
    snapshot = seen_in(await server.request("GET", "/sdk/v1/snapshot", headers=headers))
    for planted in ("rule", "salt", "country", "user", "segment", "blue", "list"):
        assert f"planted-{planted}" in snapshot, planted
