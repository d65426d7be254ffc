"""Queries on projects and environments, and the lock that makes revisions gapless."""

import secrets
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.records import EnvironmentState, Project

_environments = schema.environments.c
_projects = schema.projects.c

# Built once: every write begins with it.
_STATE = sa.select(schema.environments).where(
    _environments.project == sa.bindparam("project"), _environments.key == sa.bindparam("environment")
)
_LOCKED = _STATE.with_for_update()


async def projects(connection: AsyncConnection, after: str = "", limit: int | None = None) -> list[Project]:
    """Projects by key, from the one after ``after`` on."""
    query = sa.select(schema.projects).where(_projects.key > after).order_by(_projects.key).limit(limit)
    return [Project(**row) for row in (await connection.execute(query)).mappings()]


async def project(connection: AsyncConnection, key: str, *, lock: bool = False) -> Project | None:
    """One project. Locked, nobody else adds environments, flags or segments to it until the transaction
    ends."""
    query = sa.select(schema.projects).where(_projects.key == key)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    return Project(**row) if row else None


async def insert_project(connection: AsyncConnection, record: Project) -> None:
    """Add a project, without environments."""
    await connection.execute(
        schema.projects.insert().values(key=record.key, description=record.description, created_at=record.created_at)
    )


async def describe_project(connection: AsyncConnection, key: str, description: str) -> None:
    """Change a project's description."""
    await connection.execute(schema.projects.update().where(_projects.key == key).values(description=description))


async def delete_project(connection: AsyncConnection, key: str) -> None:
    """Remove a project that has no environments, flags and segments left."""
    await connection.execute(schema.projects.delete().where(_projects.key == key))


async def states(
    connection: AsyncConnection, project: str | None = None, *, lock: bool = False
) -> list[EnvironmentState]:
    """The environments of one project, or of all, by key.

    Locked, nobody else changes anything in them until the transaction ends. All who lock several do so in
    this order, so they cannot wait for each other in a circle.
    """
    query = sa.select(schema.environments).order_by(_environments.project, _environments.key)
    if project is not None:
        query = query.where(_environments.project == project)
    if lock:
        query = query.with_for_update()
    return [EnvironmentState(**row) for row in (await connection.execute(query)).mappings()]


async def state(
    connection: AsyncConnection, project: str, environment: str, *, lock: bool = False
) -> EnvironmentState | None:
    """One environment. Locked, nobody else changes anything in it until the transaction ends."""
    asked = {"project": project, "environment": environment}
    row = (await connection.execute(_LOCKED if lock else _STATE, asked)).mappings().one_or_none()
    return EnvironmentState(**row) if row else None


async def insert(connection: AsyncConnection, project: str, environments: Sequence[str], at: datetime) -> None:
    """Add environments, each with an epoch of its own."""
    rows = [
        {"project": project, "key": key, "epoch": secrets.token_hex(8), "revision": 0, "created_at": at}
        for key in environments
    ]
    await connection.execute(schema.environments.insert(), rows)


async def delete(connection: AsyncConnection, project: str, environment: str) -> None:
    """Remove an environment with all that is configured in it; what the log tells of it stays."""
    for table in (
        schema.flag_references,
        schema.flag_environments,
        schema.hooks,
        schema.sdk_keys,
        schema.usage,
        schema.usage_reports,
    ):
        await connection.execute(table.delete().where(table.c.project == project, table.c.environment == environment))
    await connection.execute(
        schema.environments.delete().where(_environments.project == project, _environments.key == environment)
    )
