"""SQLite databases in states that can be told apart at a glance, through a connection that is not ours."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fader_server.storage.migrate import migrate

FLAGS = 400
"""So many that the database has many pages, and no state of it is written at a blow."""


@contextmanager
def connected(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose statements are transactions of their own."""
    connection = sqlite3.connect(file, timeout=30, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def ask(file: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with connected(file) as connection:
        return connection.execute(query).fetchall()


def make(file: Path, mark: str) -> None:
    """A database with many flags, all in one state."""
    asyncio.run(migrate(f"sqlite:///{file}"))
    with connected(file) as connection:
        connection.execute("BEGIN")
        for number in range(FLAGS):
            connection.execute(
                "INSERT INTO flags VALUES ('default', ?, ?, '', '[]', 'release', 'boolean', '[]', 'off', ?, ?, NULL)",
                (f"flag-{number}", mark, "2026-05-01 12:30:00.000000", "2026-05-01 12:30:00.000000"),
            )
        connection.execute("COMMIT")


def mark(file: Path, text: str) -> None:
    """Bring all flags into one state."""
    with connected(file) as connection:
        connection.execute("UPDATE flags SET description = ?", (text,))


def marks(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """The states that flags are in, and how many are in each."""
    return connection.execute("SELECT description, count(*) FROM flags GROUP BY description").fetchall()


def marks_of(file: Path) -> list[tuple[str, int]]:
    """The same, in a file."""
    with connected(file) as connection:
        return marks(connection)
