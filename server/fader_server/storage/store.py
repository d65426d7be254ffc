"""The database as the rest of the server sees it: transactions, and the few reads that several rooms
share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from fader import model
from fader.members import Members
from fader_server.errors import Malformed, Unavailable
from fader_server.storage import (
    changes,
    environments,
    faults,
    flags,
    idempotency,
    keys,
    members,
    notices,
    propagations,
    ramps,
    segments,
    usage,
)
from fader_server.storage.breaker import Breaker
from fader_server.storage.documents import sdk_guards, sdk_segment, segment_document
from fader_server.storage.engine import create_engine, for_reading, for_writing
from fader_server.storage.migrate import look_by
from fader_server.storage.migrate import migrate as bring_up_to_date
from fader_server.storage.postgresql import CONNECTIONS
from fader_server.storage.reaching import reaching
from fader_server.storage.records import (
    Committed,
    EnvironmentState,
    MemberDelta,
    NodePropagation,
    SdkKey,
    UsageReport,
)
from fader_server.telemetry import ConnectionPool, Telemetry

_log = logging.getLogger(__name__)

_GIVEN_BACK_SECONDS: Final = 1.0
"""So long a connection may be on its way back from whoever was cancelled."""


class Store:
    """One database. Built by :meth:`open`, or by the constructor and :meth:`prepare` where the database may come later.

    Args:
        database_url: ``sqlite:///…`` or ``postgresql://…``.
        connections: at most so many at once; for PostgreSQL.
        telemetry: whom to tell of transactions.

    Raises:
        ValueError: if the URL is none that we can use.
    """

    def __init__(
        self, database_url: str, *, connections: int = CONNECTIONS, telemetry: Telemetry | None = None
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        self._database_url = database_url
        self._engine = create_engine(database_url, connections=connections)
        self._reading = for_reading(self._engine)
        self._writing = for_writing(self._engine)
        # SQLite has one writer anyway. Queueing for it here, in order and without polling, is fairer than its
        # own busy handler, which lets whoever wakes up first go first.
        self._turn: AbstractAsyncContextManager[object] = nullcontext() if self.is_shared else asyncio.Lock()
        self._breaker = Breaker() if self.is_shared else None
        self.is_prepared = False
        """Whether the database has been reached since the start."""

    @classmethod
    async def open(cls, database_url: str, *, migrate: bool = True, telemetry: Telemetry | None = None) -> "Store":
        """Connect, and bring the schema up to date unless told not to.

        Raises:
            ValueError: if the URL is none that we can use, or leads to something that is no database of ours.
            Unavailable: if the database cannot be reached or written to.
        """
        store = cls(database_url, telemetry=telemetry)
        try:
            await store.prepare(migrate=migrate)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def is_shared(self) -> bool:
        """Whether other servers may use the same database at the same time."""
        return self._engine.dialect.name == "postgresql"

    @property
    def pool(self) -> ConnectionPool:
        """The connections that transactions hold, and how many they may."""
        pool = self._engine.sync_engine.pool
        assert isinstance(pool, sa.QueuePool)  # noqa: S101 (both databases have one)
        return ConnectionPool(in_use=pool.checkedout(), limit=pool.size())

    async def prepare(self, *, migrate: bool = True) -> None:
        """Reach the database for the first time, and bring the schema up to date unless told not to. Until this has
        succeeded once, everything else raises ``Unavailable``.

        Raises:
            SchemaError: if the schema is too old, or too new.
            ValueError: if it is no database of ours, or does not let us in.
            Unavailable: if the database cannot be reached or written to.
        """
        if migrate:
            await bring_up_to_date(self._database_url)
        with reaching():
            version = await look_by(self._engine)
        version.refuse_if_behind()
        version.refuse_if_too_new()
        self.is_prepared = True

    async def close(self) -> None:
        """Close all connections. Transactions that are still under way in a moment fail."""
        # Whoever was cancelled gives its connection back a little later, when nobody would be there to close it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVEN_BACK_SECONDS):
                while self.pool.in_use:  # noqa: ASYNC110 (the pool tells nobody)
                    await asyncio.sleep(0.005)
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
        self._refuse_unprepared()
        with self._watched("read"):
            async with self._reading.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self, *, dry_run: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: committed when the block ends, undone as a whole if it raises.

        Args:
            dry_run: undo it as a whole in any case.

        Raises:
            Unavailable: if the database fails in a way that may pass. Nothing is written then, unless the error says
                that this is not known, because the connection broke while the commit was under way.
        """
        self._refuse_unprepared()
        with self._watched("write"):
            async with self._turn, self._writing.connect() as connection:
                transaction = await connection.begin()
                try:
                    yield connection
                except BaseException:
                    await _undo(transaction)
                    raise
                if dry_run:
                    await transaction.rollback()
                    return
                with _faults_told(_NOTHING_CHANGED, broken_off=_PERHAPS_CHANGED):
                    await transaction.commit()

    @contextmanager
    def _watched(self, kind: Literal["read", "write"]) -> Iterator[None]:
        breaking = nullcontext() if self._breaker is None else self._breaker.watching()
        with self._telemetry.transaction(kind, self._engine.dialect.name), _faults_told(_NOTHING_CHANGED), breaking:
            yield

    def _refuse_unprepared(self) -> None:
        if not self.is_prepared:
            raise Unavailable("This server has not reached its database yet.")

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
            flags_there = await flags.sdk_flags(connection, project, environment)
            everyone = await segments.page(connection, project)
            guarded = await ramps.under_way(connection, project, environment)
        return model.Snapshot(
            project=project,
            environment=environment,
            epoch=state.epoch,
            revision=state.revision,
            flags=flags_there,
            segments={segment.key: sdk_segment(segment_document(segment)) for segment in everyone},
            guards={ramp.flag: found for ramp in guarded if (found := sdk_guards(ramp)) and ramp.epoch == state.epoch},
        )

    async def changes_after(self, project: str, environment: str, revision: int, limit: int) -> list[model.Change]:
        """What follows ``revision``, one change per revision, in order and without gaps.

        Args:
            limit: at most so many; ask again from the last one's revision for the rest.
        """
        return [one.change for one in await self.committed_after(project, environment, revision, limit)]

    async def committed_after(self, project: str, environment: str, revision: int, limit: int) -> list[Committed]:
        """The same, and when each change was made."""
        async with self.read() as connection:
            return await changes.after(connection, project, environment, revision, limit)

    async def members_at(self, described: model.MemberList) -> Members | None:
        """All hashes of a long list at a version; ``None`` if that is not, or no longer, known."""
        async with self.read() as connection:
            return await members.at(connection, described)

    async def member_list(self, name: str, version: int, digest: str) -> model.MemberList | None:
        """A long list at a version, if it is known."""
        async with self.read() as connection:
            return await members.described(connection, name, version, digest)

    async def member_deltas(self, name: str, since: int, version: int) -> list[MemberDelta]:
        """What a long list has become different by after ``since``, up to ``version``, as far as it is known."""
        async with self.read() as connection:
            return await members.deltas(connection, name, since, version)

    async def invalid_keys(self, key_ids: Sequence[str], now: datetime) -> set[str]:
        """Which of these SDK keys, by id, are no longer valid: revoked, expired, or gone."""
        async with self.read() as connection:
            return set(key_ids) - await keys.valid(connection, key_ids, now)

    async def valid_keys(self, project: str, environment: str) -> dict[str, SdkKey]:
        """The SDK keys of an environment that are not revoked, by digest."""
        async with self.read() as connection:
            return await keys.by_digest(connection, project, environment)

    async def record_usage(self, reports: Sequence[UsageReport], now: datetime) -> int:
        """Add up what SDKs have counted, all in one transaction; what was reported before is left out.

        Returns:
            How many of the reports were new.
        """
        async with self.write() as connection:
            return await usage.record(connection, reports, now)

    async def record_propagations(self, rows: Sequence[NodePropagation]) -> None:
        """Keep how changes have reached the clients of a node."""
        async with self.write() as connection:
            await propagations.record(connection, rows)

    async def prune(self, now: datetime) -> None:
        """Forget counts, report ids and kept answers that are too old to be of use. Worth calling once an hour."""
        async with self.write() as connection:
            await usage.prune(connection, now)
            await idempotency.prune(connection, now)
            await ramps.prune(connection, now)
            await notices.prune(connection, now)


_NOTHING_CHANGED = "The database cannot be used at the moment; nothing was changed."
_PERHAPS_CHANGED = (
    "The database broke off while the change was being written down, so it may or may not have been made. "
    "Look, or send it again with the same Idempotency-Key."
)


@contextmanager
def _faults_told(detail: str, *, broken_off: str | None = None) -> Iterator[None]:
    """What the database raises becomes an error of ours where it can be told what to do about it.

    Args:
        detail: What to tell.
        broken_off: What to tell instead, where it is not known whether what was begun has been done nevertheless.
    """
    try:
        yield
    except faults.RAISED as fault:
        if faults.is_unstorable_text(fault):
            raise Malformed("The request holds the character U+0000, which cannot be stored.") from fault
        if not faults.may_pass(fault):
            raise
        if broken_off is not None and not faults.is_undone(fault):
            detail = broken_off
        raise _unavailable(fault, detail) from fault


def _unavailable(fault: BaseException, detail: str) -> Unavailable:
    _log.warning("the database failed: %s", faults.described(fault))
    return Unavailable(detail)


async def _undo(transaction: AsyncTransaction) -> None:
    """Roll back. If the connection is broken, the database has done so by itself."""
    with suppress(*faults.RAISED):
        await transaction.rollback()
