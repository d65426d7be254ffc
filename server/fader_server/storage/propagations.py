"""Queries on how changes have reached clients: a row for each revision and node, written once."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.conflicts import insert_into
from fader_server.storage.records import NodePropagation
from fader_server.storage.schema import MOST_PARAMETERS

_propagations = schema.propagations.c


async def record(connection: AsyncConnection, rows: Sequence[NodePropagation]) -> None:
    """Keep these; of what a node has said before, the first word counts."""
    if rows:
        columns = [{field: getattr(row, field) for field in row.__struct_fields__} for row in rows]
        await connection.execute(insert_into(connection, schema.propagations).on_conflict_do_nothing(), columns)


async def of_revisions(
    connection: AsyncConnection, project: str, environment: str, revisions: Collection[int]
) -> list[NodePropagation]:
    """What is known of some revisions of an environment, of all epochs and nodes."""
    found: list[NodePropagation] = []
    ordered = sorted(revisions)
    for start in range(0, len(ordered), MOST_PARAMETERS):
        query = sa.select(schema.propagations).where(
            _propagations.project == project,
            _propagations.environment == environment,
            _propagations.revision.in_(ordered[start : start + MOST_PARAMETERS]),
        )
        found += [NodePropagation(**row) for row in (await connection.execute(query)).mappings()]
    return found
