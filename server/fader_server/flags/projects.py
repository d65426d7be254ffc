"""Commands on projects and their environments."""

from fader_server.bus import EnvironmentRemoved
from fader_server.errors import Conflict
from fader_server.flags.commands import Intent
from fader_server.flags.findings import Findings
from fader_server.flags.lookup import existing_environment, existing_project
from fader_server.flags.writing import Transaction, Writer
from fader_server.storage import environments, flags, segments
from fader_server.storage.records import EnvironmentState, Project

FIRST_ENVIRONMENTS = ("development", "staging", "production")
"""What every project begins with."""


class ProjectService:
    """Namespaces, and the places where flags are switched."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def create(self, key: str, description: str, intent: Intent) -> Project:
        """Add a project with its first environments.

        Raises:
            Invalid: if the key or the description is not fit to be one.
            Conflict: if there is one of this key.
        """
        async with self._writer.transaction(intent) as transaction:
            findings = Findings()
            findings.check_key("key", key)
            findings.check_text("description", description, self._writer.limits.text, lines=True)
            findings.raise_if_any()
            if await environments.project(transaction.connection, key) is not None:
                raise Conflict(f"There is a project {key!r} already.", field="key", hint="Choose another key.")
            project = Project(key=key, description=description, created_at=transaction.now)
            await environments.insert_project(transaction.connection, project)
            for environment in FIRST_ENVIRONMENTS:
                await _add_environment(transaction, key, environment)
            return project

    async def describe(self, key: str, description: str, intent: Intent) -> Project:
        """Change a project's description."""
        async with self._writer.transaction(intent) as transaction:
            await existing_project(transaction.connection, key, lock=True)
            findings = Findings()
            findings.check_text("description", description, self._writer.limits.text, lines=True)
            findings.raise_if_any()
            await environments.describe_project(transaction.connection, key, description)
            return await existing_project(transaction.connection, key)

    async def delete(self, key: str, intent: Intent) -> None:
        """Remove a project with its environments, keys, segments and archived flags; the log keeps what they
        were.

        Raises:
            Conflict: while it has flags that are not archived.
        """
        async with self._writer.transaction(intent) as transaction:
            connection = transaction.connection
            await existing_project(connection, key, lock=True)
            everywhere = await environments.states(connection, key, lock=True)
            in_use = await flags.keys(connection, key, archived=False)
            if in_use:
                raise Conflict(
                    f"Project {key!r} has {len(in_use)} flags that are not archived.",
                    hint="Archive them first.",
                )
            for environment in everywhere:
                await _remove_environment(transaction, key, environment.key)
            for flag in await flags.keys(connection, key):
                await flags.delete(connection, key, flag)
            for segment in await segments.keys(connection, key):
                await segments.delete(connection, key, segment)
            await environments.delete_project(connection, key)

    async def create_environment(self, project: str, key: str, intent: Intent) -> EnvironmentState:
        """Add an environment, in which all flags are off.

        Raises:
            Invalid: if the key is not fit to be one.
            Conflict: if there is one of this key.
        """
        async with self._writer.transaction(intent) as transaction:
            await existing_project(transaction.connection, project, lock=True)
            findings = Findings()
            findings.check_key("key", key)
            findings.raise_if_any()
            if await environments.state(transaction.connection, project, key) is not None:
                raise Conflict(f"There is an environment {key!r} already.", field="key", hint="Choose another key.")
            await _add_environment(transaction, project, key)
            return await existing_environment(transaction.connection, project, key)

    async def delete_environment(self, project: str, key: str, intent: Intent) -> None:
        """Remove an environment with its keys and all that is configured in it; the log keeps what happened
        in it."""
        async with self._writer.transaction(intent) as transaction:
            await existing_project(transaction.connection, project, lock=True)
            await existing_environment(transaction.connection, project, key, lock=True)
            await _remove_environment(transaction, project, key)


async def _add_environment(transaction: Transaction, project: str, key: str) -> None:
    await environments.insert(transaction.connection, project, [key], transaction.now)
    await transaction.log(project, key, "environment", key, "created", before=None, after={"key": key})


async def _remove_environment(transaction: Transaction, project: str, key: str) -> None:
    await transaction.log(project, key, "environment", key, "deleted", before={"key": key}, after=None)
    await environments.delete(transaction.connection, project, key)
    transaction.announcements.append(EnvironmentRemoved(project, key))
