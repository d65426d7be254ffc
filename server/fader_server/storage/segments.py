"""Queries on segments."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.records import Segment

_segments = schema.segments.c


async def segment(connection: AsyncConnection, project: str, key: str) -> Segment | None:
    """One segment."""
    query = sa.select(schema.segments).where(_segments.project == project, _segments.key == key)
    row = (await connection.execute(query)).mappings().one_or_none()
    return Segment(**row) if row else None


async def page(
    connection: AsyncConnection, project: str, *, after: str = "", limit: int | None = None
) -> list[Segment]:
    """Segments by key, from the one after ``after`` on."""
    query = (
        sa.select(schema.segments)
        .where(_segments.project == project, _segments.key > after)
        .order_by(_segments.key)
        .limit(limit)
    )
    return [Segment(**row) for row in (await connection.execute(query)).mappings()]


async def keys(connection: AsyncConnection, project: str) -> list[str]:
    """The keys of all segments of a project."""
    query = sa.select(_segments.key).where(_segments.project == project).order_by(_segments.key)
    return list((await connection.execute(query)).scalars())


async def insert(connection: AsyncConnection, segment: Segment) -> int:
    """Add a segment; its ``id`` is not looked at.

    Returns:
        The number that it has got, which no other segment had or will have.
    """
    columns = {field: getattr(segment, field) for field in segment.__struct_fields__ if field != "id"}
    inserted = await connection.execute(schema.segments.insert().values(**columns).returning(_segments.id))
    return int(inserted.scalar_one())


async def update(connection: AsyncConnection, segment: Segment) -> None:
    """Replace all of a segment but its names."""
    await connection.execute(
        schema.segments.update()
        .where(_segments.id == segment.id)
        .values(
            description=segment.description,
            constraints=segment.constraints,
            targeting_keys=segment.targeting_keys,
            members=segment.members,
            updated_at=segment.updated_at,
        )
    )


async def delete(connection: AsyncConnection, project: str, key: str) -> None:
    """Remove a segment."""
    await connection.execute(schema.segments.delete().where(_segments.project == project, _segments.key == key))
