"""A server with flags of every kind, and OFREP's own description of what it may answer."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from conformance_files import conformance_path
from in_process import SDK_KEY, Answer, InProcess, running_in_process

CLIENT_KEY = "default:production.client-" + "0123456789abcdef" * 2
ALL = "/ofrep/v1/evaluate/flags"
GERMAN = {"targetingKey": "ada", "country": "DE"}

_THEME = [{"name": "dark", "value": {"colour": "black"}}, {"name": "light", "value": {"colour": "white"}}]
_IN_GERMANY = [{"attribute": "country", "operator": "in", "values": ["DE"]}]

FLAGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "static": ({}, {"enabled": True}),
    "disabled": ({}, {"enabled": False}),
    "targeted": ({}, {"enabled": True, "rules": [{"id": "the-germans", "constraints": _IN_GERMANY}]}),
    "half": ({}, {"enabled": True, "rules": [{"rollout": {"percentage": 50}}]}),
    "child": ({}, {"enabled": True, "prerequisites": [{"flag": "disabled"}]}),
    "text": (
        {"type": "string", "variants": [{"name": "a", "value": "one"}, {"name": "b", "value": "two"}]},
        {"enabled": True},
    ),
    "whole": (
        {"type": "number", "variants": [{"name": "low", "value": 1}, {"name": "high", "value": 2}]},
        {"enabled": True},
    ),
    "fraction": (
        {"type": "number", "variants": [{"name": "low", "value": 1}, {"name": "high", "value": 2.5}]},
        {"enabled": True},
    ),
    "theme": ({"type": "object", "variants": _THEME}, {"enabled": True}),
    "yours": (
        {"type": "string", "variants": [{"name": "yours"}, {"name": "ours", "value": "x"}]},
        {"enabled": True},
    ),
}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def flags_written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the flags."""
    folder = tmp_path_factory.mktemp("flags")
    async with running(folder) as server:
        for key, (definition, configuration) in FLAGS.items():
            off = {"off_variant": definition["variants"][-1]["name"]} if definition else {}
            await server.create_flag(key, configuration, **definition, **off)
    return folder / "fader.db"


@pytest.fixture(scope="session")
async def filled(flags_written: Path) -> AsyncIterator[InProcess]:
    """A server with the flags, of which a test only asks."""
    async with running(flags_written.parent) as server:
        yield server


@pytest.fixture
async def own(flags_written: Path, tmp_path: Path) -> AsyncIterator[InProcess]:
    """A server with the flags, to do with what a test likes."""
    shutil.copy(flags_written, tmp_path)
    async with running(tmp_path) as server:
        yield server


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[InProcess]:
    """A server without flags."""
    async with running(tmp_path) as server:
        yield server


def running(folder: Path, **environment: str) -> AbstractAsyncContextManager[InProcess]:
    """A server as these tests need it."""
    settings = {"FADER_INITIAL_CLIENT_KEYS": CLIENT_KEY, "FADER_POLL_SECONDS": "60", "FADER_MAX_BODY_BYTES": "20000"}
    return running_in_process(folder, **settings, **environment)


async def newest(server: InProcess) -> None:
    """Wait until the server serves what was written."""
    await (await server.state.distributor.feed("default", "production")).catch_up()


async def ask(
    server: InProcess,
    key: str = "",
    context: Any = GERMAN,
    *,
    credential: str = SDK_KEY,
    query: str = "",
    **headers: str,
) -> Answer:
    """Evaluate one flag, or all."""
    sent = {"authorization": f"Bearer {credential}"} | {name.replace("_", "-"): each for name, each in headers.items()}
    path = f"{ALL}/{key}" if key else ALL
    return await server.request("POST", path, {"context": context}, headers=sent, query=query)


def _relaxed(part: Any) -> Any:
    """The description with two corrections: a value fits several of the kinds of values, since one of them is "any",
    and what nothing matched is said to be DEFAULT, as OpenFeature has it."""
    if isinstance(part, list):
        return [_relaxed(each) for each in part]
    if not isinstance(part, dict):
        return part
    relaxed = {("anyOf" if name == "oneOf" else name): _relaxed(each) for name, each in part.items()}
    if "STATIC" in relaxed.get("enum", ()):
        relaxed["enum"] = [*relaxed["enum"], "DEFAULT"]
    return relaxed


@pytest.fixture(scope="session")
def conforms() -> Callable[[Any, str], None]:
    """Fails unless a document is as OFREP describes it, under the name of a schema."""
    described = yaml.safe_load((conformance_path("openfeature-ofrep") / "openapi.yaml").read_text("utf-8"))
    components = _relaxed(described["components"])

    def check(document: Any, schema: str) -> None:
        jsonschema.validate(
            document,
            {"$ref": f"#/components/schemas/{schema}", "components": components},
            jsonschema.Draft202012Validator,
        )

    return check
