"""Queries on notices: what is to be told to people, until it has been."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.records import Notice

_KEPT: Final = timedelta(days=7)
"""Long enough to look at; and those for a destination that no server knows any more must not pile up."""

_notices = schema.notices.c
_COLUMNS = [column for column in _notices if column.name != "delivered_at"]


async def insert_all(connection: AsyncConnection, notices: Sequence[Notice]) -> None:
    """Have something told."""
    rows = [{field: getattr(notice, field) for field in notice.__struct_fields__} for notice in notices]
    if rows:
        await connection.execute(schema.notices.insert(), rows)


async def due(connection: AsyncConnection, destination: str, now: datetime, *, limit: int) -> list[Notice]:
    """What is to be told to somebody now, oldest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(_notices.delivered_at.is_(None), _notices.due_at <= now, _notices.destination == destination)
        .order_by(_notices.created_at, _notices.id)
        .limit(limit)
    )
    return [Notice(**row) for row in (await connection.execute(query)).mappings()]


async def claim(connection: AsyncConnection, notice: Notice, due_at: datetime) -> bool:
    """Take it upon oneself to tell something; it is due again then, unless it is marked as delivered.

    Returns:
        Whether nobody else has done so since it was read.
    """
    claiming = schema.notices.update().where(
        _notices.id == notice.id, _notices.attempts == notice.attempts, _notices.delivered_at.is_(None)
    )
    claimed = await connection.execute(claiming.values(attempts=notice.attempts + 1, due_at=due_at))
    return claimed.rowcount == 1


async def put_off(connection: AsyncConnection, notice_id: str, due_at: datetime) -> None:
    """Tell it later than had been meant."""
    await connection.execute(schema.notices.update().where(_notices.id == notice_id).values(due_at=due_at))


async def mark_delivered(connection: AsyncConnection, notice_id: str, at: datetime) -> None:
    """It has been told."""
    await connection.execute(schema.notices.update().where(_notices.id == notice_id).values(delivered_at=at))


async def delete(connection: AsyncConnection, notice_id: str) -> bool:
    """Give it up.

    Returns:
        Whether nobody else has.
    """
    return (await connection.execute(schema.notices.delete().where(_notices.id == notice_id))).rowcount == 1


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget what was long ago."""
    await connection.execute(schema.notices.delete().where(_notices.created_at < now - _KEPT))
