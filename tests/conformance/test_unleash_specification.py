"""Unleash's client specification, answered by Fader's evaluator through the translation of Unleash's format."""

from collections import Counter
from functools import cache

import pytest

from conformance.unleash_cases import GET_VARIANT, IS_ENABLED, Case, all_cases, answer, translated
from fader.context import Context
from fader.model import Snapshot
from fader.snapshot import FlagSet
from fader_server.unleash.contexts import context_attributes
from fader_server.unleash.translation import Translation

CASES = all_cases()


@cache
def evaluator_of(file: str) -> tuple[Translation, FlagSet]:
    translation = translated(file)
    snapshot = Snapshot(
        project="default",
        environment="unleash",
        epoch="00000000",
        revision=1,
        flags={key: found.flag for key, found in translation.flags.items()},
        segments={key: found.segment for key, found in translation.segments.items()},
    )
    return translation, FlagSet(snapshot)


def test_no_case_is_lost() -> None:
    assert Counter(case.question for case in CASES) == {IS_ENABLED: 227, GET_VARIANT: 52}
    assert len({case.id for case in CASES}) == 279


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_evaluator_answers_as_unleash_specifies(case: Case) -> None:
    translation, flags = evaluator_of(case.file)
    attributes = context_attributes(case.context)
    context = Context(attributes.pop("targeting_key", None), **attributes)

    details = flags.details(case.flag, context, None)

    assert answer(case, translation, enabled=details.enabled, variant=details.variant) == case.expected
    if case.flag in translation.flags:
        assert flags.enabled[case.flag](context) is details.enabled
