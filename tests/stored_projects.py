"""Whole projects put into a database before any server reads it: a thousand flags in a second."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from fader.model import Flag, Segment
from fader_server.access import ensure_initial_credentials
from fader_server.storage import Store, environments, flags, schema, segments
from fader_server.storage import records as kept

ENVIRONMENT = "production"


@dataclass(frozen=True)
class StoredProject:
    """A project with one environment, in which its flags are configured, and a key of each kind."""

    key: str
    flags: Mapping[str, Flag]
    segments: Mapping[str, Segment] = field(default_factory=dict)
    secret: str = field(default_factory=lambda: secrets.token_hex(20))

    @property
    def server_key(self) -> str:
        return f"{self.key}:{ENVIRONMENT}.{self.secret}"

    @property
    def client_key(self) -> str:
        return f"{self.key}:{ENVIRONMENT}.client-{self.secret}"


def store_projects(database: Path, projects: Sequence[StoredProject]) -> None:
    """Add projects to a database of SQLite's, without any history. What they hold must be fit to be written."""
    with ThreadPoolExecutor(1) as thread:  # whether or not this one has an event loop already
        thread.submit(asyncio.run, _store(database, projects)).result()


async def _store(database: Path, projects: Sequence[StoredProject]) -> None:
    now = datetime.now(UTC)
    store = await Store.open(f"sqlite:///{database}", migrate=False)
    try:
        async with store.write() as connection:
            for project in projects:
                await _add(connection, project, now)
        await ensure_initial_credentials(
            store,
            admin_token=None,
            sdk_keys=[project.server_key for project in projects],
            client_keys=[project.client_key for project in projects],
            now=now,
        )
    finally:
        await store.close()


async def _add(connection: AsyncConnection, project: StoredProject, now: datetime) -> None:
    await environments.insert_project(connection, kept.Project(key=project.key, description="", created_at=now))
    await environments.insert(connection, project.key, [ENVIRONMENT], now)
    # As if it had all come by one change: an environment without any has nothing in it.
    rows = schema.environments
    await connection.execute(rows.update().where(rows.c.project == project.key).values(revision=1))
    for segment in project.segments.values():
        await segments.insert(
            connection,
            kept.Segment(
                project=project.key,
                key=segment.key,
                id=0,
                constraints=segment.constraints,
                targeting_keys=segment.targeting_keys,
                created_at=now,
                updated_at=now,
            ),
        )
    for flag in project.flags.values():
        definition = kept.Definition(
            project=project.key,
            key=flag.key,
            type=flag.type,
            variants=flag.variants,
            off_variant=flag.off_variant,
            created_at=now,
            updated_at=now,
        )
        configured = kept.Configuration(enabled=flag.enabled, rules=flag.rules, prerequisites=flag.prerequisites)
        state = kept.ConfigurationState(
            environment=ENVIRONMENT, configuration=configured, revision=1, updated_at=now, updated_by="test"
        )
        await flags.insert(connection, definition)
        await flags.put_configuration(connection, project.key, flag.key, state)
