"""Random flags, random contexts: our SDK, Unleash's for Python and Unleash's for Node give the same answers.

All three have them from one server, at one revision. ``--random-flags 1000 --random-seed 7`` tries more, or others.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

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


def test_three_sdks_answer_alike(tmp_path: Path, clients: ClientProcesses, request: pytest.FixtureRequest) -> None:
    random = Random(request.config.getoption("random_seed"))
    flags = random_flags(random, request.config.getoption("random_flags"))
    project = StoredProject("random", flags, random_segments(random))
    contexts = random_contexts(random, 100)
    inexact = outward(Snapshot("random", "e", epoch="0", revision=1, flags=flags, segments=project.segments)).notes
    server = ServerProcess(tmp_path / "server")
    make_database(server.database)
    store_projects(server.database, [project])
    try:
        server.start()
        expected = ours(server, project, contexts)
        given = {}
        for name in (PYTHON, NODE):
            client = clients[name].create(server.url, project.server_key)
            given[name] = theirs(client, flags, contexts)
            client.close()
    finally:
        server.close()

    differences = [
        {"flag": flag, "context": context, "ours": our, PYTHON: python, NODE: node}
        for context, *rows in zip(contexts, expected, given[PYTHON], given[NODE], strict=True)
        for flag, our, python, node in zip(flags.values(), *rows, strict=True)
        if not (python == node and fits(our, python, is_exact=flag.key not in inexact))
    ]
    assert not differences, f"{len(differences)} answers differ: {differences[:3]}"
    assert len(inexact) < 0.1 * len(flags)
    assert 0.2 < sum(enabled for row in expected for enabled, _, _ in row) / (len(flags) * len(contexts)) < 0.8
