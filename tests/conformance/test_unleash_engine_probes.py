"""Questions that the specification leaves open, as two real engines of Unleash's answered them.

Where both engines agree Fader must agree with them, but for the few answers listed here with their reason. Where they
disagree, Fader's answer is that of one of them.
"""

from typing import Any

import pytest

from conformance_files import conformance_json
from fader.context import Context
from fader.model import Snapshot
from fader.snapshot import FlagSet
from fader_server.unleash.answers import variant_answer
from fader_server.unleash.contexts import context_attributes
from fader_server.unleash.model import read_document
from fader_server.unleash.state import state_of
from fader_server.unleash.translation import translate

PROBES = conformance_json("engine-probes.json")["probes"]

OTHERWISE = {
    "NUM_EQ value '9007199254740993' against '9007199254740992'": "integers are compared exactly",
    "NUM_LT 5 against Infinity": "an infinity is not a number that a rule can compare with",
    "SEMVER_GT value '1.0.0' against '18446744073709551616.0.0'": "numbers in versions have no largest one",
}
"""Where Fader answers otherwise than both engines, by the probe's label, and why."""


def answers(probe: dict[str, Any]) -> str:
    """Fader's answer in the notation of the probes, where a slash joins the outcomes of a draw."""
    name = probe["feature"]["name"]
    translated = translate(state_of(read_document({"features": [probe["feature"]]}))).flags[name]
    flags = FlagSet(Snapshot(project="p", environment="e", epoch="00000000", revision=1, flags={name: translated.flag}))
    attributes = context_attributes(probe["context"])
    context = Context(attributes.pop("targeting_key", None), **attributes)
    given = set()
    for _ in range(64 if "/" in probe["yggdrasil_0_20_8"] else 1):
        details = flags.details(name, context, None)
        if probe["call"] == "isEnabled":
            given.add(str(details.enabled))
        else:
            given.add(variant_answer(translated, details.enabled, details.variant).name)
    return "/".join(sorted(given))


def test_no_probe_is_lost() -> None:
    assert len(PROBES) == 127
    assert sum(probe["agree"] for probe in PROBES) == 83


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe["feature"]["name"] + ": " + ascii(probe["label"]))
def test_the_answer_is_one_of_unleashs(probe: dict[str, Any]) -> None:
    engines = {probe["yggdrasil_0_20_8"], probe["node_6_12_1"]}
    assert (answers(probe) in engines) is (probe["label"] not in OTHERWISE)


ON_THE_CONTEXT = {
    "rollout number 1 (not a string)": "Unleash's server makes texts of parameters before any engine reads them",
    "rollout 100 sticky on userId, userId ''": "an empty user id",
    "NUM_EQ value '5' against ' 5 '": "a number with blanks around it",
    "NUM_EQ value '5' against '0x5'": "a hexadecimal number",
    "NUM_EQ value '0' against ''": "an empty text as a number",
    "NUM_GT 5 against '' ": "an empty text as a number",
    "DATE_AFTER value '2022-01-29T13:00:00.000Z', currentTime '2022-01-30'": "a time of day is missing",
    "DATE_AFTER value '2022-01-29T13:00:00.000Z', currentTime '2022-01-30T13:00:00'": "a time zone is missing",
    "SEMVER_GT value '1.2.3' against ' 1.2.4'": "a version with blanks around it",
    "variant sticky 'default' uses remoteAddress if no user/session": "neither a user nor a session",
}
"""Where the engines disagree because of what an application passes, and not because of what the flag says: nothing that
could be told about the flag."""


@pytest.mark.parametrize("probe", [one for one in PROBES if not one["agree"]], ids=lambda probe: ascii(probe["label"]))
def test_what_the_engines_disagree_about_is_noted_as_such(probe: dict[str, Any]) -> None:
    name = probe["feature"]["name"]
    notes = translate(state_of(read_document({"features": [probe["feature"]]}))).flags[name].notes
    is_noted = any(note.severity in ("disputed", "differs") for note in notes)
    assert is_noted is (probe["label"] not in ON_THE_CONTEXT)
