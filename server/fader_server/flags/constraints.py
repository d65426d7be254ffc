"""Checks of constraints, in rules and in segments alike. What an operator accepts is the evaluator's own
knowledge."""

from collections.abc import Sequence

from fader import model
from fader.operators import EXISTS, OPERATORS
from fader_server.flags.findings import Findings, did_you_mean, shortened
from fader_server.flags.limits import Limits

_NAMES = (*OPERATORS, EXISTS)
_LISTED = frozenset({"in", "not_in"})


def check_constraints(field: str, constraints: Sequence[model.Constraint], limits: Limits, findings: Findings) -> None:
    """Report everything that is wrong with these constraints; ``field`` is the path of their list."""
    if not findings.check_count(field, constraints, limits.constraints):
        return
    for position, constraint in enumerate(constraints):
        _check_constraint(f"{field}[{position}]", constraint, limits, findings)


def _check_constraint(field: str, constraint: model.Constraint, limits: Limits, findings: Findings) -> None:
    findings.check_text(f"{field}.attribute", constraint.attribute, limits.text, empty=False)
    most = limits.listed_values if constraint.operator in _LISTED else limits.values
    if not findings.check_count(f"{field}.values", constraint.values, most):
        return
    lengthy = False
    for position, value in enumerate(constraint.values):
        if isinstance(value, str) and len(value) > limits.text:
            lengthy = True
            findings.add(f"{field}.values[{position}]", f"has {len(value)} characters, and {limits.text} is the most")
    if not lengthy:
        _check_operator(field, constraint, findings)


def _check_operator(field: str, constraint: model.Constraint, findings: Findings) -> None:
    if constraint.operator == EXISTS:
        if constraint.values:
            findings.add(f"{field}.values", "exists looks at no values", "Leave values out.")
        return
    operator = OPERATORS.get(constraint.operator)
    if operator is None:
        findings.add(
            f"{field}.operator",
            f"there is no operator {shortened(constraint.operator)}",
            did_you_mean(constraint.operator, _NAMES) or f"One of: {', '.join(_NAMES)}.",
        )
        return
    for position, fault in operator.check(constraint.values):
        findings.add(f"{field}.values" if position is None else f"{field}.values[{position}]", fault)
    if constraint.case_insensitive and not operator.folds_case:
        findings.add(
            f"{field}.case_insensitive",
            f"makes no difference to {operator.name}",
            "Leave case_insensitive out.",
        )
