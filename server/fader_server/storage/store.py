"""The database as the rest of the server sees it: transactions, and the few reads that several rooms
share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fader import model
from fader_server.errors import Unavailable
from fader_server.storage import changes, environments, flags, segments, usage
from fader_server.storage.documents import sdk_segment, segment_document
from fader_server.storage.engine import PASSING_FAULTS, create_engine, for_writing
from fader_server.storage.migrate import migrate_engine
from fader_server.storage.records import EnvironmentState, UsageReport

_log = logging.getLogger(__name__)


class Store:
    """One database. Built by :meth:`open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writing = for_writing(engine)
        # SQLite has one writer anyway. Queueing for it here, in order and without polling, is fairer than its
        # own busy handler, which lets whoever wakes up first go first.
        self._writer = asyncio.Lock()

    @classmethod
    async def open(cls, database_url: str, *, migrate: bool = True) -> "Store":
        """Connect, and bring the schema up to date unless told not to.

        Raises:
            ValueError: if the URL is none that we can use, or leads to something that is no database of ours.
            Unavailable: if the database cannot be reached or written to.
        """
        engine = create_engine(database_url)
        try:
            if migrate:
                with _faults_as_unavailable():
                    await migrate_engine(engine)
        except sa.exc.DatabaseError as fault:
            raise ValueError(f"what it leads to is no database: {fault.__cause__ or fault}") from fault
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine)

    async def close(self) -> None:
        """Close all connections. Transactions that are under way fail."""
        await self._engine.dispose()

    async def ping(self) -> None:
        """Ask the database for the least that it can answer.

        Raises:
            Unavailable: if it cannot.
        """
        async with self.read() as connection:
            await connection.execute(sa.select(1))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction in which all reads see the database at one moment.

        Raises:
            Unavailable: if the database fails in a way that may pass.
        """
        with _faults_as_unavailable():
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self, *, dry_run: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: committed when the block ends, undone as a whole if it raises.

        Args:
            dry_run: undo it as a whole in any case.

        Raises:
            Unavailable: if the database fails in a way that may pass; nothing is written then.
        """
        with _faults_as_unavailable():
            async with self._writer, self._writing.connect() as connection, connection.begin() as transaction:
                yield connection
                if dry_run:
                    await transaction.rollback()

    async def environments(self) -> list[EnvironmentState]:
        """All environments of all projects, with the revision that each has reached."""
        async with self.read() as connection:
            return await environments.states(connection)

    async def snapshot(self, project: str, environment: str) -> model.Snapshot | None:
        """All flags and segments of an environment at its latest revision, or nothing if there is no such
        environment."""
        async with self.read() as connection:
            state = await environments.state(connection, project, environment)
            if state is None:
                return None
            found = await flags.sdk_flags(connection, project, environment)
            members = await segments.page(connection, project)
        return model.Snapshot(
            project=project,
            environment=environment,
            epoch=state.epoch,
            revision=state.revision,
            flags=found,
            segments={segment.key: sdk_segment(segment_document(segment)) for segment in members},
        )

    async def changes_after(self, project: str, environment: str, revision: int, limit: int) -> list[model.Change]:
        """What follows ``revision``, one change per revision, in order and without gaps.

        Args:
            limit: at most so many; ask again from the last one's revision for the rest.
        """
        async with self.read() as connection:
            return await changes.after(connection, project, environment, revision, limit)

    async def record_usage(self, reports: Sequence[UsageReport], now: datetime) -> int:
        """Add up what SDKs have counted, all in one transaction; what was reported before is left out.

        Returns:
            How many of the reports were new.
        """
        async with self.write() as connection:
            return await usage.record(connection, reports, now)

    async def prune(self, now: datetime) -> None:
        """Forget counts and report ids that are too old to be of use. Worth calling once an hour."""
        async with self.write() as connection:
            await usage.prune(connection, now)


@contextmanager
def _faults_as_unavailable() -> Iterator[None]:
    try:
        yield
    except PASSING_FAULTS as fault:
        _log.warning("the database failed: %s", fault.__cause__ or fault)
        raise Unavailable("The database cannot be used at the moment; nothing was changed.") from fault
