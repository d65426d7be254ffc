"""Unleash's client specification through Fader: each of its states imported, its questions asked by real clients.

What a client answers is what the file says, but for the cases listed here with their reasons.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.unleash_cases import IS_ENABLED, SUITE, Case, all_cases, answer, translated
from conformance_files import conformance_json
from fader_server.unleash.contexts import context_attributes
from fader_server.unleash.translation import TranslatedFlag
from processes import ServerProcess, running_server
from real_clients.client_process import Client
from real_clients.clients import BROWSER, NODE, OFREP_BROWSER, OFREP_NODE, OFREP_PYTHON, OLD_PYTHON, PYTHON
from real_clients.conftest import ClientProcesses
from real_clients.what_they_lack import lack

pytestmark = pytest.mark.xdist_group("Unleash's specification by real clients")

CASES = all_cases()
FILES = sorted({case.file for case in CASES})

BROWSERS = frozenset({BROWSER})
EVERYONE = frozenset({NODE, PYTHON, OLD_PYTHON, BROWSER, OFREP_NODE, OFREP_PYTHON, OFREP_BROWSER})

Asking = Callable[[Client, list[Case]], list[Any]]


def asked_plainly(client: Client, cases: list[Case]) -> list[Any]:
    """What a client of Unleash's answers."""
    given = client.answers([(case.question, case.flag, case.context) for case in cases])
    for one in given:
        if isinstance(one, dict):
            one.pop("weightType", None)  # which old clients hand on from Unleash's own server, too
    return given


def asked_by_ofrep(client: Client, cases: list[Case]) -> list[Any]:
    """What a client of OpenFeature's is told, as an answer of Unleash's: by the variant that a flag serves."""
    translation = translated(cases[0].file)
    questions = []
    for case in cases:
        attributes = context_attributes(case.context)
        key = {"targetingKey": attributes.pop("targeting_key")} if "targeting_key" in attributes else {}
        questions.append((type_of(translation.flags.get(case.flag)), case.flag, key | attributes))
    given = []
    for case, details in zip(cases, client.answers(questions), strict=True):
        flag, variant = translation.flags.get(case.flag), details.get("variant")
        enabled = flag is not None and variant is not None and variant != flag.flag.off_variant
        given.append(answer(case, translation, enabled=enabled, variant=variant))
    return given


def type_of(found: TranslatedFlag | None) -> str:
    """Which method an application calls."""
    if found is None:
        return "boolean"
    if found.flag.type != "number":
        return found.flag.type
    return "float" if any(isinstance(variant.value, float) for variant in found.flag.variants) else "integer"


@dataclass(frozen=True)
class Way:
    """A way in which answers come to an application."""

    client: str
    settings: Mapping[str, Any]
    asking: Asking = asked_plainly
    key: str = "server"

    def __str__(self) -> str:
        return " ".join((self.client, *map(str, self.settings.values())))


WAYS = [
    Way(NODE, {"mode": "polling"}),
    Way(NODE, {"mode": "streaming"}),
    Way(NODE, {"mode": "delta"}),
    Way(PYTHON, {"mode": "polling"}),
    Way(PYTHON, {"mode": "streaming"}),
    Way(OLD_PYTHON, {"mode": "polling"}),
    Way(BROWSER, {"by_post": False}, key="client"),
    Way(BROWSER, {"by_post": True}, key="client"),
    Way(OFREP_NODE, {}, asked_by_ofrep),
    Way(OFREP_PYTHON, {}, asked_by_ofrep),
    Way(OFREP_BROWSER, {}, asked_by_ofrep, key="client"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("specification") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> dict[str, dict[str, str]]:
    """The state of each file is imported into a project of its own: the keys to that, by kind."""
    keys: dict[str, dict[str, str]] = {}
    for file in FILES:
        project = file.removesuffix(".json")
        server.admin.ok("POST", "/projects", {"key": project})
        document = conformance_json(SUITE, "specifications", file)["state"]
        # Some of the flags are there to show what SDKs make of what nobody can have meant.
        leniently = {"skip_refused": True, "accept": ["disputed"]}
        imported = {"format": "unleash", "document": document, "environment": "production", **leniently}
        server.admin.ok("POST", f"/projects/{project}/import", imported)
        keys[file] = {}
        for kind in ("server", "client"):
            wanted = {"name": kind, "environment": "production", "kind": kind}
            keys[file][kind] = server.admin.ok("POST", f"/projects/{project}/keys", wanted)["secret"]
    return keys


KNOWN: Mapping[tuple[str, int], tuple[frozenset[str], str]] = {
    ("18-utf8-flag-names.json", 1): (EVERYONE, "keys of flags are plain letters and digits, so it is not imported"),
    ("18-utf8-flag-names.json", 2): (EVERYONE, "keys of flags are plain letters and digits, so it is not imported"),
    ("04-gradual-rollout-session-id-strategy.json", 2): (BROWSERS, "who has no session gets one, as from Unleash"),
    ("06-remote-address-strategy.json", 2): (BROWSERS, "who has no address is given the caller's, as by Unleash"),
}
"""Questions about whether a flag is on that are answered otherwise: to whom, and why."""

RESPECTED: Mapping[str, tuple[int, ...]] = {"22-cidr-constraint-operators.json": (1, 3, 5)}
"""Cases that a client answers from Fader though it cannot from Unleash's own states: networks of IPv4 are sent as it
knows them."""


def known_reason(way: Way, case: Case) -> str | None:
    """Why a case is answered otherwise; None for one that is answered as specified."""
    to_whom, why = KNOWN.get((case.file, case.number), (frozenset(), ""))
    if case.question == IS_ENABLED and way.client in to_whom:
        return why
    return None if case.number in RESPECTED.get(case.file, ()) else lack(way.client, case)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_clients_answer_as_specified(
    way: Way, clients: ClientProcesses, server: ServerProcess, keys: dict[str, dict[str, str]]
) -> None:
    otherwise: dict[str, Any] = {}
    expected: dict[str, str] = {}
    for file in FILES:
        cases = [case for case in CASES if case.file == file]
        client = clients[way.client].create(server.url, keys[file][way.key], **way.settings)
        for case, given in zip(cases, way.asking(client, cases), strict=True):
            if given != case.expected:
                otherwise[case.id] = given
            if reason := known_reason(way, case):
                expected[case.id] = reason
        client.close()
    assert otherwise.keys() == expected.keys(), {case: otherwise.get(case) for case in otherwise.keys() ^ expected}
