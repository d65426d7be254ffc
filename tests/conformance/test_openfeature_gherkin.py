"""The scenarios of OpenFeature's specification, through our provider."""

from collections import Counter
from typing import Final

import pytest

from conformance.gherkin_scenarios import Scenario, scenarios
from conformance.openfeature_steps import STEPS, ScenarioWorld
from conformance_files import conformance_path

FILES: Final = ("evaluation_v2.feature", "hooks.feature", "metadata.feature")
"""Of the two others one is the older form of the first, and one is about how OpenFeature's SDK merges contexts."""

NOT_OURS: Final = {
    "CACHED reason": "evaluating costs less than a cache would",
    "Provider in fatal state error": "nothing stops a client for good: a key that is refused may be mended",
    "Flag metadata in evaluation details": "metadata tell where an answer comes from; no flag has any of its own",
    "Returns metadata": "the same",
    "Returns no metadata": "the same: there always is a revision",
}
FATAL: Final = ("Provider status accessibility", 4)
"""The row of a fatal provider, as above."""


def _all() -> list[Scenario]:
    suite = conformance_path("openfeature-specification") / "gherkin"
    return [scenario for name in FILES for scenario in scenarios(suite / name)]


def _is_ours(scenario: Scenario) -> bool:
    return scenario.name not in NOT_OURS and (scenario.name, scenario.number) != FATAL


SCENARIOS: Final = _all()


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if _is_ours(each)], ids=lambda each: each.id)
def test_scenario(scenario: Scenario) -> None:
    with ScenarioWorld() as world:
        STEPS.run(world, scenario)


def test_what_is_left_out_is_known() -> None:
    left_out = Counter(each.name for each in SCENARIOS if not _is_ours(each))
    assert left_out == {
        "CACHED reason": 2,
        "Provider in fatal state error": 5,
        "Provider status accessibility": 1,
        "Flag metadata in evaluation details": 1,
        "Returns metadata": 1,
        "Returns no metadata": 4,
    }
    assert len(SCENARIOS) - left_out.total() == 76
