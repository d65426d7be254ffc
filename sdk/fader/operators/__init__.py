"""What constraints can ask: one module per family of operators, and the table of all of them."""

from typing import Final

from fader.operators import networks, numbers, patterns, texts, times, versions
from fader.operators.operator import Operator

OPERATORS: Final[dict[str, Operator]] = {
    operator.name: operator
    for family in (texts, patterns, numbers, times, versions, networks)
    for operator in family.OPERATORS
}
"""All operators by name, but for ``exists``, which looks at no value."""

EXISTS: Final = "exists"

__all__ = ["EXISTS", "OPERATORS", "Operator"]
