"""LaunchDarkly's evaluations, answered by what its flags become: as there, refused, or different for a known reason."""

from collections import Counter
from typing import Any

from conformance.launchdarkly_cases import Evaluation, all_evaluations
from fader.context import Context
from fader.model import Snapshot
from fader.snapshot import FlagSet
from fader_server.imports import launchdarkly
from fader_server.imports.wanted import Acceptable, Wanted, refusals

PASSED = {
    "operators-date-unequal.yml": (8, "milliseconds for a time"),
    "operators-numeric.yml": (4, "a text for a number"),
    "operators-semver-equal.yml": (4, "a part of a version"),
    "operators-semver-unequal.yml": (6, "a part of a version"),
    "operators-string.yml": (16, "a number or a boolean for a text"),
}
"""How many are answered otherwise, and what an application would have to pass for that. Imports tell of it."""

REFUSED = {
    "attribute-references.yml": (7, "attributes inside of others"),
    "clause-kind-matching.yml": (11, "kinds of contexts"),
    "errors-bad-attribute-reference.yml": (4, "broken references"),
    "errors-wrong-type.yml": (6, "boolean flags with texts among their values, or without true or false"),
    "errors.yml": (45, "broken flags"),
    "prerequisites.yml": (4, "broken prerequisites, and such as are to serve what they serve while off"),
    "rollout-or-experiment.yml": (2, "rollouts of nothing"),
    "rule-match.yml": (1, "an operator that nobody knows"),
    "segment-match.yml": (7, "kinds of contexts, shares of segments, negated segments with rules"),
    "segment-recursion.yml": (6, "segments of segments"),
    "target-match.yml": (9, "kinds of contexts"),
    "variation-value-types.yml": (4, "boolean flags with more than two variations"),
}
"""How many are not answered, because their flags are refused."""

_REDRAWN: frozenset[Acceptable] = frozenset({"redrawn"})


def is_refused(wanted: Wanted, key: str, *through: str) -> bool:
    """Whether a flag would be, by itself or because of what it refers to."""
    flags = {one.flag.key: one for one in wanted.flags}
    if key not in flags or key in through:
        return True
    segments = {one.key: one for one in wanted.segments}
    named = {segment for rule in flags[key].flag.rules for segment in rule.segments}
    return bool(
        refusals(flags[key].notes, _REDRAWN)
        or any(refusals(segments[name].notes, _REDRAWN) for name in named)
        or any(is_refused(wanted, one.flag, key, *through) for one in flags[key].flag.prerequisites)
    )


def answer(evaluation: Evaluation) -> Any:
    """What Fader answers, or why nothing: one of the words below."""
    context = evaluation.context
    if context.get("kind") == "multi":
        context = context.get("user", {})
    elif context.get("kind", "user") != "user":
        return "another kind"
    wanted = launchdarkly.wanted(evaluation.data, "production")
    if evaluation.flag not in {one.flag.key for one in wanted.flags}:
        return "no flag"
    if is_refused(wanted, evaluation.flag):
        return "refused"
    snapshot = Snapshot(
        project="p",
        environment="production",
        epoch="00000000",
        revision=1,
        flags={one.flag.key: one.flag for one in wanted.flags},
        segments={one.key: one.segment for one in wanted.segments if one.segment is not None},
    )
    known = {"key", "kind", "custom", "_meta", "privateAttributeNames"}
    attributes = {name: value for name, value in context.items() if name not in known} | context.get("custom", {})
    details = FlagSet(snapshot).details(evaluation.flag, Context(context.get("key"), **attributes), evaluation.default)
    return "equal" if details.value == evaluation.value else "different"


def test_evaluations_are_answered_as_there() -> None:
    evaluations = all_evaluations()
    assert len(evaluations) == 728
    answers = Counter((answer(one), one.file) for one in evaluations)
    assert {file: count for (word, file), count in answers.items() if word == "different"} == {
        file: count for file, (count, _) in PASSED.items()
    }
    assert {file: count for (word, file), count in answers.items() if word == "refused"} == {
        file: count for file, (count, _) in REFUSED.items()
    }
    assert sum(count for (word, _), count in answers.items() if word == "equal") == 561
