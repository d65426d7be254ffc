"""Percentages as people write them."""

import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(r"([0-9]{1,3}(?:[.,][0-9]+)?)\s*%?")


def parse_percentage(text: str) -> float:
    """Read ``10%``, ``10``, ``0.5%`` or ``0,001 %``.

    Raises:
        ValueError: saying what is wrong and how to write it.

    >>> parse_percentage("0.5%")
    0.5
    """
    read = _FORM.fullmatch(text.strip())
    if read is None:
        raise ValueError(f"{text!r} is not a percentage: write it like 10% or 0.5%")
    percentage = Decimal(read[1].replace(",", "."))
    if percentage > 100:
        raise ValueError(f"{text!r} is more than everybody: 100% is the most")
    if percentage != percentage.quantize(Decimal("0.001")):
        raise ValueError(f"{text!r} is too fine: percentages go in steps of 0.001")
    return float(percentage)


def format_percentage(percentage: float) -> str:
    """As short as it can be said.

    >>> format_percentage(12.5), format_percentage(100.0), format_percentage(0.001)
    ('12.5 %', '100 %', '0.001 %')
    """
    return f"{percentage:.3f}".rstrip("0").rstrip(".") + " %"
