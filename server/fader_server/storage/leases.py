"""Leases: which of several servers does what only one may do, until when. By the database's clock, so that servers
whose clocks disagree agree on this."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.conflicts import insert_into

_leases = schema.leases.c


async def take(connection: AsyncConnection, name: str, holder: str, seconds: float) -> bool:
    """Take a lease that is free or has run out, or renew one's own.

    Args:
        name: What is leased.
        holder: Who takes it.
        seconds: For how long from now on.

    Returns:
        Whether it is the holder's now.
    """
    now = _seconds(connection)
    taking = (
        schema.leases.update()
        .where(_leases.name == name, sa.or_(_leases.holder == holder, _leases.until < now))
        .values(holder=holder, until=now + seconds)
    )
    if (await connection.execute(taking)).rowcount == 1:
        return True
    first = insert_into(connection, schema.leases).on_conflict_do_nothing()
    return (await connection.execute(first.values(name=name, holder=holder, until=now + seconds))).rowcount == 1


async def holds(connection: AsyncConnection, name: str, holder: str) -> bool:
    """Whether a lease is the holder's. If it is, nobody else takes it before this transaction ends: what is written
    under it cannot cross with what the next holder writes."""
    asking = (
        schema.leases.update()
        .where(_leases.name == name, _leases.holder == holder, _leases.until > _seconds(connection))
        .values(holder=holder)
    )
    return (await connection.execute(asking)).rowcount == 1


async def release(connection: AsyncConnection, name: str, holder: str) -> None:
    """Give a lease back, so that nobody has to wait for its end."""
    await connection.execute(schema.leases.delete().where(_leases.name == name, _leases.holder == holder))


def _seconds(connection: AsyncConnection) -> sa.ColumnElement[Any]:
    """The database's time, in seconds since the epoch; not that at which the transaction began."""
    if connection.dialect.name == "postgresql":
        return sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Double)
    return (sa.func.julianday("now") - 2440587.5) * 86_400.0
