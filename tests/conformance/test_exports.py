"""What goes out of Fader answers as it did here: by flagd's own evaluator, and after Unleash's format by ours."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore

from conformance_files import conformance_json
from fader.context import Context
from fader.evaluation import EvaluationDetails
from fader.model import Snapshot
from fader.snapshot import FlagSet
from fader_server.exports import flagd, unleash
from fader_server.imports import unleash as from_unleash
from fader_server.imports.wanted import Acceptable
from flag_strategies import examples
from flagd_documents import DEFAULT, engine, evaluation_context
from portable_flags import contexts, definitions, snapshots

NOTHING: frozenset[Acceptable] = frozenset()
REDRAWN: frozenset[Acceptable] = frozenset({"redrawn"})


def answers(snapshot: Snapshot) -> Callable[[dict[str, Any]], EvaluationDetails[Any]]:
    flags = FlagSet(snapshot)

    def answer(context: dict[str, Any]) -> EvaluationDetails[Any]:
        attributes = {name: value for name, value in context.items() if name != "targetingKey"}
        return flags.details("flag", Context(context.get("targetingKey"), **attributes), DEFAULT)

    return answer


@cache
def schema() -> Any:
    """flagd's own, of two parts: one refers to the other by the name of its file, which has no address here."""
    found, targeting = (conformance_json("flagd-schemas", "json", f"{name}.json") for name in ("flags", "targeting"))
    found = json.loads(json.dumps(found).replace("./targeting.json", targeting["$id"]))
    return jsonschema_rs.Draft7Validator(found, registry=jsonschema_rs.Registry([(targeting["$id"], targeting)]))


def value(core: FlagdCore, snapshot: Snapshot, context: dict[str, Any]) -> Any:
    asked = evaluation_context(context)
    if snapshot.flags["flag"].type == "boolean":
        return core.resolve_boolean_value("flag", True, asked).value
    return core.resolve_string_value("flag", DEFAULT, asked).value


@examples(200)
@given(snapshots(draws=False), st.lists(contexts, min_size=1, max_size=8))
def test_flagd_answers_as_fader_does(snapshot: Snapshot, asked: list[dict[str, Any]]) -> None:
    exported = flagd.exported(snapshot, definitions(snapshot), NOTHING)
    assert exported.refused == {}
    assert [error.message for error in schema().iter_errors(exported.document)] == []
    answer, core = answers(snapshot), engine(exported.document)
    for context in asked:
        assert value(core, snapshot, context) == answer(context).value


@examples(50)
@given(snapshots(), contexts)
def test_shares_are_refused_or_drawn_anew(snapshot: Snapshot, context: dict[str, Any]) -> None:
    refused = flagd.exported(snapshot, definitions(snapshot), NOTHING).refused
    assert {note.severity for notes in refused.values() for note in notes} <= {"redrawn", "differs"}
    exported = flagd.exported(snapshot, definitions(snapshot), REDRAWN)
    assert [error.message for error in schema().iter_errors(exported.document)] == []
    if exported.refused:  # a share of the caller's own default
        return
    variants = exported.document["flags"]["flag"]["variants"]
    assert value(engine(exported.document), snapshot, context) in {*variants.values(), DEFAULT}


@examples(200)
@given(snapshots(), st.lists(contexts, min_size=1, max_size=8))
def test_what_comes_back_from_unleashs_format_answers_as_before(
    snapshot: Snapshot, asked: list[dict[str, Any]]
) -> None:
    exported = unleash.exported(snapshot, definitions(snapshot), NOTHING)
    if exported.refused:
        assert exported.document["features"] == []
        return
    assert exported.segments is not None
    wanted = from_unleash.wanted(exported.document | exported.segments, "production")
    [back] = wanted.flags
    assert [note for note in back.notes if note.severity != "remark"] == []
    assert (back.description, back.kind, back.tags) == ("What it is for", "ops", ("team:shop", "simple:old"))
    assert all(one.segment is not None and not one.notes for one in wanted.segments)
    segments = {one.key: one.segment for one in wanted.segments if one.segment is not None}
    before = answers(snapshot)
    after = answers(
        Snapshot(
            project="shop",
            environment="production",
            epoch="00000000",
            revision=1,
            flags={"flag": back.flag},
            segments=segments,
        )
    )
    for context in asked:
        context = {"targetingKey": "joe"} | context  # without one, shares are drawn at random
        was, now = before(context), after(context)
        assert (now.enabled, now.value) == (was.enabled, was.value if back.flag.type != "boolean" else now.value)


def test_a_plain_flag_comes_back_as_it_was(plain: Snapshot) -> None:
    exported = unleash.exported(plain, definitions(plain), NOTHING)
    assert exported.segments is not None
    wanted = from_unleash.wanted(exported.document | exported.segments, "production")
    assert [one.flag for one in wanted.flags] == list(plain.flags.values())
    assert [one.segment for one in wanted.segments] == list(plain.segments.values())


@pytest.fixture
def plain() -> Snapshot:
    from fader.model import Constraint, Flag, Prerequisite, Rollout, Rule, Segment, Split, Variant, WeightedVariant

    berlin = Constraint(attribute="city", operator="in", values=("Berlin",))
    weights = (WeightedVariant(variant="blue", weight=250), WeightedVariant(variant="red", weight=750))
    return Snapshot(
        project="shop",
        environment="production",
        epoch="00000000",
        revision=7,
        flags={
            "checkout": Flag(
                key="checkout",
                enabled=True,
                prerequisites=(Prerequisite(flag="colour"),),
                rules=(
                    Rule(id="staff", description="All of them", segments=("berlin",)),
                    Rule(id="rest", rollout=Rollout(percentage=25.0, by="company", salt="shared")),
                ),
            ),
            "colour": Flag(
                key="colour",
                enabled=False,
                type="string",
                variants=(Variant(name="blue", value="#00f"), Variant(name="red", value="#f00"), Variant(name="off")),
                off_variant="off",
                rules=(
                    Rule(id="few", constraints=(berlin,), variant="blue"),
                    Rule(id="all", split=Split(variants=weights)),
                ),
            ),
        },
        segments={"berlin": Segment(key="berlin", id=3, constraints=(berlin,))},
    )
