"""Writes that are applied once, however often they are tried: the answer to the first try is committed together
with what that try has changed, so that whoever tries again, on whichever server, gets it once more.

The Idempotency-Key HTTP Header Field: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self, TypeAlias

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.errors import KeyReused, StillRunning
from fader_server.storage import faults, schema
from fader_server.storage.conflicts import insert_into
from fader_server.storage.records import Answer

ANSWERS_KEPT: Final = timedelta(hours=24)
"""How long a repeated request is recognised, at least."""

Writing: TypeAlias = AbstractAsyncContextManager[AsyncConnection]
"""A transaction, which is committed when its block ends."""

Holding: TypeAlias = Callable[[Writing], Writing]
"""What becomes of a transaction at the end of the block that writes in it: see :func:`not_held`."""

_keys = schema.idempotency_keys.c


def not_held(writing: Writing) -> Writing:
    """It is committed then and there."""
    return writing


class Attempt(Struct, frozen=True):
    """One try of a request.

    Args:
        token: id of the admin token that it came with; keys are the sender's own.
        key: what all tries of the request have in common, and no other request of the same sender.
        fingerprint: hash of all that makes it this request.
        at: the moment.
    """

    token: str
    key: str
    fingerprint: str
    at: datetime


class AnsweredBefore(Exception):  # noqa: N818 - no error: it reads as what happened
    """An earlier try of the request was applied, and this is what was answered to it. Nothing was written now."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class HeldWrite:
    """A transaction that outlives the block that writes in it, until the answer is known: then both are committed.

    A context manager: what has not been committed by its end is undone.
    """

    def __init__(self) -> None:
        self._held = AsyncExitStack()
        self._connection: AsyncConnection | None = None
        self._attempt: Attempt | None = None

    @property
    def is_open(self) -> bool:
        """Whether something was written and waits for its answer."""
        return self._connection is not None

    @asynccontextmanager
    async def hold(self, attempt: Attempt, writing: Writing) -> AsyncIterator[AsyncConnection]:
        """Enter a transaction that this try writes in. If the block raises, it is undone at once; else it goes on.

        Raises:
            AnsweredBefore: if an earlier try has been applied.
            KeyReused: if that was another request.
            StillRunning: if an earlier try has not come to an end, and does not in a few seconds.
        """
        if self.is_open:
            raise RuntimeError("a request writes in one transaction")
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(writing)
            await _claim(connection, attempt)
            yield connection
            self._connection, self._attempt = connection, attempt
            self._held = stack.pop_all()

    async def commit(self, answer: Answer) -> None:
        """Keep the answer, and commit it with what was written."""
        async with self._release() as (connection, attempt):
            await connection.execute(
                schema.idempotency_keys.update()
                .where(_keys.token == attempt.token, _keys.key == attempt.key)
                .values(answer=answer)
            )

    async def roll_back(self) -> None:
        """Undo what was written."""
        with suppress(_UndoneError):
            async with self._release():
                raise _UndoneError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_open:
            await self.roll_back()

    @asynccontextmanager
    async def _release(self) -> AsyncIterator[tuple[AsyncConnection, Attempt]]:
        connection, attempt = self._connection, self._attempt
        if connection is None or attempt is None:
            raise RuntimeError("nothing is held")
        self._connection = None
        async with self._held.pop_all():
            yield connection, attempt


class _UndoneError(Exception):
    """Ends a transaction that is not to be committed."""


async def _claim(connection: AsyncConnection, attempt: Attempt) -> None:
    """Take the key. Where another transaction has just taken it, this waits for that one's end."""
    claiming = insert_into(connection, schema.idempotency_keys).values(
        token=attempt.token, key=attempt.key, fingerprint=attempt.fingerprint, created_at=attempt.at
    )
    try:
        claimed = await connection.execute(claiming.on_conflict_do_nothing())
    except faults.RAISED as fault:
        if faults.is_lock_timeout(fault):
            raise StillRunning from fault
        raise
    if claimed.rowcount == 1:
        return
    query = sa.select(_keys.fingerprint, _keys.answer).where(_keys.token == attempt.token, _keys.key == attempt.key)
    earlier = (await connection.execute(query)).one_or_none()
    if earlier is None:  # forgotten this very moment
        raise StillRunning
    if earlier.fingerprint != attempt.fingerprint:
        raise KeyReused(
            "This Idempotency-Key was sent with another request.",
            field="Idempotency-Key",
            hint="Draw a new key for each request; only the tries of one request share theirs.",
        )
    raise AnsweredBefore(earlier.answer)


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget answers that nobody should ask for any more."""
    await connection.execute(schema.idempotency_keys.delete().where(_keys.created_at < now - ANSWERS_KEPT))
