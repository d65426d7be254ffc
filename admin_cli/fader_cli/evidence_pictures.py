"""How the evidence of a guard has grown, drawn with characters: braille has eight dots in each."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct
from rich.text import Text

from fader_cli.ramps import Look, odds

WIDTH: Final = 60
"""Characters of the drawing itself; with its labels and margins it fits into 80 columns."""

_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a braille character, by row and column."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"

_LABEL: Final = 12


class _Scale(Struct, frozen=True):
    """From evidence to dots, counted from above."""

    bottom: float
    top: float
    rows: int

    def row(self, log_e: float) -> int:
        """The dot's row; what is beyond the scale is at its edge."""
        share = (min(max(log_e, self.bottom), self.top) - self.bottom) / (self.top - self.bottom)
        return round((1 - share) * (self.rows - 1))


def evidence_picture(looks: Sequence[Look], threshold: float, height: int = 8) -> list[Text]:
    """Draw it: time to the right, evidence upwards, on a logarithmic scale.

    Args:
        looks: In their order. Evidence begins anew in each step.
        threshold: Where the guard has had enough, as odds.
        height: Lines of the drawing, without those below it.

    Returns:
        Its lines; none where there is nothing to draw yet.
    """
    if len(looks) < 2:
        return []
    limit = math.log(threshold)
    values = [look.log_e for look in looks]
    scale = _Scale(
        bottom=min(0.0, max(min(values), -limit)),
        top=max(1.15 * limit, min(max(values), 2 * limit)),
        rows=4 * height,
    )
    columns = _columns(looks)
    cells = _dotted(looks, columns, scale, height)
    begins = _beginnings(looks, columns)
    at_limit, at_even = scale.row(limit) // 4, scale.row(0.0) // 4
    lines = []
    for row in range(height):
        label = odds(threshold) if row == at_limit else (odds(1.0) if row == at_even else "")
        style = "off" if row == at_limit else "quiet"
        line = Text(f"{label:>{_LABEL}} {'┤' if label else '│'}", style)
        for column in range(WIDTH):
            line.append(*_cell(cells[row][column], row, column, at_limit, at_even, begins))
        line.rstrip()
        lines.append(line)
    return [*lines, *_time_axis(looks, begins)]


def evidence_line(looks: Sequence[Look], threshold: float, width: int = 40) -> Text:
    """The same in one line: the taller, the more evidence; a full block is enough of it.

    Args:
        looks: In their order.
        threshold: Where the guard has had enough, as odds.
        width: Characters.

    Returns:
        The line; an empty one where there is nothing to draw yet.
    """
    line = Text(style="key")
    if len(looks) < 2:
        return line
    columns = [column * width // (2 * WIDTH) for column in _columns(looks)]
    newest = {column: look.log_e for column, look in zip(columns, looks, strict=True)}
    value = 0.0
    for column in range(width):
        value = newest.get(column, value)
        share = min(max(value / math.log(threshold), 0.0), 1.0)
        line.append(_BLOCKS[int(share * (len(_BLOCKS) - 1))], "off" if share == 1 else None)
    return line


def _columns(looks: Sequence[Look]) -> list[int]:
    """The column of dots of each look."""
    began, ended = looks[0].at, looks[-1].at
    seconds = max((ended - began).total_seconds(), 1e-9)
    return [round((look.at - began).total_seconds() / seconds * (2 * WIDTH - 1)) for look in looks]


def _dotted(looks: Sequence[Look], columns: Sequence[int], scale: _Scale, height: int) -> list[list[int]]:
    cells = [[0] * WIDTH for _ in range(height)]
    for column, row in _curve(looks, columns, scale):
        cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
    return cells


def _curve(looks: Sequence[Look], columns: Sequence[int], scale: _Scale) -> Iterator[tuple[int, int]]:
    """All dots of the curve, without gaps within a step."""
    rows = [scale.row(look.log_e) for look in looks]
    yield columns[0], rows[0]
    for place in range(1, len(looks)):
        if looks[place].step != looks[place - 1].step:
            yield columns[place], rows[place]
            continue
        width = columns[place] - columns[place - 1]
        before = rows[place - 1]
        for column in range(columns[place - 1] + min(width, 1), columns[place] + 1):
            passed = (column - columns[place - 1]) / width if width else 1.0
            row = round(rows[place - 1] + (rows[place] - rows[place - 1]) * passed)
            step = 1 if row >= before else -1
            for between in range(before + step if row != before else row, row + step, step):
                yield column, between
            before = row


def _beginnings(looks: Sequence[Look], columns: Sequence[int]) -> dict[int, int]:
    """Where another step begins, in characters, and which."""
    return {
        columns[place] // 2: looks[place].step
        for place in range(len(looks))
        if place == 0 or looks[place].step != looks[place - 1].step
    }


def _cell(
    dots: int, row: int, column: int, at_limit: int, at_even: int, begins: dict[int, int]
) -> tuple[str, str | None]:
    if dots:
        return chr(_BLANK + dots), "off" if row <= at_limit else "key"
    if row == at_limit:
        return "┈", "off"
    if column and column in begins:
        return "┊", "quiet"
    return ("┈", "quiet") if row == at_even else (" ", None)


def _time_axis(looks: Sequence[Look], begins: dict[int, int]) -> list[Text]:
    margin = " " * _LABEL
    axis = "".join("┴" if column and column in begins else "─" for column in range(WIDTH))
    steps = ""
    for column, step in sorted(begins.items()):
        if column >= len(steps):
            steps = f"{steps:<{column}}step {step} "
    first, last = (look.at.astimezone().strftime("%H:%M:%S") for look in (looks[0], looks[-1]))
    times = f"{first}{last:>{WIDTH - len(first)}}"
    return [
        Text(f"{margin} └{axis}", "quiet"),
        *(Text(f"{margin}  {line.rstrip()}", "quiet") for line in (steps, times)),
    ]
