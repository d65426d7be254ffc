"""OpenFeature's own providers for OFREP, in three languages, with Fader as their only server."""

from collections.abc import Iterator
from typing import Any

import pytest

from processes import ServerProcess, running_server, wait_for
from real_clients.clients import OFREP_BROWSER, OFREP_NODE, OFREP_PYTHON
from real_clients.conftest import ClientProcesses

pytestmark = pytest.mark.xdist_group("OpenFeature's providers for OFREP")

GERMANS = {"constraints": [{"attribute": "country", "operator": "in", "values": ["DE"]}], "id": "germans"}
NUMBERS = {"type": "number", "off_variant": "off"}
FLAGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "switched": ({}, {"enabled": False}),
    "targeted": ({}, {"enabled": True, "rules": [GERMANS]}),
    "child": ({}, {"enabled": True, "prerequisites": [{"flag": "switched"}]}),
    "text": (
        {
            "type": "string",
            "variants": [{"name": "a", "value": "one"}, {"name": "off", "value": "two"}],
            "off_variant": "off",
        },
        {"enabled": True},
    ),
    "whole": (
        NUMBERS | {"variants": [{"name": "low", "value": 1}, {"name": "off", "value": 2}]},
        {"enabled": True},
    ),
    "fraction": (
        NUMBERS | {"variants": [{"name": "low", "value": 1}, {"name": "off", "value": 2.5}]},
        {"enabled": True},
    ),
    "theme": (
        {
            "type": "object",
            "variants": [{"name": "dark", "value": {"colour": "black"}}, {"name": "off", "value": {}}],
            "off_variant": "off",
        },
        {"enabled": True},
    ),
}
GERMAN = {"targetingKey": "ada", "country": "DE"}
QUESTIONS = [
    ("boolean", "targeted", GERMAN),
    ("boolean", "targeted", {"targetingKey": "ada", "country": "FR"}),
    ("boolean", "child", GERMAN),
    ("string", "text", GERMAN),
    ("float", "fraction", GERMAN),
    ("integer", "whole", GERMAN),
    ("object", "theme", GERMAN),
    ("boolean", "nothing", GERMAN),
]
ANSWERS = [
    (True, "on", "TARGETING_MATCH", None),
    (False, "off", "DEFAULT", None),
    (False, "off", "DISABLED", None),
    ("one", "a", "STATIC", None),
    (1.0, "low", "STATIC", None),
    (1, "low", "STATIC", None),
    ({"colour": "black"}, "dark", "STATIC", None),
    (False, None, "ERROR", "FLAG_NOT_FOUND"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("ofrep")) as server:
        for key, (definition, configuration) in FLAGS.items():
            server.admin.create_flag(key, **definition)
            server.admin.ok("PUT", f"/projects/default/flags/{key}/environments/production", configuration)
        yield server


@pytest.fixture(scope="module")
def client_key(server: ServerProcess) -> str:
    body = {"name": "page", "environment": "production", "kind": "client"}
    secret: str = server.admin.ok("POST", "/projects/default/keys", body)["secret"]
    return secret


def told(answer: dict[str, Any]) -> tuple[Any, ...]:
    return (answer["value"], answer.get("variant"), answer["reason"], answer.get("errorCode"))


@pytest.mark.parametrize("name", [OFREP_PYTHON, OFREP_NODE, OFREP_BROWSER])
def test_each_provider_takes_every_kind_of_answer(
    name: str, clients: ClientProcesses, server: ServerProcess, client_key: str
) -> None:
    key = client_key if name == OFREP_BROWSER else server.sdk_key()
    client = clients[name].create(server.url, key, context=GERMAN)
    assert [told(answer) for answer in client.answers(QUESTIONS)] == ANSWERS
    client.close()


@pytest.mark.parametrize("name", [OFREP_PYTHON, OFREP_NODE])
def test_servers_are_told_which_rule_decided(name: str, clients: ClientProcesses, server: ServerProcess) -> None:
    client = clients[name].create(server.url, server.sdk_key())
    [targeted, child] = client.answers([QUESTIONS[0], QUESTIONS[2]])
    assert targeted["flagMetadata"]["rule"] == "germans"
    assert child["flagMetadata"]["fader.reason"] == "PREREQUISITE_FAILED"
    client.close()


def test_a_browser_is_told_of_a_change_and_asks_for_no_more_than_it_needs(
    clients: ClientProcesses, server: ServerProcess, client_key: str
) -> None:
    """It never polls: what it sees, it sees because the stream said so."""
    client = clients[OFREP_BROWSER].create(server.url, client_key, context=GERMAN)

    def requests() -> list[list[Any]]:
        return list(client.ask("news")["requests"])

    def switched() -> bool:
        [answer] = client.ask("read", questions=[("boolean", "switched")])["answers"]
        return bool(answer["value"])

    # The first, and one because it cannot know what has happened before the stream stood.
    wait_for(lambda: len(requests()) == 2, "the first event")
    assert [status for *_, status in requests()] == [200, 304]
    for verb, is_on in (("on", True), ("off", False)):
        asked = len(requests())
        server.admin.verb("switched", verb)
        wait_for(lambda is_on=is_on: switched() is is_on, "the change")
        for _, path, if_none_match, status in requests()[asked:]:
            assert "flagConfigEtag=" in path
            assert if_none_match is not None
            assert status == 200
    changed = [one.partition(": ")[2] for one in client.news if "CHANGED" in one]
    assert changed == ["child,switched"] * 2, "and no other flag"
    client.close()
