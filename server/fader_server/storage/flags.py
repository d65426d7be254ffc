"""Queries on flags: definitions, configurations, and what configurations refer to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader import model
from fader_server.storage import schema
from fader_server.storage.documents import sdk_flag
from fader_server.storage.records import Configuration, ConfigurationState, Definition, EnvironmentState, Record

Reference: TypeAlias = Literal["segment", "prerequisite"]

_flags = schema.flags.c
_configured = schema.flag_environments.c
_references = schema.flag_references.c
_environments = schema.environments.c
_locked = schema.environments.alias("locked")
_DEFAULT = Configuration()

# Built once: every write of a flag does these.
_DEFINITION = sa.select(schema.flags).where(
    _flags.project == sa.bindparam("project"), _flags.key == sa.bindparam("key")
)
_CONFIGURATIONS = (
    sa.select(schema.flag_environments)
    .where(_configured.project == sa.bindparam("project"), _configured.flag.in_(sa.bindparam("flags", expanding=True)))
    .order_by(_configured.flag, _configured.environment)
)
_EVERYWHERE = (
    sa.select(schema.flags, schema.environments, schema.flag_environments)
    .join(schema.environments, _environments.project == _flags.project)
    .outerjoin(
        schema.flag_environments,
        sa.and_(
            _configured.project == _flags.project,
            _configured.flag == _flags.key,
            _configured.environment == _environments.key,
        ),
    )
    .where(_flags.project == sa.bindparam("project"), _flags.key == sa.bindparam("key"))
    .order_by(_environments.key)
)
_EVERYWHERE_LOCKED = (
    _EVERYWHERE.add_columns(_locked)
    .join(_locked, sa.and_(_locked.c.project == _flags.project, _locked.c.key == sa.bindparam("environment")))
    .with_for_update(of=_locked)
)
_CONFIGURE = (
    schema.flag_environments.update()
    .where(
        _configured.project == sa.bindparam("in_project"),
        _configured.environment == sa.bindparam("in_environment"),
        _configured.flag == sa.bindparam("of_flag"),
    )
    .values(
        configuration=sa.bindparam("configuration"),
        revision=sa.bindparam("revision"),
        updated_at=sa.bindparam("updated_at"),
        updated_by=sa.bindparam("updated_by"),
    )
)


class Everywhere(Record, frozen=True):
    """A flag in all environments of its project, by their keys; with nothing for those that were made after it.

    Args:
        definition: What it is everywhere.
        places: Each environment, and what it has there.
    """

    definition: Definition
    places: tuple[tuple[EnvironmentState, ConfigurationState | None], ...]


async def definition(connection: AsyncConnection, project: str, key: str) -> Definition | None:
    """One flag, archived or not."""
    row = (await connection.execute(_DEFINITION, {"project": project, "key": key})).mappings().one_or_none()
    return Definition(**row) if row else None


async def everywhere(connection: AsyncConnection, project: str, key: str) -> Everywhere | None:
    """One flag, archived or not, in all environments of its project."""
    rows = (await connection.execute(_EVERYWHERE, {"project": project, "key": key})).mappings().all()
    return _everywhere(rows) if rows else None


async def everywhere_locked(
    connection: AsyncConnection, project: str, key: str, environment: str
) -> tuple[EnvironmentState, Everywhere] | None:
    """Lock an environment, and read a flag in the same statement: every switch waits for each of its statements.

    Returns:
        The environment, in which nobody else changes anything until the transaction ends, and the flag. ``None`` if one
        of them is not there; or if somebody else has changed the environment while this waited for the lock. That is
        known then as it is now, and all else as it was before: so it must be read anew, under the lock that is held.
        https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
    """
    asked = {"project": project, "key": key, "environment": environment}
    rows = (await connection.execute(_EVERYWHERE_LOCKED, asked)).mappings().all()
    if not rows:
        return None
    now = EnvironmentState(**_part(rows[0], _locked))
    found = _everywhere(rows)
    return (now, found) if any(place == now for place, _ in found.places) else None


def _everywhere(rows: Sequence[sa.RowMapping]) -> Everywhere:
    flag = Definition(**_part(rows[0], schema.flags))
    return Everywhere(
        flag, tuple((EnvironmentState(**_part(row, schema.environments)), _configured_in(row)) for row in rows)
    )


def _configured_in(row: sa.RowMapping) -> ConfigurationState | None:
    found = _part(row, schema.flag_environments)
    if found["configuration"] is None:
        return None
    return ConfigurationState(**{field: found[field] for field in ConfigurationState.__struct_fields__})


def _part(row: sa.RowMapping, table: sa.FromClause) -> dict[str, Any]:
    """Of a row of several tables, the columns of one."""
    return {column.name: row[column] for column in table.columns}


async def definitions(connection: AsyncConnection, project: str, keys: Iterable[str]) -> dict[str, Definition]:
    """Those of these flags that exist and are not archived, by key."""
    query = sa.select(schema.flags).where(
        _flags.project == project, _flags.key.in_(list(keys)), _flags.archived_at.is_(None)
    )
    return {row["key"]: Definition(**row) for row in (await connection.execute(query)).mappings()}


async def page(
    connection: AsyncConnection,
    project: str,
    *,
    archived: bool,
    search: str = "",
    after: str = "",
    limit: int,
) -> list[Definition]:
    """Flags by key, from the one after ``after`` on, in whose key, description or owner ``search`` occurs."""
    query = (
        sa.select(schema.flags)
        .where(_flags.project == project, _flags.key > after)
        .where(_flags.archived_at.is_not(None) if archived else _flags.archived_at.is_(None))
        .order_by(_flags.key)
        .limit(limit)
    )
    if search:
        wanted = search.lower()
        query = query.where(
            sa.or_(
                *(
                    sa.func.lower(column).contains(wanted, autoescape=True)
                    for column in (_flags.key, _flags.description, _flags.owner)
                )
            )
        )
    return [Definition(**row) for row in (await connection.execute(query)).mappings()]


async def keys(connection: AsyncConnection, project: str, *, archived: bool | None = None) -> list[str]:
    """The keys of all flags of a project: of the archived ones, of the others, or of both."""
    query = sa.select(_flags.key).where(_flags.project == project).order_by(_flags.key)
    if archived is not None:
        query = query.where(_flags.archived_at.is_not(None) if archived else _flags.archived_at.is_(None))
    return list((await connection.execute(query)).scalars())


async def tags(connection: AsyncConnection, project: str) -> dict[str, tuple[str, ...]]:
    """The keys of all flags that are not archived, each with its tags."""
    query = sa.select(_flags.key, _flags.tags).where(_flags.project == project, _flags.archived_at.is_(None))
    return {row.key: row.tags for row in await connection.execute(query)}


async def insert(connection: AsyncConnection, flag: Definition) -> None:
    """Add a flag, without configurations."""
    await connection.execute(schema.flags.insert().values(**_columns(flag)))


async def insert_all(
    connection: AsyncConnection, new: Sequence[Definition], configured: Mapping[str, Sequence[ConfigurationState]]
) -> None:
    """Add flags (one or more), with their configurations by flag."""
    await connection.execute(schema.flags.insert(), [_columns(flag) for flag in new])
    rows, references = [], []
    for flag in new:
        for state in configured[flag.key]:
            place = {"project": flag.project, "environment": state.environment, "flag": flag.key}
            rows.append(place | _values(state))
            references += [
                place | {"kind": kind, "target": target} for kind, target in sorted(_referred(state.configuration))
            ]
    if rows:
        await connection.execute(schema.flag_environments.insert(), rows)
    if references:
        await connection.execute(schema.flag_references.insert(), references)


async def update(connection: AsyncConnection, flag: Definition) -> None:
    """Replace a flag's definition."""
    await connection.execute(
        schema.flags.update().where(_flags.project == flag.project, _flags.key == flag.key).values(**_columns(flag))
    )


async def delete(connection: AsyncConnection, project: str, key: str) -> None:
    """Remove a flag with its configurations, counts and hooks."""
    for table in (schema.flag_references, schema.flag_environments, schema.usage, schema.hooks):
        await connection.execute(table.delete().where(table.c.project == project, table.c.flag == key))
    await connection.execute(schema.flags.delete().where(_flags.project == project, _flags.key == key))


def _columns(flag: Definition) -> dict[str, object]:
    return {field: getattr(flag, field) for field in flag.__struct_fields__}


async def configurations(
    connection: AsyncConnection, project: str, flags: Sequence[str]
) -> dict[str, dict[str, ConfigurationState]]:
    """The configurations of these flags: by flag, then by environment."""
    asked = {"project": project, "flags": list(flags)}
    found: dict[str, dict[str, ConfigurationState]] = {flag: {} for flag in flags}
    for row in (await connection.execute(_CONFIGURATIONS, asked)).mappings():
        found[row["flag"]][row["environment"]] = ConfigurationState(
            environment=row["environment"],
            configuration=row["configuration"],
            revision=row["revision"],
            updated_at=row["updated_at"],
            updated_by=row["updated_by"],
            ramp=row["ramp"],
        )
    return found


async def sdk_flags(connection: AsyncConnection, project: str, environment: str) -> dict[str, model.Flag]:
    """All flags that are not archived, as SDKs in this environment get them, by key."""
    query = (
        sa.select(_flags.key, _flags.type, _flags.variants, _flags.off_variant, _configured.configuration)
        .outerjoin(
            schema.flag_environments,
            sa.and_(
                _configured.project == _flags.project,
                _configured.flag == _flags.key,
                _configured.environment == environment,
            ),
        )
        .where(_flags.project == project, _flags.archived_at.is_(None))
        .order_by(_flags.key)
    )
    # A row has just what is needed of a definition: at thousands of flags, building one for each would be
    # felt.
    return {row.key: sdk_flag(row, row.configuration or _DEFAULT) for row in await connection.execute(query)}


async def put_configuration(
    connection: AsyncConnection,
    project: str,
    flag: str,
    state: ConfigurationState,
    *,
    before: Configuration | None = None,
) -> None:
    """Add or replace a flag's configuration in an environment, and what it refers to.

    Args:
        before: the configuration that is there, if that is known: what it refers to need not be written again.
    """
    values = _values(state)
    place = {"in_project": project, "in_environment": state.environment, "of_flag": flag}
    replaced = await connection.execute(_CONFIGURE, place | values)
    if replaced.rowcount == 0:
        key = {"project": project, "environment": state.environment, "flag": flag}
        await connection.execute(schema.flag_environments.insert(), key | values)
    refers = _referred(state.configuration)
    if before is not None and _referred(before) == refers:
        return
    await connection.execute(
        schema.flag_references.delete().where(
            _references.project == project, _references.environment == state.environment, _references.flag == flag
        )
    )
    if refers:
        await connection.execute(
            schema.flag_references.insert(),
            [
                {"project": project, "environment": state.environment, "flag": flag, "kind": kind, "target": target}
                for kind, target in sorted(refers)
            ],
        )


def _values(state: ConfigurationState) -> dict[str, object]:
    return {
        "configuration": state.configuration,
        "revision": state.revision,
        "updated_at": state.updated_at,
        "updated_by": state.updated_by,
    }


def _referred(configuration: Configuration) -> set[tuple[Reference, str]]:
    """What a configuration names."""
    segments: set[tuple[Reference, str]] = {
        ("segment", segment) for rule in configuration.rules for segment in rule.segments
    }
    return segments | {("prerequisite", prerequisite.flag) for prerequisite in configuration.prerequisites}


async def users_of(
    connection: AsyncConnection,
    project: str,
    kind: Reference,
    target: str | None = None,
    *,
    environment: str | None = None,
) -> list[tuple[str, str, str]]:
    """Who refers to a segment or to a prerequisite (or, without ``target``, to any): target, flag and
    environment.

    Archived flags do not count: nobody evaluates them, and bringing one back checks it anew.
    """
    query = (
        sa.select(_references.target, _references.flag, _references.environment)
        .join(schema.flags, sa.and_(_flags.project == _references.project, _flags.key == _references.flag))
        .where(_references.project == project, _references.kind == kind, _flags.archived_at.is_(None))
        .order_by(_references.target, _references.flag, _references.environment)
    )
    if target is not None:
        query = query.where(_references.target == target)
    if environment is not None:
        query = query.where(_references.environment == environment)
    return [(row.target, row.flag, row.environment) for row in await connection.execute(query)]
