"""The log of changes: history, audit, undo, deltas and resuming are all reads of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Raw
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from fader import model
from fader_server.storage import members, schema
from fader_server.storage.documents import decode_flag, decode_ramp, decode_segment, sdk_flag, sdk_segment
from fader_server.storage.records import ChangeKind, Committed, Entry, LoggedChange

_changes = schema.changes.c
_environments = schema.environments.c
_LOGGED = list(_changes)

# Built once: what every write and every node does for every change is felt.
_ADVANCE = (
    schema.environments.update()
    .where(_environments.project == sa.bindparam("in_project"), _environments.key == sa.bindparam("in_environment"))
    .values(revision=_environments.revision + sa.bindparam("by"))
    .returning(_environments.epoch, _environments.revision)
)
_APPEND = schema.changes.insert()
_AFTER = (
    sa.select(_changes.at, _changes.epoch, _changes.revision, _changes.kind, _changes.key, _changes.after)
    .join(
        schema.environments,
        sa.and_(
            _environments.project == _changes.project,
            _environments.key == _changes.environment,
            _environments.epoch == _changes.epoch,
        ),
    )
    .where(
        _changes.project == sa.bindparam("project"),
        _changes.environment == sa.bindparam("environment"),
        _changes.revision > sa.bindparam("since"),
    )
    .order_by(_changes.revision)
    .limit(sa.bindparam("most"))
)


async def append(connection: AsyncConnection, project: str, environment: str, entry: Entry) -> int:
    """Write an entry under the environment's next revision, which becomes visible only together with it.

    Incrementing locks the environment's row until the commit, so numbers become visible in order and without
    gaps.

    Returns:
        The revision.
    """
    return await append_all(connection, project, environment, [entry])


async def append_all(connection: AsyncConnection, project: str, environment: str, entries: Sequence[Entry]) -> int:
    """The same for some entries (one or more), each under a revision of its own, in their order.

    Returns:
        The first one's revision; those of the others follow it.
    """
    place = {"in_project": project, "in_environment": environment, "by": len(entries)}
    epoch, revision = (await connection.execute(_ADVANCE, place)).one()
    first = int(revision) - len(entries) + 1
    rows = [
        {field: getattr(entry, field) for field in entry.__struct_fields__}
        | {"project": project, "environment": environment, "epoch": epoch, "revision": first + position}
        for position, entry in enumerate(entries)
    ]
    # A single row as such: drivers have a shorter way for it.
    await connection.execute(_APPEND, rows[0] if len(rows) == 1 else rows)
    return first


async def after(
    connection: AsyncConnection, project: str, environment: str, revision: int, limit: int
) -> list[Committed]:
    """What SDKs must learn to follow from ``revision`` on: one change per revision, in order."""
    asked = {"project": project, "environment": environment, "since": revision, "most": limit}
    committed = [Committed(_sdk_change(*change), at) for at, *change in await connection.execute(_AFTER, asked)]
    versions = {
        (segment.members.list, segment.members.version)
        for one in committed
        for segment in one.change.segments.values()
        if segment is not None and segment.members is not None
    }
    if not versions:
        return committed
    deltas = await members.small_deltas(connection, versions)
    return [replace(one, change=_with_deltas(one.change, deltas)) for one in committed]


def _with_deltas(change: model.Change, deltas: Mapping[tuple[str, int], model.MembersDelta]) -> model.Change:
    """A change with what its lists have become different by, where that is little."""
    found = {
        segment.members.list: (delta,)
        for segment in change.segments.values()
        if segment is not None
        and segment.members is not None
        and (delta := deltas.get((segment.members.list, segment.members.version))) is not None
    }
    return replace(change, members=found)


def _sdk_change(epoch: str, revision: int, kind: str, key: str, after: Raw | None) -> model.Change:
    flags: dict[str, model.Flag | None] = {}
    segments: dict[str, model.Segment | None] = {}
    if kind == "flag":
        document = None if after is None else decode_flag(after)
        flags[key] = None if document is None or document.archived else sdk_flag(document, document)
    elif kind == "segment":
        segments[key] = None if after is None else sdk_segment(decode_segment(after))
    guards = {key: () if after is None else decode_ramp(after).guards} if kind == "ramp" else {}
    return model.Change(
        epoch=epoch, since=revision - 1, revision=revision, flags=flags, segments=segments, guards=guards
    )


async def newest_of_flag(
    connection: AsyncConnection, project: str, environment: str, flag: str, actions: frozenset[str]
) -> LoggedChange | None:
    """The newest entry about a flag in an environment (as it is now, not an earlier one of the same name)
    that was one of these actions."""
    query = (
        sa.select(*_LOGGED)
        .join(
            schema.environments,
            sa.and_(
                _environments.project == _changes.project,
                _environments.key == _changes.environment,
                _environments.epoch == _changes.epoch,
            ),
        )
        .where(
            _changes.project == project,
            _changes.environment == environment,
            _changes.kind == "flag",
            _changes.key == flag,
            _changes.action.in_(actions),
        )
        .order_by(_changes.id.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return LoggedChange(**row) if row else None


async def page(
    connection: AsyncConnection,
    *,
    project: str | None = None,
    environments: tuple[str, ...] = (),
    kinds: Sequence[ChangeKind] = (),
    key: str | None = None,
    before: int | None = None,
    limit: int,
) -> list[LoggedChange]:
    """Entries, newest first, older than the one numbered ``before``. No ``environments``, or ``kinds``, means all."""
    query = sa.select(*_LOGGED).order_by(_changes.id.desc()).limit(limit)
    for column, wanted in ((_changes.project, project), (_changes.key, key)):
        if wanted is not None:
            query = query.where(column == wanted)
    for column, several in ((_changes.environment, environments), (_changes.kind, kinds)):
        if several:
            query = query.where(column.in_(several))
    if before is not None:
        query = query.where(_changes.id < before)
    return _logged((await connection.execute(query)).mappings())


async def following(
    connection: AsyncConnection,
    number: int,
    limit: int,
    *,
    project: str | None = None,
    environment: str | None = None,
) -> list[LoggedChange]:
    """Entries newer than the one numbered ``number``, oldest first.

    Within one environment numbers become visible in order. Between environments they need not, where a
    database has several writers: so whoever follows the log keeps a number for each environment.
    """
    query = sa.select(*_LOGGED).where(_changes.id > number).order_by(_changes.id).limit(limit)
    if project is not None:
        query = query.where(_changes.project == project)
    if environment is not None:
        query = query.where(_changes.environment == environment)
    return _logged((await connection.execute(query)).mappings())


async def newest_number(connection: AsyncConnection) -> int:
    """The number of the newest entry; 0 while there is none."""
    newest = await connection.execute(sa.select(sa.func.max(_changes.id)))
    return newest.scalar_one() or 0


def _logged(rows: Any) -> list[LoggedChange]:
    return [LoggedChange(**row) for row in rows]
