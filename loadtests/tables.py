"""How results are shown: the same table for people, the same documents for programs."""

import json
import platform
import sys
from collections.abc import Sequence
from typing import Any


def machine() -> str:
    """What this was measured on, as far as it tells."""
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{implementation}, {platform.system()} {platform.machine()}"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print results.

    Args:
        title: What was measured.
        columns: Their names.
        rows: The figures.
        as_json: Whether to print one document a row instead of a table.
    """
    if as_json:
        for row in rows:
            print(json.dumps({"measurement": title, "machine": machine(), **dict(zip(columns, row, strict=True))}))
        return
    shown = [[f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(columns), *shown]) for column in range(len(columns))]
    print(f"\n{title}  ({machine()})")
    for line in [list(columns), *shown]:
        cells = [
            cell.ljust(width) if not number else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells))


def wants_json() -> bool:
    """Whether documents were asked for."""
    return "--json" in sys.argv[1:]
