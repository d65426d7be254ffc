"""The oracle, too, answers Unleash's client specification, so that what it finds in the evaluator can be
trusted."""

from functools import cache

import pytest

from conformance.unleash_cases import Case, all_cases, answer, translated
from fader_server.unleash.contexts import context_attributes
from fader_server.unleash.translation import Translation
from oracle import Oracle

translation_of = cache(translated)


def oracle_for(translation: Translation) -> Oracle:
    return Oracle(
        {key: found.flag for key, found in translation.flags.items()},
        {key: found.segment for key, found in translation.segments.items()},
    )


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_the_oracle_answers_as_unleash_specifies(case: Case) -> None:
    translation = translation_of(case.file)

    outcomes = oracle_for(translation).outcomes(case.flag, context_attributes(case.context))

    given = [answer(case, translation, enabled=outcome.enabled, variant=outcome.variant) for outcome in outcomes]
    assert given == [case.expected] * len(outcomes)
