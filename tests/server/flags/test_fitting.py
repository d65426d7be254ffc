"""How a flag from elsewhere comes to fit what there is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fader.model import Flag, Rule, Split, Variant, WeightedVariant
from fader_server.flags.fitting import fitted
from fader_server.storage.records import Definition

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RED, BLUE, OFF = Variant(name="red", value="#f00"), Variant(name="blue", value="#00f"), Variant(name="off")


def held(*variants: Variant, **fields: Any) -> Definition:
    about: dict[str, Any] = {"type": "string" if variants else "boolean", "off_variant": "off"} | fields
    return Definition(project="p", key="flag", variants=variants, created_at=NOW, updated_at=NOW, **about)


def flag(*variants: Variant, rules: tuple[Rule, ...] = (), **fields: Any) -> Flag:
    about: dict[str, Any] = {"type": "string" if variants else "boolean", "off_variant": "off"} | fields
    return Flag(key="flag", enabled=True, variants=variants, rules=rules, **about)


def test_a_new_flag_is_as_it_comes() -> None:
    rules = (Rule(id="r", variant="red"),)
    found = fitted(flag(RED, OFF, rules=rules), None, is_used_elsewhere=False)
    assert (found.type, found.variants, found.off_variant) == ("string", (RED, OFF), "off")
    assert (found.configuration.enabled, found.configuration.rules, found.errors) == (True, rules, ())


def test_variants_come_together_in_their_order() -> None:
    found = fitted(flag(BLUE, OFF), held(RED, OFF), is_used_elsewhere=True)
    assert (found.variants, found.errors) == ((RED, OFF, BLUE), ())


def test_the_off_variant_is_called_as_it_is_called_here() -> None:
    other = Variant(name="none")
    split = Split(variants=(WeightedVariant(variant="none", weight=1), WeightedVariant(variant="red", weight=2)))
    rules = (Rule(id="r", variant="none"), Rule(id="s", split=split))
    found = fitted(flag(RED, other, rules=rules, off_variant="none"), held(RED, OFF), is_used_elsewhere=True)
    assert (found.variants, found.off_variant, found.errors) == ((RED, OFF), "off", ())
    assert found.configuration.rules[0].variant == "off"
    assert found.configuration.rules[1].split is not None
    assert [one.variant for one in found.configuration.rules[1].split.variants] == ["off", "red"]


def test_what_is_given_while_off_stays_where_nothing_is_said_of_it() -> None:
    grey = Variant(name="off", value="#888")
    assert fitted(flag(RED, OFF), held(RED, grey), is_used_elsewhere=True).variants == (RED, grey)


@pytest.mark.parametrize("is_used_elsewhere", [True, False])
def test_another_value_is_only_taken_where_nobody_else_has_it(is_used_elsewhere: bool) -> None:
    darker = Variant(name="red", value="#c00")
    found = fitted(flag(darker, OFF), held(RED, OFF), is_used_elsewhere=is_used_elsewhere)
    assert [error.field for error in found.errors] == ["variants[0].value"] * is_used_elsewhere
    assert is_used_elsewhere or found.variants == (darker, OFF)


def test_a_flag_without_variants_is_on_by_one_without_a_value() -> None:
    found = fitted(flag(), held(RED, OFF), is_used_elsewhere=True)
    assert found.variants == (RED, OFF, Variant(name="on"))
    assert found.configuration.rules == (Rule(id="everybody", variant="on"),)
    rules = (Rule(id="r", variant="off"), Rule(id="s"))
    on = Variant(name="on", value="yes")
    found = fitted(flag(rules=rules), held(on, OFF), is_used_elsewhere=True)
    assert found.variants == (on, OFF, Variant(name="on-2"))
    assert [rule.variant for rule in found.configuration.rules] == ["off", "on-2"]


@pytest.mark.parametrize(
    ("wanted", "there"),
    [(flag(RED, OFF), held()), (flag(Variant(name="a", value=1), OFF, type="number"), held(RED, OFF))],
    ids=["boolean elsewhere", "of another type elsewhere"],
)
def test_the_type_is_only_changed_where_nobody_else_has_it(wanted: Flag, there: Definition) -> None:
    assert [error.field for error in fitted(wanted, there, is_used_elsewhere=True).errors] == ["type"]
    assert fitted(wanted, there, is_used_elsewhere=False).type == wanted.type


def test_variants_without_values_have_any_type() -> None:
    found = fitted(
        flag(Variant(name="a"), OFF), held(Variant(name="n", value=1), OFF, type="number"), is_used_elsewhere=True
    )
    assert (found.type, [one.name for one in found.variants]) == ("number", ["n", "off", "a"])
