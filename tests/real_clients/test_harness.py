"""What drives the clients changes none of their answers: given Unleash's own states, they give Unleash's answers.

Whatever differs in the other tests here is Fader's doing, then.
"""

from collections.abc import Iterator

import pytest

from conformance.unleash_cases import GET_VARIANT, IS_ENABLED, SUITE, Case, all_cases
from conformance_files import conformance_json
from real_clients.clients import BROWSER, NODE, OLD_PYTHON, PYTHON
from real_clients.conftest import ClientProcesses
from real_clients.scripted_unleash import ScriptedUnleash, scripted_unleash
from real_clients.what_they_lack import lack

pytestmark = pytest.mark.xdist_group("clients on Unleash's own states")

CASES = all_cases()
FILES = sorted({case.file for case in CASES})


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedUnleash]:
    with scripted_unleash() as server:
        for file in FILES:
            server.states[file] = conformance_json(SUITE, "specifications", file)["state"]
        yield server


def answered_otherwise(
    clients: ClientProcesses, name: str, server: ScriptedUnleash, cases: list[Case], mode: str
) -> list[Case]:
    """The cases that a client answers otherwise than Unleash specifies."""
    found = []
    for file in sorted({case.file for case in cases}):
        asked = [case for case in cases if case.file == file]
        client = clients[name].create(server.url, file, mode=mode)
        answers = client.answers([(case.question, case.flag, case.context) for case in asked])
        found += [case for case, answer in zip(asked, answers, strict=True) if answer != case.expected]
        client.close()
    return found


@pytest.mark.parametrize("mode", ["polling", "streaming"])
@pytest.mark.parametrize("name", [NODE, PYTHON])
def test_all_cases_are_answered_as_specified(
    name: str, mode: str, clients: ClientProcesses, server: ScriptedUnleash
) -> None:
    assert [case.id for case in answered_otherwise(clients, name, server, CASES, mode)] == []


def test_the_old_client_answers_what_it_knows(clients: ClientProcesses, server: ScriptedUnleash) -> None:
    # It takes no events. Where a strategy's variants have no stickiness of their own it draws one of them.
    drawn = ("16-strategy-variants.json", GET_VARIANT)
    known = [case for case in CASES if "events" not in server.states[case.file]]
    settled = [case for case in known if (case.file, case.question) != drawn or case.number not in (10, 11)]

    otherwise = answered_otherwise(clients, OLD_PYTHON, server, settled, "polling")

    assert [case.id for case in otherwise] == [case.id for case in settled if lack(OLD_PYTHON, case)]
    assert (len(known), len(settled), len(otherwise)) == (275, 273, 31)


def test_the_browsers_client_says_what_it_is_given(clients: ClientProcesses, server: ScriptedUnleash) -> None:
    variant = {"name": "blue", "enabled": True, "feature_enabled": True, "payload": {"type": "string", "value": "b"}}
    toggle = {"name": "new-search", "enabled": True, "impressionData": False, "variant": variant}
    server.toggles["browser"] = {"toggles": [toggle]}

    client = clients[BROWSER].create(server.url, "browser")

    context = {"userId": "7", "properties": {"plan": "pro"}}
    asked = [(question, flag, context) for question in (IS_ENABLED, GET_VARIANT) for flag in ("new-search", "other")]
    off = {"name": "disabled", "enabled": False, "feature_enabled": False}
    assert client.answers(asked) == [True, False, variant, off]
