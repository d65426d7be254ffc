"""Errors on the paths of other protocols come in their form, from every layer; on ours they are problems."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fader_server.api.error_forms import Problem, error_body
from in_process import Answer, InProcess, running_in_process

pytestmark = pytest.mark.anyio

OFREP = "/ofrep/v1/evaluate/flags"
UNLEASH = ["/api/client/features", "/api/frontend", "/api/frontend/client/metrics", "/api/proxy", "/edge/validate"]
OURS = ["/sdk/v1/nothing", "/api/v1/nothing", "/api/clients", "/ofrepx", "/"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running_in_process(tmp_path) as server:
        yield server


def problem(status: int = 503, slug: str = "unavailable", hint: str | None = "Try again later.") -> Problem:
    return Problem(
        type=f"urn:fader:problem:{slug}",
        title="Not now",
        status=status,
        detail="It is away.",
        request_id="1",
        hint=hint,
    )


def is_of_the_form_of(path: str, answer: Answer) -> bool:
    """Whether an error has the form that clients of the path can read."""
    if path in OURS:
        return answer.headers["content-type"] == "application/problem+json" and answer.json["status"] == answer.status
    if answer.headers["content-type"] != "application/json":
        return False
    return set(answer.json) == ({"errorCode", "errorDetails"} if path.startswith("/ofrep") else {"name", "message"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (OFREP, {"errorCode": "GENERAL", "errorDetails": "It is away. Try again later."}),
        (f"{OFREP}/a", {"key": "a", "errorCode": "GENERAL", "errorDetails": "It is away. Try again later."}),
        (f"{OFREP}/", {"errorCode": "GENERAL", "errorDetails": "It is away. Try again later."}),
        ("/api/client", {"name": "ServiceUnavailableError", "message": "It is away. Try again later."}),
    ],
)
def test_each_protocol_has_its_form(path: str, expected: object) -> None:
    media_type, body = error_body(path, problem())
    assert media_type == "application/json"
    assert json.loads(body) == expected


@pytest.mark.parametrize(
    ("slug", "code"),
    [
        ("malformed", "PARSE_ERROR"),
        ("invalid", "INVALID_CONTEXT"),
        ("flag-not-found", "FLAG_NOT_FOUND"),
        ("too-many-requests", "GENERAL"),
    ],
)
def test_ofrep_has_codes(slug: str, code: str) -> None:
    assert json.loads(error_body(OFREP, problem(slug=slug, hint=None))[1]) == {
        "errorCode": code,
        "errorDetails": "It is away.",
    }


async def test_what_the_framework_says_comes_in_the_form_of_the_path(server: InProcess) -> None:
    for path in [*UNLEASH, "/ofrep/v1/nothing", *OURS]:
        for answer in (await server.request("GET", path), await server.request("PATCH", path, raw=b"{")):
            assert answer.status >= 400
            assert is_of_the_form_of(path, answer), (path, answer)


async def test_who_asks_too_often_is_told_so_in_the_form_of_the_path(tmp_path: Path) -> None:
    async with running_in_process(tmp_path, FADER_ADMIN_REQUESTS_PER_SECOND="1") as server:
        for path in (UNLEASH[0], OFREP, OURS[0]):
            answers = [await server.request("POST", path) for _ in range(30)]
            refused = [answer for answer in answers if answer.status == 429]
            assert refused
            for answer in refused:
                assert is_of_the_form_of(path, answer), answer
                assert int(answer.headers["retry-after"]) > 0
