"""Flags that lie over others: what a wanted value becomes."""

from typing import Any

import pytest

from fader.model import Constraint, Flag, Prerequisite, Rule, Snapshot, Variant
from fader.overrides import Layer, apply_layers, flag_serving
from fader.snapshot import FlagSet

COLOURS = Flag(
    key="colour",
    enabled=True,
    type="string",
    variants=(
        Variant(name="calm", value="blue"),
        Variant(name="loud", value="red"),
        Variant(name="none", value="grey"),
    ),
    off_variant="none",
    rules=(Rule(constraints=(Constraint(attribute="country", operator="in", values=("DE",)),)),),
    prerequisites=(Prerequisite(flag="another"),),
)


def served(flag: Flag) -> tuple[Any, bool, str | None]:
    snapshot = Snapshot(project="p", environment="e", epoch="aaaa1111", revision=1, flags={flag.key: flag})
    details = FlagSet(snapshot).details(flag.key, "user-42", None)
    return details.value, details.enabled, details.variant


@pytest.mark.parametrize("value", [True, False])
def test_a_switch(value: bool) -> None:
    assert served(flag_serving("new-checkout", value))[:2] == (value, value)


@pytest.mark.parametrize("value", ["red", "", 7, 2.5, 0, {"a": [1]}, [1, 2]])
def test_a_value_of_any_type_for_a_flag_that_is_not_there(value: Any) -> None:
    assert served(flag_serving("anything", value))[:2] == (value, True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("red", ("red", True, "loud")),
        ("grey", ("grey", False, "none")),
        ("pink", ("pink", True, "override")),
        (True, ("blue", True, "calm")),
        (False, ("grey", False, "none")),
        (7, (7, True, "override")),
    ],
)
def test_a_value_for_a_flag_with_variants(value: Any, expected: tuple[Any, bool, str]) -> None:
    assert served(flag_serving("colour", value, COLOURS)) == expected


def test_a_whole_flag_is_taken_as_it_is() -> None:
    assert flag_serving("colour", COLOURS) is COLOURS


def snapshot(**flags: Flag) -> Snapshot:
    return Snapshot(project="p", environment="e", epoch="aaaa1111", revision=7, flags=flags)


def test_layers_cover_what_is_beneath_and_leave_the_rest() -> None:
    base = snapshot(a=Flag(key="a"), b=Flag(key="b", enabled=True))
    seen = apply_layers(base, [Layer(wanted={"a": True}), Layer(wanted={"a": False, "c": True})])
    assert seen is not None
    assert {key: flag.enabled for key, flag in seen.flags.items()} == {"a": False, "b": True, "c": True}
    assert seen.revision == 7


def test_none_makes_a_flag_disappear() -> None:
    seen = apply_layers(snapshot(a=Flag(key="a")), [Layer(wanted={"a": None, "never": None})])
    assert seen is not None
    assert seen.flags == {}


def test_an_opaque_layer_hides_everything_beneath() -> None:
    layers = [Layer(wanted={"a": True}), Layer(wanted={"b": True}, opaque=True), Layer(wanted={"c": True})]
    seen = apply_layers(snapshot(d=Flag(key="d")), layers)
    assert seen is not None
    assert set(seen.flags) == {"b", "c"}


def test_without_layers_nothing_is_made() -> None:
    base = snapshot()
    assert apply_layers(base, []) is base
    assert apply_layers(None, []) is None
