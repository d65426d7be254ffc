"""Queries on usage: how often which flag was evaluated to which variant, by the hour."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias, get_args

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader.counters import DarkCount
from fader_server.storage import schema
from fader_server.storage.conflicts import insert_into
from fader_server.storage.records import DarkLaunch, Usage, UsageReport
from fader_server.storage.schema import MOST_PARAMETERS

UNKNOWN = ""
"""Stands in the variant's place for evaluations of a key that the SDK knew no flag by."""

_DARK: Final = {f"dark {name}": name for name in get_args(DarkCount)}
"""Stand there for what is counted of dark launches. No variant's name has a space in it."""
_STORED: Final = {name: stored for stored, name in _DARK.items()}

REPORTS_REMEMBERED = timedelta(days=1)
"""How long a repeated report is recognised; also how far into the past a report may reach."""

COUNTS_KEPT = timedelta(days=90)

_Place: TypeAlias = tuple[str, str, str, str, datetime]
"""Project, environment, flag, variant, hour: what is counted by."""

_usage = schema.usage.c
_reports = schema.usage_reports.c


async def record(connection: AsyncConnection, reports: Sequence[UsageReport], now: datetime) -> int:
    """Add up reports; those whose id has been seen are left out, and so are flags that the project does not
    have.

    A report counts for the hour in which it ended by the sender's clock, as far as that can be right.

    Returns:
        How many reports were new.
    """
    fresh = [report for report in reports if await _is_fresh(connection, report, now)]
    known = await _known_flags(connection, fresh)
    totals: dict[_Place, tuple[int, datetime]] = {}
    for report in fresh:
        at = min(max(report.ended, now - REPORTS_REMEMBERED), now)
        hour = at.replace(minute=0, second=0, microsecond=0)
        for flag, counts in _counts(report):
            if (report.project, flag) in known:
                for variant, count in counts.items():
                    place = (report.project, report.environment, flag, variant, hour)
                    before, last = totals.get(place, (0, at))
                    totals[place] = (before + count, max(last, at))
    if totals:
        await _add(connection, totals)
    return len(fresh)


async def _is_fresh(connection: AsyncConnection, report: UsageReport, now: datetime) -> bool:
    """Whether this report has not been seen; it has been from now on."""
    noted = insert_into(connection, schema.usage_reports).on_conflict_do_nothing()
    inserted = await connection.execute(
        noted.values(project=report.project, environment=report.environment, id=report.id, received_at=now)
    )
    return inserted.rowcount == 1


def _counts(report: UsageReport) -> list[tuple[str, dict[str, int]]]:
    return [
        *report.flags.items(),
        *((flag, {UNKNOWN: count}) for flag, count in report.unknown.items()),
        *((flag, _dark(counts)) for flag, counts in report.dark_launches.items()),
    ]


def _dark(counts: Mapping[str, int]) -> dict[str, int]:
    """As they are stored. What a newer SDK counts beside is left out, which bounds the table."""
    return {_STORED[name]: count for name, count in counts.items() if name in _STORED and count}


async def _known_flags(connection: AsyncConnection, reports: Sequence[UsageReport]) -> set[tuple[str, str]]:
    """Counting only what exists bounds the table by the project, whatever is sent."""
    named: dict[str, set[str]] = {}
    for report in reports:
        named.setdefault(report.project, set()).update(report.flags, report.unknown, report.dark_launches)
    known: set[tuple[str, str]] = set()
    for project, flags in named.items():
        ordered = sorted(flags)
        for start in range(0, len(ordered), MOST_PARAMETERS):
            query = sa.select(schema.flags.c.key).where(
                schema.flags.c.project == project,
                schema.flags.c.key.in_(ordered[start : start + MOST_PARAMETERS]),
            )
            known |= {(project, flag) for flag in (await connection.execute(query)).scalars()}
    return known


async def _add(connection: AsyncConnection, totals: dict[_Place, tuple[int, datetime]]) -> None:
    inserting = insert_into(connection, schema.usage)
    counted = inserting.excluded
    adding = inserting.on_conflict_do_update(
        index_elements=list(schema.usage.primary_key),
        set_={
            "count": _usage.count + counted.count,
            "last_at": sa.case((_usage.last_at < counted.last_at, counted.last_at), else_=_usage.last_at),
        },
    )
    # In one order, so that two transactions never wait for each other's rows in a circle.
    rows = [
        {"project": project, "environment": environment, "flag": flag, "variant": variant, "hour": hour}
        | {"count": count, "last_at": last}
        for (project, environment, flag, variant, hour), (count, last) in sorted(totals.items())
    ]
    await connection.execute(adding, rows)


async def of_flag(
    connection: AsyncConnection, project: str, flag: str, *, environments: tuple[str, ...], since: datetime
) -> list[Usage]:
    """Evaluations of a flag in the hours from ``since`` on, by environment and variant. No ``environments``
    means all."""
    query = (
        sa.select(
            _usage.environment,
            _usage.variant,
            sa.func.sum(_usage.count).label("total"),
            sa.func.max(_usage.last_at).label("last_at"),
        )
        .where(_usage.project == project, _usage.flag == flag, _usage.hour >= since)
        .where(_usage.variant.not_in((UNKNOWN, *_DARK)))
        .group_by(_usage.environment, _usage.variant)
        .order_by(_usage.environment, _usage.variant)
    )
    if environments:
        query = query.where(_usage.environment.in_(environments))
    return [
        Usage(environment=row.environment, variant=row.variant, count=int(row.total), last_at=row.last_at)
        for row in await connection.execute(query)
    ]


async def dark_launches(
    connection: AsyncConnection, project: str, flag: str, *, environments: tuple[str, ...], since: datetime
) -> list[DarkLaunch]:
    """What became of a flag's dark launches in the hours from ``since`` on, by environment. No ``environments``
    means all."""
    query = (
        sa.select(_usage.environment, _usage.variant, sa.func.sum(_usage.count).label("total"))
        .where(_usage.project == project, _usage.flag == flag, _usage.hour >= since, _usage.variant.in_(_DARK))
        .group_by(_usage.environment, _usage.variant)
        .order_by(_usage.environment)
    )
    if environments:
        query = query.where(_usage.environment.in_(environments))
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.execute(query):
        found[row.environment][_DARK[row.variant]] = int(row.total)
    return [DarkLaunch(environment=environment, **counts) for environment, counts in found.items()]


async def last_evaluated(
    connection: AsyncConnection, project: str, flag: str, environments: tuple[str, ...] = ()
) -> datetime | None:
    """When a flag was last evaluated, as far back as counts are kept."""
    query = sa.select(sa.func.max(_usage.last_at)).where(
        _usage.project == project, _usage.flag == flag, _usage.variant.not_in((UNKNOWN, *_DARK))
    )
    if environments:
        query = query.where(_usage.environment.in_(environments))
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget what is older than what is kept."""
    await connection.execute(schema.usage.delete().where(_usage.hour < now - COUNTS_KEPT))
    await connection.execute(schema.usage_reports.delete().where(_reports.received_at < now - REPORTS_REMEMBERED))
