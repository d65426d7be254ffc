"""Random flags, random contexts: our SDK, Unleash's for Python and Unleash's for Node give the same answers, and the
server gives them as well to those who ask it.

All have them from one server, at one revision. ``--random-flags 5000 --random-seed 7`` tries more, or others.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import urllib3

from conformance.unleash_cases import GET_VARIANT, IS_ENABLED
from fader import Client, Context
from fader.model import Flag, Snapshot
from fader_server.unleash.contexts import context_attributes
from fader_server.unleash.outward import outward
from processes import PATIENCE, ServerProcess
from real_clients.client_process import Client as RealClient
from real_clients.clients import NODE, PYTHON
from real_clients.conftest import ClientProcesses
from real_clients.random_flags import random_contexts, random_flags, random_segments
from services.sqlite_files import make_database
from stored_projects import StoredProject, store_projects

pytestmark = pytest.mark.xdist_group("random flags by real clients")

Answer = tuple[bool, str, Any]
"""Whether a flag is on, its variant, and the variant's value."""
Answers = list[list[Answer]]
"""Of each context, and in it of each flag."""

NOTHING = "disabled"


def ours(server: ServerProcess, project: StoredProject, contexts: list[dict[str, Any]]) -> Answers:
    client = Client(url=server.url, sdk_key=project.server_key, cache_dir="", usage=False)
    try:
        assert client.wait_until_ready(timeout=PATIENCE)
        answers = []
        for given in contexts:
            attributes = context_attributes(given)
            context = Context(attributes.pop("targeting_key", None), **attributes)
            row = []
            for key, flag in project.flags.items():
                details = client.evaluate(key, context, default=None)
                has_variant = details.enabled and flag.variants
                row.append(
                    (
                        details.enabled,
                        details.variant if has_variant else NOTHING,
                        details.value if has_variant else None,
                    )
                )
            answers.append(row)
        return answers
    finally:
        client.close()


def theirs(client: RealClient, flags: Mapping[str, Flag], contexts: list[dict[str, Any]]) -> Answers:
    """What a client of Unleash's answers. A flag without variants is only asked for its on and off: half the time."""

    def read(cell: str, flag: Flag) -> tuple[bool, str, Any]:
        enabled, _, more = cell.partition("|")
        variant, _, payload = more.partition("|")
        if variant in ("", NOTHING):
            return enabled == "true", NOTHING, None
        return enabled == "true", variant, payload if flag.type == "string" else json.loads(payload)

    questions = [(GET_VARIANT if flag.variants else IS_ENABLED, key) for key, flag in flags.items()]
    rows = client.ask("table", questions=questions, contexts=contexts)["rows"]
    return [[read(cell, flag) for cell, flag in zip(row, flags.values(), strict=True)] for row in rows]


def fits(our: Answer, their: Answer, *, is_exact: bool) -> bool:
    """Whether an answer is ours; or, for a flag that Unleash's SDKs cannot be told all of, at least not on for more."""
    return our == their or (not is_exact and not their[0])


@dataclass(frozen=True)
class World:
    """A server with random flags, contexts to ask about, and what our SDK answers."""

    server: ServerProcess
    project: StoredProject
    contexts: list[dict[str, Any]]
    expected: Answers

    def differences(self, given: Answers, inexact: Collection[str] = ()) -> list[dict[str, Any]]:
        """Where answers are not those that are expected.

        Args:
            given: The answers.
            inexact: The flags of which somebody cannot be told all: they may be off for more, but not on for any.
        """
        return [
            {"flag": flag, "context": context, "expected": our, "given": their}
            for context, *rows in zip(self.contexts, self.expected, given, strict=True)
            for flag, our, their in zip(self.project.flags.values(), *rows, strict=True)
            if their != our and (their[0] or flag.key not in inexact)
        ]


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    random = Random(request.config.getoption("random_seed"))
    flags = random_flags(random, request.config.getoption("random_flags"))
    project = StoredProject("random", flags, random_segments(random))
    contexts = random_contexts(random, 100)
    unlimited = {"FADER_CLIENT_REQUESTS_PER_SECOND": "100000"}
    server = ServerProcess(tmp_path_factory.mktemp("random") / "server", unlimited)
    make_database(server.database)
    store_projects(server.database, [project])
    try:
        server.start()
        yield World(server, project, contexts, ours(server, project, contexts))
    finally:
        server.close()


def test_the_flags_are_of_all_kinds(world: World) -> None:
    answers = [answer for row in world.expected for answer in row]
    assert 0.2 < sum(enabled for enabled, _, _ in answers) / len(answers) < 0.8
    assert {variant for _, variant, _ in answers} == {NOTHING, "red", "blue", "green"}


def test_unleashs_sdks_answer_as_ours(world: World, clients: ClientProcesses) -> None:
    flags = world.project.flags
    snapshot = Snapshot("random", "e", epoch="0", revision=1, flags=dict(flags), segments=dict(world.project.segments))
    inexact = outward(snapshot).notes
    given = {}
    for name in (PYTHON, NODE):
        client = clients[name].create(world.server.url, world.project.server_key)
        given[name] = theirs(client, flags, world.contexts)
        client.close()

    differences = world.differences(given[PYTHON], inexact=inexact)
    assert not differences, f"{len(differences)} answers differ: {differences[:3]}"
    assert given[NODE] == given[PYTHON]
    assert len(inexact) < 0.1 * len(flags)


def test_browsers_with_unleashs_sdk_are_answered_as_ours(world: World) -> None:
    given = []
    for context in world.contexts:
        toggles = {toggle["name"]: toggle for toggle in asked(world, "/api/frontend", context)["toggles"]}
        given.append([from_toggle(toggles.get(key), flag) for key, flag in world.project.flags.items()])

    differences = world.differences(given)
    assert not differences, f"{len(differences)} answers differ: {differences[:3]}"


def test_openfeatures_providers_are_answered_as_ours(world: World) -> None:
    given = []
    for context in world.contexts:
        attributes = context_attributes(context)
        attributes["targetingKey"] = attributes.pop("targeting_key")
        found = {one["key"]: one for one in asked(world, "/ofrep/v1/evaluate/flags", attributes)["flags"]}
        given.append([from_evaluation(found[key], flag) for key, flag in world.project.flags.items()])

    differences = world.differences(given)
    assert not differences, f"{len(differences)} answers differ: {differences[:3]}"


def asked(world: World, path: str, context: dict[str, Any]) -> Any:
    headers = {"Authorization": world.project.client_key, "Content-Type": "application/json"}
    body = json.dumps({"context": context})
    answer = urllib3.request("POST", world.server.url + path, body=body, headers=headers, retries=False)
    assert answer.status == 200, answer.data
    return answer.json()


def from_toggle(toggle: dict[str, Any] | None, flag: Flag) -> Answer:
    """What a browser is told; flags that are off are left out."""
    if toggle is None or not flag.variants:
        return toggle is not None, NOTHING, None
    variant = toggle["variant"]
    payload = variant["payload"]["value"]
    return True, variant["name"], payload if flag.type == "string" else json.loads(payload)


def from_evaluation(found: dict[str, Any], flag: Flag) -> Answer:
    """What OpenFeature is told: a flag is off where it serves its off variant."""
    if found["variant"] == flag.off_variant or not flag.variants:
        return found["variant"] != flag.off_variant, NOTHING, None
    return True, found["variant"], found["value"]
