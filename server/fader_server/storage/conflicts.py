"""Inserting what may be there already."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def insert_into(connection: AsyncConnection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Both databases say ``ON CONFLICT`` alike; the library has it once for each."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
