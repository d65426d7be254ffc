"""Which schema a database has, and whether this code works on it.

Each migration says which code still works on what it leaves behind (``works_with``), and the database keeps the word of
its newest one. So a server can judge a schema that is newer than itself: it works if somebody who knew both has said
so. That is what lets servers of two versions share a database, and one of the older version start on it.
"""

from typing import Final

import sqlalchemy as sa
from msgspec import Struct

NEWEST: Final = "0006"
"""The newest migration that this code knows: what its queries are written for. Migrations are numbered, so that which
of two is newer can be told without knowing both."""

TABLE: Final = "schema_version"
"""One row: ``version_num``, the newest migration that was applied (Alembic writes it), and ``works_with``."""

FIRST_TABLE: Final = "alembic_version"
"""Where the first version of Fader keeps the same, and looks at nothing else."""


class SchemaError(ValueError):
    """This code does not work on this schema; the text says why, and how to mend it, and may follow the name of a
    setting."""


class SchemaVersion(Struct, frozen=True):
    """What a database says of its schema.

    Args:
        number: The newest migration that was applied; ``None`` before the first.
        works_with: The oldest code that works on it, named by the newest migration that it knows. ``None`` if the
            database does not say.
    """

    number: str | None
    works_with: str | None

    @property
    def is_behind(self) -> bool:
        """Whether migrations are missing."""
        return self.number is None or self.number < NEWEST

    @property
    def is_ahead(self) -> bool:
        """Whether there are migrations that this code does not know."""
        return self.number is not None and self.number > NEWEST

    def refuse_if_behind(self) -> None:
        """Make sure that no migration is missing.

        Raises:
            SchemaError: if one is.
        """
        mend = "run `fader-server migrate` first, or set FADER_MIGRATE=always"
        if self.number is None:
            raise SchemaError(
                f"leads to a database without Fader's tables, and this server needs schema {NEWEST}: {mend}"
            )
        if self.is_behind:
            raise SchemaError(
                f"leads to a database with schema {self.number}, which is too old for this server, "
                f"made for schema {NEWEST}: {mend}"
            )

    def refuse_if_too_new(self) -> None:
        """Make sure that this code works on what newer code has made of the schema.

        Raises:
            SchemaError: if it does not, or nobody has said that it does.
        """
        if self.is_ahead and (self.works_with is None or self.works_with > NEWEST):
            works_with = f", which works with servers made for {self.works_with} or later" if self.works_with else ""
            raise SchemaError(
                f"leads to a database with schema {self.number}{works_with}; this server, made for schema {NEWEST}, "
                "is too old for it: start a newer version of Fader"
            )


def found(connection: sa.Connection) -> SchemaVersion:
    """What a database says of its schema."""
    inspector = sa.inspect(connection)
    if inspector.has_table(TABLE):
        rows = connection.execute(sa.text(f"SELECT version_num, works_with FROM {TABLE}")).all()  # noqa: S608 (a constant)
    elif inspector.has_table(FIRST_TABLE):
        rows = connection.execute(sa.text(f"SELECT version_num, NULL FROM {FIRST_TABLE}")).all()  # noqa: S608 (the same)
    else:
        rows = []
    return SchemaVersion(*rows[0]) if rows else SchemaVersion(None, None)
