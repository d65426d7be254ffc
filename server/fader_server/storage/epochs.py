"""Epochs of environments, renewed: a database that was brought back to an earlier state begins another life.

SDKs never go back to a lower revision of the same epoch, for a server that is behind must not take them back. So
whoever does bring the state back says so by new epochs; revisions that are given out again are then other ones.
"""

import secrets

from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import environments, schema
from fader_server.storage.engine import create_engine, for_writing
from fader_server.storage.reaching import reaching
from fader_server.storage.schema_version import found


async def renew(database_url: str) -> int:
    """Begin a new epoch in every environment of a database.

    Returns:
        How many those are.

    Raises:
        SchemaError: if the schema is too old, or too new.
        ValueError: if the URL is none that we can use, or leads to something that is no database of ours.
        Unavailable: if the database cannot be reached or written to.
    """
    engine = create_engine(database_url, connections=1, answer_seconds=None)
    try:
        with reaching():
            async with for_writing(engine).begin() as connection:
                version = await connection.run_sync(found)
                version.refuse_if_behind()
                version.refuse_if_too_new()
                return await renew_all(connection)
    finally:
        await engine.dispose()


async def renew_all(connection: AsyncConnection) -> int:
    """As :func:`renew`, in a transaction that has begun."""
    states = await environments.states(connection, lock=True)
    for state in states:
        epoch = secrets.token_hex(8)
        await connection.execute(
            schema.environments.update()
            .where(
                schema.environments.c.project == state.project,
                schema.environments.c.key == state.key,
            )
            .values(epoch=epoch)
        )
        # What led to this state is its past in this life, too: it can be undone, and told.
        await connection.execute(
            schema.changes.update()
            .where(
                schema.changes.c.project == state.project,
                schema.changes.c.environment == state.key,
                schema.changes.c.epoch == state.epoch,
            )
            .values(epoch=epoch)
        )
    return len(states)
