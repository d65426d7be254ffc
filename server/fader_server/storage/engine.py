"""How to talk to the database: which one ``DATABASE_URL`` means, and transactions that read or write."""

from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine

from fader_server.storage import postgresql, sqlite

_POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+asyncpg")


def create_engine(
    database_url: str,
    *,
    connections: int = postgresql.CONNECTIONS,
    answer_seconds: float | None = postgresql.ANSWER_SECONDS,
) -> AsyncEngine:
    """An engine for the database that a URL names. Connects to nothing yet.

    Args:
        database_url: ``sqlite:///…`` or ``postgresql://…``.
        connections: at most so many at once; for PostgreSQL.
        answer_seconds: how long a statement may take, ``None`` for as long as it likes; for PostgreSQL.

    Raises:
        ValueError: if it is not the address of a database that we can use; the text never repeats a password.
    """
    scheme = database_url.partition("://")[0].lower()
    if scheme in _POSTGRESQL:
        return postgresql.create_engine(f"postgresql{database_url[len(scheme) :]}", connections, answer_seconds)
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise ValueError("is not an address such as sqlite:///fader.db or postgresql://user@host/fader") from None
    if url.get_backend_name() != "sqlite":
        raise ValueError(
            f"names {url.get_backend_name()}; Fader keeps its data in SQLite (sqlite:///fader.db) "
            "or PostgreSQL (postgresql://user@host/fader)"
        )
    return sqlite.create_engine(url)


def for_reading(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, in whose transactions all reads see the database at one moment."""
    # A transaction of SQLite does so anyway.
    return postgresql.for_reading(engine) if engine.dialect.name == "postgresql" else engine


def for_writing(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, whose transactions may write."""
    return postgresql.for_writing(engine) if engine.dialect.name == "postgresql" else sqlite.for_writing(engine)
