"""Random documents of flagd's for Hypothesis, and its own evaluator to hold what becomes of them against.

Every attribute has one natural type, in rules and in contexts alike: with a text where a number is expected, engines of
JSONLogic each have their own way, and Fader has another.
"""

import logging
from typing import Any

from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)

DEFAULT = "the caller's own"
VERSIONS = ("1.2.3", "1.2.0-alpha", "1.3.0", "2.0.0", "1.0.0-rc.1")


def _var(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(names).flatmap(lambda name: st.sampled_from([{"var": name}, {"var": [name]}]))


def _either_way(operators: tuple[str, ...], one: Any, other: Any) -> st.SearchStrategy[dict[str, Any]]:
    sides = st.tuples(one, other).flatmap(lambda pair: st.sampled_from([list(pair), list(pair)[::-1]]))
    return st.builds(lambda operator, pair: {operator: pair}, st.sampled_from(operators), sides)


_texts, _number = _var("plan", "targetingKey"), _var("age")
_same, _size = ("==", "!=", "===", "!=="), ("<", "<=", ">", ">=")
_comparison = st.one_of(
    _either_way(_same, _texts, st.sampled_from(["pro", "free", "ada"])),
    _either_way(_same, _number, st.sampled_from([18, 2.5])),
    _either_way(_same, _var("beta"), st.just(True)),
    _either_way(("===", "!=="), _var("beta", "plan", "age"), st.none()),
    _either_way(_size, _number, st.sampled_from([18, 0, -1, 2.5])),
    st.builds(lambda var, values: {"in": [var, values]}, _texts, st.lists(st.sampled_from(["pro", "free", "ada"]))),
    st.builds(lambda var, text: {"in": [text, var]}, _texts, st.sampled_from(["p", "fr"])),
    st.builds(
        lambda operator, var, text: {operator: [var, text]},
        st.sampled_from(["starts_with", "ends_with"]),
        _texts,
        st.sampled_from(["p", "o"]),
    ),
    st.builds(
        lambda sign, version: {"sem_ver": [{"var": "version"}, sign, version]},
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "^", "~"]),
        st.sampled_from(VERSIONS),
    ),
    st.just({"$ref": "is_pro"}),
)
conditions = st.recursive(
    _comparison,
    lambda inner: st.one_of(
        st.builds(lambda one: {"!": one}, inner),
        st.builds(
            lambda operator, parts: {operator: parts},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=5,
)
targetings = st.recursive(
    st.sampled_from(["a", "b", None]),
    lambda inner: st.builds(
        lambda pairs, last: {"if": [*(part for pair in pairs for part in pair), *last]},
        st.lists(st.tuples(conditions, inner), min_size=1, max_size=3),
        st.lists(inner, max_size=1),
    ),
    max_leaves=4,
)
documents = st.builds(
    lambda condition, one, other, default: {
        "flags": {
            "flag": {
                "state": "ENABLED",
                "variants": {"a": "A", "b": "B"},
                "defaultVariant": default,
                "targeting": {"if": [condition, one, other]},
            }
        },
        "$evaluators": {"is_pro": {"==": [{"var": "plan"}, "pro"]}},
    },
    conditions,
    targetings,
    targetings,
    st.sampled_from(["a", None]),
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(["pro", "free", "other"]),
        "age": st.sampled_from([18, 0, 5, 17.5, -3]),
        "version": st.sampled_from(VERSIONS),
        "targetingKey": st.sampled_from(["ada", "bob", "pro"]),
        "beta": st.booleans(),
    },
)


def engine(document: dict[str, Any]) -> FlagdCore:
    """flagd's own evaluator with a document."""
    core = FlagdCore()
    core.set_flags(document)
    return core


def evaluation_context(context: dict[str, Any]) -> EvaluationContext:
    """A context as OpenFeature has it."""
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    return EvaluationContext(context.get("targetingKey"), attributes)
