"""The flags of OpenFeature's scenarios as flags of ours.

Theirs name a default variant, which is served while nothing targets; ours serve the first variant where there are no
rules, and the off variant where rules do not let in. What is disabled gives the caller's default there: here it serves
an off variant without a value. The targeting is in CEL, of which there are two expressions: translated by hand.
"""

from typing import Any

from conformance_files import conformance_json
from fader.model import Constraint, Flag, Rule, ValueType, Variant

_BALLMER = Constraint(attribute="email", operator="in", values=("ballmer@macrosoft.com",))
_TARGETING = {
    "email == 'ballmer@macrosoft.com' ? 'zero' : ''": Rule(id="ballmer", constraints=(_BALLMER,), variant="zero"),
    "!customer && email == 'ballmer@macrosoft.com' && age > 10 ? 'internal' : ''": Rule(
        id="insiders",
        constraints=(
            _BALLMER,
            Constraint(attribute="customer", operator="in", values=(False,)),
            Constraint(attribute="age", operator=">", values=(10,)),
        ),
        variant="internal",
    ),
}


def scenario_flags() -> dict[str, Flag]:
    """All flags of the suite for which a default variant is named."""
    theirs = conformance_json("openfeature-specification", "gherkin", "test-flags.json")
    return {key: _flag(key, their) for key, their in theirs.items() if their.get("defaultVariant")}


def _flag(key: str, their: dict[str, Any]) -> Flag:
    default = their["defaultVariant"]
    first = {default: their["variants"][default]}
    rule = _TARGETING[their["contextEvaluator"]] if "contextEvaluator" in their else None
    return Flag(
        key=key,
        enabled=not their.get("disabled", False),
        type=_type(first[default]),
        variants=tuple(Variant(name=name, value=value) for name, value in {**first, **their["variants"]}.items()),
        off_variant=default if rule else "none",
        rules=(rule,) if rule else (),
    )


def _type(value: object) -> ValueType:
    # A boolean flag of ours has no variants of its own making; an object can be any JSON value.
    return "string" if isinstance(value, str) else "number" if type(value) in {int, float} else "object"
