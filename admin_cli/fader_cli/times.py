"""Times as people write and read them."""

import re
from datetime import datetime, timedelta
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART: Final = r"([0-9]+(?:\.[0-9]+)?)\s*(ms|min|s|m|h|d)"
_FORM: Final = re.compile(rf"(?:{_PART}\s*)+")
_READ: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def parse_time(text: str) -> float:
    """Read ``30s``, ``10m``, ``1h30m``, ``2d`` or ``800ms``.

    Returns:
        Seconds.

    Raises:
        ValueError: saying what is wrong and how to write it.

    >>> parse_time("1h30m"), parse_time("800ms"), parse_time("0")
    (5400.0, 0.8, 0.0)
    """
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    if not _FORM.fullmatch(stripped):
        raise ValueError(f"{text!r} is not a time: write it like 30s, 10m, 1h30m or 2d")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, stripped))


def parse_moment(text: str, now: datetime) -> datetime:
    """Read when something is: so long from now, or ``2030-01-31T18:00``, which is local time unless it says otherwise.

    Args:
        text: What somebody has written.
        now: The present time, aware.

    Raises:
        ValueError: saying what is wrong and how to write it.
    """
    try:
        return now + timedelta(seconds=parse_time(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except ValueError:
        raise ValueError(f"{text!r} is no point in time: write it like 6h, or 2030-01-31T18:00") from None


def spelled(seconds: float) -> str:
    """A time in one or two units.

    >>> spelled(600), spelled(5_400), spelled(0.5), spelled(90_061)
    ('10 min', '1 h 30 min', '0.5 s', '1 d 1 h')
    """
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds * 1000:.0f} ms"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in _READ:
        count, left = divmod(left, size)
        if count or parts:
            # A unit that is left out still counts as one of the two: 1 d 5 s are a day.
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(filter(None, parts[:2])) or "0 s"


def clock(moment: datetime, now: datetime) -> str:
    """When something is, by the local clock; with the date if that is another day.

    Args:
        moment: When, aware.
        now: The present time, aware.
    """
    local, today = moment.astimezone(), now.astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M:%S")
