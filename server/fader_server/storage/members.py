"""Queries on long lists of targeting keys: a base in parts, and what each version since has become different by.

The number of a list's present version, its count and its digest are the segment's; who writes here writes those, too.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader import model
from fader.members import SIZE, Members, MembersError, combined, unpacked
from fader_server.storage import schema
from fader_server.storage.records import MemberBase, MemberDelta, MemberPart, Segment

MOST_TOLD: Final = 1_024
"""Hashes of a change that are sent to everybody who follows, 11 KB as JSON; a larger one is fetched."""

MOST_VERSIONS: Final = 200
"""Versions whose changes are kept, for those who come back with an older one."""

_lists = schema.member_lists.c
_parts = schema.member_parts.c
_deltas = schema.member_deltas.c


async def base(connection: AsyncConnection, name: str) -> MemberBase | None:
    """Where a list begins."""
    query = sa.select(_lists.list, _lists.base, _lists.base_version, _lists.base_count, _lists.base_digest).where(
        _lists.list == name
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return MemberBase(**row) if row else None


async def put_base(connection: AsyncConnection, segment: int, begins: MemberBase, parts: Sequence[MemberPart]) -> None:
    """Write all of a list, beside the base that it has; ``use_base`` puts it in that one's place.

    Args:
        segment: The number of the segment that it belongs to.
        begins: A base that is not there yet.
        parts: Those that have members.
    """
    if await base(connection, begins.list) is None:
        columns = {field: getattr(begins, field) for field in begins.__struct_fields__}
        await connection.execute(schema.member_lists.insert(), columns | {"segment": segment})
    for part in parts:
        columns = {field: getattr(part, field) for field in part.__struct_fields__}
        await connection.execute(schema.member_parts.insert(), columns | {"list": begins.list, "base": begins.base})


async def use_base(connection: AsyncConnection, begins: MemberBase) -> None:
    """Let a list begin with a base that was written, and forget what nobody needs any longer."""
    columns = {field: getattr(begins, field) for field in begins.__struct_fields__ if field != "list"}
    await connection.execute(schema.member_lists.update().where(_lists.list == begins.list).values(**columns))
    await connection.execute(schema.member_parts.delete().where(_parts.list == begins.list, _parts.base != begins.base))
    await connection.execute(
        schema.member_deltas.delete().where(
            _deltas.list == begins.list, _deltas.version <= begins.base_version - MOST_VERSIONS
        )
    )


async def append(connection: AsyncConnection, name: str, delta: MemberDelta) -> None:
    """Write what a new version has become different by."""
    columns = {field: getattr(delta, field) for field in delta.__struct_fields__}
    await connection.execute(schema.member_deltas.insert(), columns | {"list": name})


async def delete_others(connection: AsyncConnection, segment: Segment) -> None:
    """Remove all lists that were a segment's, with all their parts, but the one that it has."""
    query = schema.member_lists.delete().where(_lists.segment == segment.id)
    if segment.members is not None:
        query = query.where(_lists.list != segment.members.list)
    await connection.execute(query)


async def parts(
    connection: AsyncConnection, begins: MemberBase, *, first: int = 0, last: int = 255, limit: int | None = None
) -> list[MemberPart]:
    """The parts of a base that there are, in order."""
    query = (
        sa.select(_parts.part, _parts.hashes, _parts["keys"])
        .where(_parts.list == begins.list, _parts.base == begins.base, _parts.part.between(first, last))
        .order_by(_parts.part)
        .limit(limit)
    )
    return [MemberPart(**row) for row in (await connection.execute(query)).mappings()]


async def hashes(connection: AsyncConnection, begins: MemberBase) -> bytes:
    """All hashes of a base, ascending."""
    query = sa.select(_parts.hashes).where(_parts.list == begins.list, _parts.base == begins.base).order_by(_parts.part)
    return b"".join((await connection.execute(query)).scalars())


async def at(connection: AsyncConnection, described: model.MemberList) -> Members | None:
    """All hashes of a list at a version; ``None`` if that is not, or no longer, known."""
    begins = await base(connection, described.list)
    if begins is None or begins.base_version > described.version:
        return None
    held = Members(
        model.MemberList(
            list=begins.list, version=begins.base_version, count=begins.base_count, digest=begins.base_digest
        ),
        unpacked(await hashes(connection, begins)),
    )
    way = await deltas(connection, described.list, begins.base_version, described.version)
    # In a thread where it is worth one: between its steps it lets others run.
    return held if not way else await asyncio.to_thread(_changed, held, described, way)


def _changed(held: Members, described: model.MemberList, way: Sequence[MemberDelta]) -> Members | None:
    try:
        return held.changed(described, *combined(way))
    except MembersError:
        return None  # it was another one that had this version, before the database was restored


async def deltas(connection: AsyncConnection, name: str, since: int, version: int | None = None) -> list[MemberDelta]:
    """What has become different after version ``since``, up to ``version``, in order; as far as it is known."""
    query = (
        sa.select(_deltas.version, _deltas.count, _deltas.digest, _deltas.added, _deltas.removed, _deltas["keys"])
        .where(_deltas.list == name, _deltas.version > since)
        .order_by(_deltas.version)
    )
    if version is not None:
        query = query.where(_deltas.version <= version)
    return [MemberDelta(**row) for row in (await connection.execute(query)).mappings()]


async def described(connection: AsyncConnection, name: str, version: int, digest: str) -> model.MemberList | None:
    """A list at a version; ``None`` if that is not, or no longer, known."""
    begins = await base(connection, name)
    if begins is None:
        return None
    if begins.base_version == version:
        count, found = begins.base_count, begins.base_digest
    else:
        made = await deltas(connection, name, version - 1, version)
        if not made:
            return None
        count, found = made[0].count, made[0].digest
    return model.MemberList(list=name, version=version, count=count, digest=found) if found == digest else None


async def size_since(connection: AsyncConnection, begins: MemberBase) -> tuple[int, int]:
    """How many changes there are after a base, and how many hashes they have together."""
    size = sa.func.length(_deltas.added) + sa.func.length(_deltas.removed)
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(size), 0)).where(
        _deltas.list == begins.list, _deltas.version > begins.base_version
    )
    changes, length = (await connection.execute(query)).one()
    return int(changes), int(length) // SIZE


async def present(connection: AsyncConnection, begins: MemberBase, asked: Iterable[int]) -> set[int]:
    """Which of these hashes are in a list. Only the parts are read that they could be in."""
    wanted = set(asked)
    query = sa.select(_parts.hashes).where(
        _parts.list == begins.list,
        _parts.base == begins.base,
        _parts.part.in_(sorted({hashed >> 56 for hashed in wanted})),
    )
    found: set[int] = set()
    for part in (await connection.execute(query)).scalars():
        found |= wanted.intersection(unpacked(part))
    for delta in await deltas(connection, begins.list, begins.base_version):
        found |= wanted.intersection(unpacked(delta.added))
        found -= wanted.intersection(unpacked(delta.removed))
    return found


async def small_deltas(
    connection: AsyncConnection, versions: Collection[tuple[str, int]]
) -> dict[tuple[str, int], model.MembersDelta]:
    """What versions of lists have become different by, where that is little, by list and version.

    Args:
        versions: Names of lists, each with a version.
    """
    size = sa.func.length(_deltas.added) + sa.func.length(_deltas.removed)
    found: dict[tuple[str, int], model.MembersDelta] = {}
    for name in {name for name, _ in versions}:
        wanted = [version for of, version in versions if of == name]
        query = sa.select(_deltas.version, _deltas.added, _deltas.removed).where(
            _deltas.list == name, _deltas.version.between(min(wanted), max(wanted)), size <= MOST_TOLD * SIZE
        )
        for version, added, removed in await connection.execute(query):
            found[name, version] = model.MembersDelta(since=version - 1, version=version, added=added, removed=removed)
    return found
