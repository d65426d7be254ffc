"""Queries on ramps: plans and how far they have come, what applications have recorded for guards, and looks at it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.conflicts import insert_into
from fader_server.storage.records import Ramp, RampLook, RampOutcomes
from fader_server.storage.schema import MOST_PARAMETERS

REPORTS_REMEMBERED: Final = timedelta(hours=1)
"""How long a report that is sent again is recognised, so that its sums are not added twice."""

_AT_ONCE: Final = MOST_PARAMETERS // 3

_ramps = schema.ramps.c
_outcomes = schema.ramp_outcomes.c
_looks = schema.ramp_looks.c
_configured = schema.flag_environments.c


async def insert(connection: AsyncConnection, ramp: Ramp) -> None:
    """Add a ramp, and let its flag be in it."""
    await connection.execute(schema.ramps.insert().values(**_columns(ramp)))
    await _let_flag_be_in(connection, ramp, ramp.id)


async def update(connection: AsyncConnection, ramp: Ramp) -> bool:
    """Write a ramp down anew, under a version that is greater by one than the one it had.

    Returns:
        Whether it still had that one. If not, nothing was written: somebody else has moved it meanwhile.
    """
    writing = schema.ramps.update().where(_ramps.id == ramp.id, _ramps.version == ramp.version - 1)
    if (await connection.execute(writing.values(**_columns(ramp)))).rowcount != 1:
        return False
    if ramp.is_over:
        await _let_flag_be_in(connection, ramp, None)
    return True


async def _let_flag_be_in(connection: AsyncConnection, ramp: Ramp, which: str | None) -> None:
    place = (
        _configured.project == ramp.project,
        _configured.environment == ramp.environment,
        _configured.flag == ramp.flag,
    )
    mine = (_configured.ramp == ramp.id,) if which is None else ()
    await connection.execute(schema.flag_environments.update().where(*place, *mine).values(ramp=which))


async def ramp(connection: AsyncConnection, ramp_id: str, *, lock: bool = False) -> Ramp | None:
    """One ramp. Locked, nobody else moves it until the transaction ends."""
    query = sa.select(schema.ramps).where(_ramps.id == ramp_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return Ramp(**row) if row else None


async def under_way(
    connection: AsyncConnection, project: str | None = None, environment: str | None = None
) -> list[Ramp]:
    """The ramps that are not over: all, or those of a project, or of an environment in it; oldest first."""
    query = sa.select(schema.ramps).where(_ramps.is_over.is_(False)).order_by(_ramps.created_at, _ramps.id)
    for column, wanted in ((_ramps.project, project), (_ramps.environment, environment)):
        if wanted is not None:
            query = query.where(column == wanted)
    return [Ramp(**row) for row in (await connection.execute(query)).mappings()]


async def of_flag(
    connection: AsyncConnection, project: str, environment: str, flag: str, epoch: str, *, limit: int
) -> list[Ramp]:
    """The ramps of a flag in an environment (as it is now, not an earlier one of the same name), newest first."""
    query = (
        sa.select(schema.ramps)
        .where(
            _ramps.project == project,
            _ramps.environment == environment,
            _ramps.flag == flag,
            _ramps.epoch == epoch,
        )
        .order_by(_ramps.created_at.desc(), _ramps.id)
        .limit(limit)
    )
    return [Ramp(**row) for row in (await connection.execute(query)).mappings()]


async def page(
    connection: AsyncConnection, project: str, environments: tuple[str, ...] = (), *, after: str = "", limit: int
) -> list[Ramp]:
    """The ramps of a project, those that are under way and others, by id. No ``environments`` means all."""
    query = sa.select(schema.ramps).where(_ramps.project == project, _ramps.id > after).order_by(_ramps.id).limit(limit)
    if environments:
        query = query.where(_ramps.environment.in_(environments))
    return [Ramp(**row) for row in (await connection.execute(query)).mappings()]


async def outcomes(connection: AsyncConnection, ramp_id: str, step: int) -> list[RampOutcomes]:
    """What has been recorded for a ramp's guards in a step."""
    query = sa.select(_outcomes.ramp, _outcomes.step, _outcomes.guard, _outcomes.outcomes).where(
        _outcomes.ramp == ramp_id, _outcomes.step == step
    )
    return [RampOutcomes(**row) for row in (await connection.execute(query)).mappings()]


async def locked_outcomes(
    connection: AsyncConnection, ramp_id: str, step: int, guard: str, now: datetime
) -> RampOutcomes | None:
    """The same for one guard; nobody else adds to it until the transaction ends, also where there is nothing yet."""
    place = {"ramp": ramp_id, "step": step, "guard": guard}
    nothing = insert_into(connection, schema.ramp_outcomes).on_conflict_do_nothing()
    await connection.execute(nothing.values(**place, outcomes=b"", updated_at=now))
    query = (
        sa.select(_outcomes.ramp, _outcomes.step, _outcomes.guard, _outcomes.outcomes)
        .where(_outcomes.ramp == ramp_id, _outcomes.step == step, _outcomes.guard == guard)
        .with_for_update()
    )
    row = (await connection.execute(query)).mappings().one()
    return RampOutcomes(**row) if row["outcomes"] else None


async def put_outcomes(connection: AsyncConnection, recorded: RampOutcomes, now: datetime) -> None:
    """Write down what has been merged, of what is locked."""
    await connection.execute(
        schema.ramp_outcomes.update()
        .where(_outcomes.ramp == recorded.ramp, _outcomes.step == recorded.step, _outcomes.guard == recorded.guard)
        .values(outcomes=recorded.outcomes, updated_at=now)
    )


async def fresh_reports(connection: AsyncConnection, ramp_id: str, ids: Iterable[str], now: datetime) -> set[str]:
    """Those of these reports that have not been seen; they have been from now on."""
    fresh: set[str] = set()
    # In one order, so that two transactions never wait for each other's rows in a circle.
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _AT_ONCE):
        rows = [{"ramp": ramp_id, "id": one, "received_at": now} for one in ordered[start : start + _AT_ONCE]]
        noting = insert_into(connection, schema.ramp_reports).values(rows).on_conflict_do_nothing()
        fresh.update((await connection.execute(noting.returning(schema.ramp_reports.c.id))).scalars())
    return fresh


async def add_looks(connection: AsyncConnection, looks: Sequence[RampLook]) -> None:
    """Keep what was seen."""
    if looks:
        rows = [{field: getattr(look, field) for field in look.__struct_fields__} for look in looks]
        await connection.execute(insert_into(connection, schema.ramp_looks).on_conflict_do_nothing(), rows)


async def looks(connection: AsyncConnection, ramp_id: str) -> list[RampLook]:
    """All that were kept of a ramp, by guard and in order."""
    query = sa.select(schema.ramp_looks).where(_looks.ramp == ramp_id).order_by(_looks.guard, _looks.number)
    return [RampLook(**row) for row in (await connection.execute(query)).mappings()]


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget which reports have been seen, once nobody sends them again."""
    received = schema.ramp_reports.c.received_at
    await connection.execute(schema.ramp_reports.delete().where(received < now - REPORTS_REMEMBERED))


def _columns(ramp: Ramp) -> dict[str, object]:
    return {field: getattr(ramp, field) for field in ramp.__struct_fields__}
