"""Unleash's client specification, as browsers see it: flags that have been translated are flags like any other, and
where they came from is known no longer."""

import msgspec
import pytest

from conformance.test_unleash_specification import evaluator_of
from conformance.unleash_cases import GET_VARIANT, Case, all_cases
from fader.context import Context
from fader_server.unleash.answers import answer_of
from fader_server.unleash.contexts import context_attributes

UNKNOWN = "Feature.Variants.MissingToggle"
"""A flag that there is not is not listed."""

CASES = [case for case in all_cases() if case.question == GET_VARIANT and case.flag != UNKNOWN]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_browsers_get_the_variants_that_unleash_specifies(case: Case) -> None:
    _, flags = evaluator_of(case.file)
    attributes = context_attributes(case.context)
    context = Context(attributes.pop("targeting_key", None), **attributes)
    outcome = flags.decide(case.flag, context)
    flag = flags.snapshot.flags[case.flag]
    answer = answer_of(flag, enabled=outcome.enabled, variant=outcome.variant, value=outcome.value)
    assert msgspec.to_builtins(answer) == case.expected
