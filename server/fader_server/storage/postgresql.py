"""PostgreSQL: connections that notice faults by themselves, and transactions of two kinds.

The URL goes to asyncpg as it is (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING), so
``sslmode``, several hosts with ``target_session_attrs``, a Unix socket or a password file all work.
"""

from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fader_server.storage.faults import connecting

CONNECTIONS: Final = 10
"""At most so many at once, unless the settings say otherwise."""

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 5.0
"""No statement of ours takes anything near this. Whatever has not answered by then is gone, or hangs."""

_WAIT_FOR_LOCK_SECONDS: Final = 4.0
"""Less than the time for an answer, so that the server says what was the matter."""


def create_engine(url: str, connections: int, answer_seconds: float | None) -> AsyncEngine:
    """An engine whose connections give up on a server that does not answer.

    Args:
        url: ``postgresql://…``.
        connections: At most so many at once.
        answer_seconds: How long a statement may take; ``None`` for as long as it likes.

    Raises:
        ValueError: if the URL cannot be read.
    """
    try:
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError:
        if "," not in urlsplit(url).netloc:  # several hosts have several ports
            raise ValueError("has a port that is not a number") from None

    async def connect() -> Any:
        with connecting():
            return await asyncpg.connect(
                url,
                timeout=CONNECT_SECONDS,
                command_timeout=answer_seconds,
                server_settings={
                    "application_name": "fader",
                    "lock_timeout": f"{_WAIT_FOR_LOCK_SECONDS:g}s",
                    # A node that dies in the middle must not hold its locks for longer than anybody waits for them.
                    "idle_in_transaction_session_timeout": f"{_WAIT_FOR_LOCK_SECONDS:g}s",
                    "tcp_user_timeout": f"{ANSWER_SECONDS:g}s",
                },
            )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=ANSWER_SECONDS,
        hide_parameters=True,
    )
    sa.event.listen(engine.sync_engine, "checkout", _refuse_closed)
    sa.event.listen(engine.sync_engine, "invalidate", _terminate)
    sa.event.listen(engine.sync_engine, "handle_error", _keep_others)
    return engine


def _refuse_closed(connection: Any, _record: Any, _proxy: Any) -> None:
    """The driver knows when the server has closed a connection; without asking the server anything, the pool can
    replace it before it is used."""
    if connection.driver_connection.is_closed():
        raise sa.exc.DisconnectionError


def _terminate(connection: Any, _record: Any, _fault: BaseException | None) -> None:
    """A connection that is thrown away because it is broken gets no farewell, for which the library would wait."""
    connection.driver_connection.terminate()


def _keep_others(context: sa.ExceptionContext) -> None:
    """One connection that is lost says nothing of the others, which notice by themselves. The library would replace all
    of them that seem older, by a clock that may be set back: then it would do so with each, again and again."""
    context.invalidate_pool_on_disconnect = False


def for_reading(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, in whose transactions all reads see the database at one moment."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def for_writing(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, whose transactions see what others have committed as soon as they hold its lock."""
    return engine.execution_options(isolation_level="READ COMMITTED")
