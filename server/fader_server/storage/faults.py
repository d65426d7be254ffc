"""What databases raise, told apart: what may pass, what will not, and what was the sender's fault."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
import sqlalchemy as sa

_PASSING_CLASSES: Final = frozenset(
    {
        "08",  # connection exception
        "28",  # invalid authorization: a rotated password, until the new one is everywhere
        "40",  # transaction rollback: deadlock, serialization
        "53",  # insufficient resources: disk full, too many connections
        "57",  # operator intervention: shutting down, starting up, cancelled
        "58",  # system error: I/O
    }
)
_PASSING_STATES: Final = frozenset(
    {
        "25006",  # read-only transaction: a standby that is not promoted yet
        "25P03",  # idle in transaction for too long
        "3D000",  # there is no such database (any more, or yet)
        "55000",  # it takes no connections at the moment
        "55006",  # object in use
        "55P03",  # lock not available
    }
)
_MISCONFIGURED_STATES: Final = frozenset({"28000", "28P01", "3D000"})
_UNREACHABLE_STATES: Final = frozenset(
    {
        "08001",  # cannot connect
        "08004",  # connection rejected
        "53300",  # too many connections
        "57P03",  # starting up, or shutting down
    }
)
_UNDONE_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_WRITE})
_UNSTORABLE_STATES: Final = frozenset({"22021", "22P05"})


class NoConnectionError(ConnectionError):
    """No connection could be made."""


PASSING: Final = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    sa.exc.DisconnectionError,
    sqlite3.OperationalError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InvalidCachedStatementError,
    OSError,
    TimeoutError,
)
RAISED: Final = (sa.exc.SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, *PASSING)
"""All that transactions may raise by themselves."""


@contextmanager
def connecting() -> Iterator[None]:
    """Around the making of a connection.

    Raises:
        NoConnectionError: if none could be made, be it that nobody listens, or that nobody answers.
    """
    try:
        yield
    except (OSError, TimeoutError) as fault:
        raise NoConnectionError from fault


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """From the library's wrappings down to the driver's own exception."""
    link: BaseException | None = fault
    while link is not None:
        yield link
        # A timeout comes from a cancellation, which says less than the timeout does.
        link = link.__cause__ if isinstance(link.__cause__, Exception) else None


def _cause(fault: BaseException) -> BaseException:
    *_, last = _chain(fault)
    return last


def _state(fault: BaseException) -> str:
    """The SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    state = getattr(_cause(fault), "sqlstate", None)
    return state if isinstance(state, str) else ""


def may_pass(fault: BaseException) -> bool:
    """Whether the database cannot do now what it may well do later: locked, disk full, not to be reached."""
    state = _state(fault)
    if state:
        return state[:2] in _PASSING_CLASSES or state in _PASSING_STATES
    return isinstance(fault, PASSING) or isinstance(_cause(fault), PASSING)


def is_unreachable(fault: BaseException) -> bool:
    """Whether no connection can be made, or the one there was has fallen silent. (One that was cut is no such case:
    the next may well be made.)"""
    state = _state(fault)
    if state:
        return state in _UNREACHABLE_STATES
    links = list(_chain(fault))
    if any(isinstance(link, NoConnectionError) for link in links):
        return True
    return not isinstance(fault, sa.exc.TimeoutError) and isinstance(links[-1], TimeoutError)


def is_undone(fault: BaseException) -> bool:
    """Whether a commit that failed with this has certainly changed nothing: SQLite had no room to write it down. (Where
    it is the disk that fails, a commit may have been written down, and be found after a crash.)"""
    return getattr(_cause(fault), "sqlite_errorcode", None) in _UNDONE_CODES


def is_misconfigured(fault: BaseException) -> bool:
    """Whether the database answers, and says that the user, the password or the name is wrong."""
    return _state(fault) in _MISCONFIGURED_STATES


def is_lock_timeout(fault: BaseException) -> bool:
    """Whether another transaction has held for too long what this one waited for."""
    return _state(fault) == "55P03"


def is_unstorable_text(fault: BaseException) -> bool:
    """Whether something that was sent holds a character that PostgreSQL cannot keep: NUL."""
    return _state(fault) in _UNSTORABLE_STATES


def described(fault: BaseException) -> str:
    """For the log and for the operator: what the driver says, in one line, without statements or parameters."""
    cause = _cause(fault)
    return " ".join(str(cause).split()) or type(cause).__name__
