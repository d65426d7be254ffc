"""Bring a database to the schema of this version, from nothing or from any earlier one; or say what that would take."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fader_server.errors import Unavailable
from fader_server.storage import schema_version
from fader_server.storage.engine import create_engine, for_reading, for_writing
from fader_server.storage.reaching import reaching
from fader_server.storage.schema_version import SchemaVersion

_log = logging.getLogger(__name__)

TURN_SECONDS: Final = 60.0
"""How long to wait for another process that migrates the same database."""

_ASK_AGAIN_SECONDS: Final = 0.5
_LOCK: Final = 0x666164657200  # "fader", so that it is nobody else's
_TRY_LOCK: Final = sa.text("SELECT pg_try_advisory_xact_lock(:lock)").bindparams(lock=_LOCK)


class Step(Struct, frozen=True):
    """One migration.

    Args:
        number: Its place in the order.
        title: What it does.
        works_with: The oldest code that works on what it leaves behind.
    """

    number: str
    title: str
    works_with: str


class Plan(Struct, frozen=True):
    """What a database has, and what it lacks."""

    found: SchemaVersion
    missing: tuple[Step, ...]


async def migrate(database_url: str) -> Plan:
    """Apply the migrations that are missing, all in one transaction. Safe to run from several processes at once: one
    does it, the others wait for it.

    Returns:
        What was found, and what was done about it.

    Raises:
        ValueError: if the URL is none that we can use, or leads to something that is no database of ours.
        SchemaError: if the database belongs to a newer version, which this one does not work with.
        Unavailable: if the database cannot be reached or written to, or others do not come to an end. Nothing is
            changed then.
    """
    async with _engine(database_url) as engine, _alone(engine) as connection:
        return await connection.run_sync(_apply)


async def look(database_url: str) -> SchemaVersion:
    """What a database says of its schema. Changes nothing, and makes no file.

    Raises:
        ValueError: if the URL is none that we can use, or leads to something that is no database of ours.
        Unavailable: if the database cannot be reached.
    """
    async with _engine(database_url) as engine:
        return await look_by(engine)


async def look_by(engine: AsyncEngine) -> SchemaVersion:
    """As :func:`look`, on an engine that is open already; raises what drivers raise."""
    if engine.dialect.name == "sqlite" and _is_yet_to_be_made(Path(engine.url.database or "")):
        return SchemaVersion(None, None)
    async with for_reading(engine).connect() as connection, connection.begin():
        return await connection.run_sync(schema_version.found)


def _is_yet_to_be_made(file: Path) -> bool:
    """Connecting would make it."""
    return file.parent.is_dir() and not file.exists()


async def plan(database_url: str) -> Plan:
    """What :func:`migrate` would do. Raises the same."""
    found = await look(database_url)
    found.refuse_if_too_new()
    return Plan(found, _missing(found))


async def script(database_url: str) -> str:
    """The SQL that :func:`migrate` would run on this database as it is now, for a terminal of the database; empty if
    there is nothing to do. Raises the same."""
    async with _engine(database_url) as engine:
        found, dialect = await look_by(engine), engine.dialect.name
    found.refuse_if_too_new()
    missing = _missing(found)
    if not missing:
        return ""
    printed = io.StringIO()
    _run(found, missing, dialect=dialect, printed=printed)
    begin = f"BEGIN;\n\nSELECT pg_advisory_xact_lock({_LOCK});" if dialect == "postgresql" else "BEGIN IMMEDIATE;"
    return f"{begin}\n\n{printed.getvalue().strip()}\n\nCOMMIT;\n"


@asynccontextmanager
async def _engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose statements may take their time, as changing a large table does."""
    engine = create_engine(database_url, connections=1, answer_seconds=None)
    try:
        with reaching():
            yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def _alone(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction in which nobody else migrates this database."""
    writing = for_writing(engine)
    if engine.dialect.name != "postgresql":
        async with writing.begin() as connection:  # which takes the one lock that there is
            yield connection
        return
    for attempt in range(round(TURN_SECONDS / _ASK_AGAIN_SECONDS)):
        async with writing.begin() as connection:
            # The transaction's and not the session's: it ends with it, whatever happens, and passes through poolers.
            if (await connection.execute(_TRY_LOCK)).scalar_one():
                yield connection
                return
        if attempt == 0:
            _log.warning("another process migrates this database; waiting up to %g s for it to end", TURN_SECONDS)
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    raise Unavailable(f"Another process has been migrating this database for {TURN_SECONDS:g} s; nothing was changed.")


def _apply(connection: sa.Connection) -> Plan:
    found = schema_version.found(connection)
    found.refuse_if_too_new()
    missing = _missing(found)
    if missing:
        _run(found, missing, connection=connection)
    for step in missing:
        _log.info("migrated to %s: %s", step.number, step.title)
    return Plan(found, missing)


def _missing(found: SchemaVersion) -> tuple[Step, ...]:
    if not found.is_behind:
        return ()
    return tuple(step for step in steps() if found.number is None or step.number > found.number)


def steps() -> list[Step]:
    """All migrations that there are, in their order."""
    from alembic.script import ScriptDirectory

    revisions = list(ScriptDirectory.from_config(_config()).walk_revisions())
    return [Step(one.revision, one.doc.partition(".")[0], one.module.works_with) for one in reversed(revisions)]


def _run(
    found: SchemaVersion,
    missing: tuple[Step, ...],
    *,
    connection: sa.Connection | None = None,
    dialect: str | None = None,
    printed: io.StringIO | None = None,
) -> None:
    """Run the steps on a connection; or, without one, print them."""
    from alembic import command

    config = _config(printed)
    config.attributes.update(
        connection=connection,
        dialect=dialect,
        moves=found.number is not None and found.works_with is None,
        works_with=missing[-1].works_with,
    )
    if connection is not None:
        command.upgrade(config, "head")
    else:
        command.upgrade(config, f"{found.number or 'base'}:head", sql=True)


def _config(printed: io.StringIO | None = None) -> Any:
    # Loaded only where it is needed: a server on a schema that fits starts sooner without it.
    from alembic.config import Config

    config = Config(output_buffer=printed)
    config.set_main_option("script_location", "fader_server:storage/migrations")
    config.set_main_option("path_separator", "os")
    return config
