"""Queries on usage: how often which flag was evaluated to which variant, by the hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.records import Usage, UsageReport

UNKNOWN = ""
"""Stands in the variant's place for evaluations of a key that the SDK knew no flag by."""

REPORTS_REMEMBERED = timedelta(days=1)
"""How long a repeated report is recognised; also how far into the past a report may reach."""

COUNTS_KEPT = timedelta(days=90)

_usage = schema.usage.c
_reports = schema.usage_reports.c


async def record(connection: AsyncConnection, reports: Sequence[UsageReport], now: datetime) -> int:
    """Add up reports; those whose id has been seen are left out, and so are flags that the project does not
    have.

    A report counts for the hour in which it ended by the sender's clock, as far as that can be right.

    Returns:
        How many reports were new.
    """
    fresh = 0
    totals: dict[tuple[str, str, str, str, datetime], tuple[int, datetime]] = {}
    for report in reports:
        seen = sa.select(_reports.id).where(
            _reports.project == report.project,
            _reports.environment == report.environment,
            _reports.id == report.id,
        )
        if (await connection.execute(seen)).first() is not None:
            continue
        fresh += 1
        await connection.execute(
            schema.usage_reports.insert().values(
                project=report.project, environment=report.environment, id=report.id, received_at=now
            )
        )
        at = min(max(report.ended, now - REPORTS_REMEMBERED), now)
        hour = at.replace(minute=0, second=0, microsecond=0)
        known = await _known_flags(connection, report)
        for flag, counts in _counts(report):
            if flag in known:
                for variant, count in counts.items():
                    place = (report.project, report.environment, flag, variant, hour)
                    before, last = totals.get(place, (0, at))
                    totals[place] = (before + count, max(last, at))
    for place, (count, last) in sorted(totals.items()):
        await _add(connection, place, count, last)
    return fresh


def _counts(report: UsageReport) -> list[tuple[str, dict[str, int]]]:
    return [*report.flags.items(), *((flag, {UNKNOWN: count}) for flag, count in report.unknown.items())]


async def _known_flags(connection: AsyncConnection, report: UsageReport) -> set[str]:
    """Counting only what exists bounds the table by the project, whatever is sent."""
    named = sorted(report.flags.keys() | report.unknown.keys())
    known: set[str] = set()
    # A statement takes a bounded number of parameters.
    for start in range(0, len(named), 500):
        query = sa.select(schema.flags.c.key).where(
            schema.flags.c.project == report.project, schema.flags.c.key.in_(named[start : start + 500])
        )
        known |= set((await connection.execute(query)).scalars())
    return known


async def _add(
    connection: AsyncConnection, place: tuple[str, str, str, str, datetime], count: int, last: datetime
) -> None:
    project, environment, flag, variant, hour = place
    added = await connection.execute(
        schema.usage.update()
        .where(
            _usage.project == project,
            _usage.environment == environment,
            _usage.flag == flag,
            _usage.variant == variant,
            _usage.hour == hour,
        )
        .values(
            count=_usage.count + count,
            last_at=sa.case((_usage.last_at < last, last), else_=_usage.last_at),
        )
    )
    if added.rowcount == 0:
        await connection.execute(
            schema.usage.insert().values(
                project=project,
                environment=environment,
                flag=flag,
                variant=variant,
                hour=hour,
                count=count,
                last_at=last,
            )
        )


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
        .where(_usage.project == project, _usage.flag == flag, _usage.hour >= since, _usage.variant != UNKNOWN)
        .group_by(_usage.environment, _usage.variant)
        .order_by(_usage.environment, _usage.variant)
    )
    if environments:
        query = query.where(_usage.environment.in_(environments))
    return [
        Usage(environment=row.environment, variant=row.variant, count=int(row.total), last_at=row.last_at)
        for row in await connection.execute(query)
    ]


async def last_evaluated(
    connection: AsyncConnection, project: str, flag: str, environments: tuple[str, ...] = ()
) -> datetime | None:
    """When a flag was last evaluated, as far back as counts are kept."""
    query = sa.select(sa.func.max(_usage.last_at)).where(
        _usage.project == project, _usage.flag == flag, _usage.variant != UNKNOWN
    )
    if environments:
        query = query.where(_usage.environment.in_(environments))
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget what is older than what is kept."""
    await connection.execute(schema.usage.delete().where(_usage.hour < now - COUNTS_KEPT))
    await connection.execute(schema.usage_reports.delete().where(_reports.received_at < now - REPORTS_REMEMBERED))
