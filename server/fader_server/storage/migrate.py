"""Bring a database to the schema of this version, from nothing or from any earlier one."""

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from fader_server.storage.engine import create_engine, for_writing


async def migrate(database_url: str) -> None:
    """Apply the migrations that are missing, all in one transaction. Safe to run from several processes at
    once."""
    engine = create_engine(database_url)
    try:
        await migrate_engine(engine)
    finally:
        await engine.dispose()


async def migrate_engine(engine: AsyncEngine) -> None:
    """As :func:`migrate`, on an engine that is open already."""
    async with for_writing(engine).begin() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "fader_server:storage/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ValueError(f"the database is of another version of Fader than this one: {error}") from error
