"""Queries on hooks. They know hashes, never secrets."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.records import Hook

_hooks = schema.hooks.c
_COLUMNS = [column for column in _hooks if column.name != "hash"]


async def insert(connection: AsyncConnection, hook: Hook, digest: str) -> None:
    """Add a hook whose secret has this digest."""
    columns = {field: getattr(hook, field) for field in hook.__struct_fields__}
    await connection.execute(schema.hooks.insert().values(hash=digest, **columns))


async def by_digest(connection: AsyncConnection, digest: str) -> Hook | None:
    """The hook whose secret has this digest."""
    row = (await connection.execute(sa.select(*_COLUMNS).where(_hooks.hash == digest))).mappings().one_or_none()
    return Hook(**row) if row else None


async def of_flag(
    connection: AsyncConnection, project: str, environment: str, flag: str, *, after: str = "", limit: int
) -> list[Hook]:
    """The hooks of a flag in an environment by id, from the one after ``after`` on."""
    query = (
        sa.select(*_COLUMNS)
        .where(_hooks.project == project, _hooks.environment == environment, _hooks.flag == flag, _hooks.id > after)
        .order_by(_hooks.id)
        .limit(limit)
    )
    return [Hook(**row) for row in (await connection.execute(query)).mappings()]


async def delete(connection: AsyncConnection, project: str, environment: str, flag: str, hook_id: str) -> bool:
    """Remove a hook.

    Returns:
        Whether there was such a one.
    """
    removing = schema.hooks.delete().where(
        _hooks.id == hook_id, _hooks.project == project, _hooks.environment == environment, _hooks.flag == flag
    )
    return (await connection.execute(removing)).rowcount == 1


async def mark_used(connection: AsyncConnection, hook_id: str, at: datetime) -> None:
    """Write down when a hook was last used."""
    await connection.execute(schema.hooks.update().where(_hooks.id == hook_id).values(last_used_at=at))
