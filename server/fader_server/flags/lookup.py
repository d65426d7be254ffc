"""Reads that the services share: the thing, or an error that says which one there is instead."""

from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.errors import Conflict, NotFound
from fader_server.flags.commands import FlagState
from fader_server.flags.findings import nearest
from fader_server.flags.validation import Surroundings
from fader_server.storage import environments, flags, segments
from fader_server.storage.records import (
    Configuration,
    ConfigurationState,
    Definition,
    EnvironmentState,
    Project,
    Segment,
)


async def existing_project(connection: AsyncConnection, key: str, *, lock: bool = False) -> Project:
    """The project.

    Raises:
        NotFound: with the nearest keys.
    """
    found = await environments.project(connection, key, lock=lock)
    if found is None:
        known = [project.key for project in await environments.projects(connection)]
        raise NotFound(f"There is no project {key!r}.", suggestions=nearest(key, known))
    return found


async def existing_environment(
    connection: AsyncConnection, project: str, key: str, *, lock: bool = False
) -> EnvironmentState:
    """The environment.

    Raises:
        NotFound: with the nearest keys.
    """
    found = await environments.state(connection, project, key, lock=lock)
    if found is None:
        await existing_project(connection, project)
        known = [state.key for state in await environments.states(connection, project)]
        hint = nearest(key, known) or known[:5]
        raise NotFound(f"Project {project!r} has no environment {key!r}.", suggestions=hint)
    return found


async def existing_flag(connection: AsyncConnection, project: str, key: str) -> Definition:
    """The flag, archived or not.

    Raises:
        NotFound: with the nearest keys.
    """
    found = await flags.definition(connection, project, key)
    if found is None:
        raise await _no_such_flag(connection, project, key)
    return found


async def editable_flag(connection: AsyncConnection, project: str, key: str) -> Definition:
    """The flag, if it may be changed.

    Raises:
        NotFound: with the nearest keys.
        Conflict: if it is archived.
    """
    found = await existing_flag(connection, project, key)
    _refuse_archived(found)
    return found


async def locked_flag(
    connection: AsyncConnection, project: str, environment: str, key: str
) -> tuple[EnvironmentState, FlagState]:
    """The environment, in which nobody else changes anything until the end; and the flag in all environments, if it may
    be changed.

    Raises:
        NotFound: with the nearest keys, of environments or flags.
        Conflict: if it is archived.
    """
    at_once = await flags.everywhere_locked(connection, project, key, environment)
    if at_once is not None:
        state, found = at_once
    else:
        state = await existing_environment(connection, project, environment, lock=True)
        read = await flags.everywhere(connection, project, key)
        if read is None:
            raise await _no_such_flag(connection, project, key)
        found = read
    flag = found.definition
    _refuse_archived(flag)
    return state, FlagState(flag, {place.key: there or unconfigured(flag, place) for place, there in found.places})


async def _no_such_flag(connection: AsyncConnection, project: str, key: str) -> NotFound:
    await existing_project(connection, project)
    known = await flags.keys(connection, project)
    return NotFound(f"Project {project!r} has no flag {key!r}.", suggestions=nearest(key, known))


def _refuse_archived(flag: Definition) -> None:
    if flag.archived_at is not None:
        raise Conflict(f"Flag {flag.key!r} is archived.", hint="Unarchive it first.")


async def existing_segment(connection: AsyncConnection, project: str, key: str) -> Segment:
    """The segment.

    Raises:
        NotFound: with the nearest keys.
    """
    found = await segments.segment(connection, project, key)
    if found is None:
        await existing_project(connection, project)
        known = await segments.keys(connection, project)
        raise NotFound(f"Project {project!r} has no segment {key!r}.", suggestions=nearest(key, known))
    return found


async def flag_states(connection: AsyncConnection, project: str, found: list[Definition]) -> list[FlagState]:
    """These flags with their configurations in all environments of their project."""
    everywhere = await environments.states(connection, project)
    configured = await flags.configurations(connection, project, [flag.key for flag in found])
    return [
        FlagState(
            flag,
            {
                environment.key: configured[flag.key].get(environment.key) or unconfigured(flag, environment)
                for environment in everywhere
            },
        )
        for flag in found
    ]


def unconfigured(flag: Definition, environment: EnvironmentState) -> ConfigurationState:
    """What a flag has in an environment that was made after it: it is off there."""
    return ConfigurationState(
        environment=environment.key,
        configuration=Configuration(),
        revision=0,
        updated_at=max(flag.created_at, environment.created_at),
        updated_by="",
    )


async def surroundings(
    connection: AsyncConnection, project: str, environment: str, flag: str, configuration: Configuration
) -> Surroundings:
    """What this configuration may refer to; only what it needs is read."""
    named = [prerequisite.flag for prerequisite in configuration.prerequisites]
    uses_segments = any(rule.segments for rule in configuration.rules)
    found = await flags.definitions(connection, project, named) if named else {}
    graph: dict[str, list[str]] = {}
    if named:
        for target, user, _ in await flags.users_of(connection, project, "prerequisite", environment=environment):
            if user != flag:
                graph.setdefault(user, []).append(target)
    return Surroundings(
        segments=frozenset(await segments.keys(connection, project)) if uses_segments else frozenset(),
        flags=found,
        other_flags=() if len(found) == len(set(named)) else await flags.keys(connection, project, archived=False),
        prerequisites=graph,
    )
