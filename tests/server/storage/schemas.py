"""Databases with other schemas than the newest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema, schema_version
from fader_server.storage.engine import create_engine
from fader_server.storage.migrations.versions import v0001_first_tables, v0002_idempotency_keys


@asynccontextmanager
async def _transaction(database_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_engine(database_url)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def execute(database_url: str, *statements: str) -> None:
    """Run statements, in one transaction."""
    async with _transaction(database_url) as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    async with _transaction(database_url) as connection:
        return [tuple(row) for row in await connection.exec_driver_sql(query)]


async def make_as_before(database_url: str, number: str) -> None:
    """Make a database of the time before it said which code works on it, when there was but Alembic's own table."""

    def make(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            for step in (v0001_first_tables, v0002_idempotency_keys):
                if step.revision <= number:
                    step.upgrade()

    async with _transaction(database_url) as connection:
        await connection.run_sync(make)
    await execute(
        database_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
        f"INSERT INTO alembic_version VALUES ('{number}')",
        "UPDATE projects SET description = 'from before'",
    )


async def make_from_the_future(database_url: str, number: str, works_with: str | None) -> None:
    """Turn a database with the newest schema into one that a later version of Fader has migrated."""
    said = "NULL" if works_with is None else f"'{works_with}'"
    await execute(
        database_url,
        "ALTER TABLE flags ADD COLUMN invented_later TEXT",
        "CREATE TABLE invented_later (id INTEGER PRIMARY KEY)",
        f"UPDATE {schema_version.TABLE} SET version_num = '{number}', works_with = {said}",
    )


async def differences(database_url: str) -> list[Any]:
    """Between the tables that there are and those that queries are written for."""

    def compare(connection: sa.Connection) -> list[Any]:
        of_versions = {schema_version.TABLE, schema_version.FIRST_TABLE}
        options = {"compare_type": True, "include_name": lambda name, _kind, _parents: name not in of_versions}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))

    async with _transaction(database_url) as connection:
        return await connection.run_sync(compare)
