"""Queries on SDK keys and admin tokens. They know hashes, never secrets."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.storage import schema
from fader_server.storage.conflicts import insert_into
from fader_server.storage.records import AdminToken, SdkKey
from fader_server.storage.schema import MOST_PARAMETERS

_keys = schema.sdk_keys.c
_tokens = schema.admin_tokens.c
_KEY_COLUMNS = [column for column in _keys if column.name != "hash"]
_TOKEN_COLUMNS = [column for column in _tokens if column.name != "hash"]


async def key_by_hash(connection: AsyncConnection, digest: str) -> SdkKey | None:
    """The SDK key whose secret has this digest, even if revoked or expired."""
    row = (await connection.execute(sa.select(*_KEY_COLUMNS).where(_keys.hash == digest))).mappings().one_or_none()
    return SdkKey(**row) if row else None


async def key(connection: AsyncConnection, project: str, key_id: str) -> SdkKey | None:
    """One SDK key."""
    query = sa.select(*_KEY_COLUMNS).where(_keys.project == project, _keys.id == key_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return SdkKey(**row) if row else None


async def keys(
    connection: AsyncConnection,
    project: str,
    *,
    environments: tuple[str, ...] = (),
    after: str = "",
    limit: int | None = None,
) -> list[SdkKey]:
    """SDK keys of a project by id, from the one after ``after`` on. No ``environments`` means all."""
    query = sa.select(*_KEY_COLUMNS).where(_keys.project == project, _keys.id > after).order_by(_keys.id).limit(limit)
    if environments:
        query = query.where(_keys.environment.in_(environments))
    return [SdkKey(**row) for row in (await connection.execute(query)).mappings()]


async def valid(connection: AsyncConnection, key_ids: Sequence[str], now: datetime) -> set[str]:
    """Which of these SDK keys, by id, may be used now."""
    usable = sa.and_(_keys.revoked_at.is_(None), sa.or_(_keys.expires_at.is_(None), _keys.expires_at > now))
    found: set[str] = set()
    for start in range(0, len(key_ids), MOST_PARAMETERS):
        query = sa.select(_keys.id).where(_keys.id.in_(list(key_ids[start : start + MOST_PARAMETERS])), usable)
        found |= set((await connection.execute(query)).scalars())
    return found


async def by_digest(connection: AsyncConnection, project: str, environment: str) -> dict[str, SdkKey]:
    """The SDK keys of an environment that are not revoked, by digest; without when they were last used."""
    query = sa.select(schema.sdk_keys).where(
        _keys.project == project, _keys.environment == environment, _keys.revoked_at.is_(None)
    )
    rows = [{**row, "last_used_at": None} for row in (await connection.execute(query)).mappings()]
    return {row.pop("hash"): SdkKey(**row) for row in rows}


async def insert_key(connection: AsyncConnection, key: SdkKey, digest: str) -> None:
    """Add an SDK key, unless there is one with this digest: another server may be adding it at this moment."""
    columns = {field: getattr(key, field) for field in key.__struct_fields__}
    adding = insert_into(connection, schema.sdk_keys).values(hash=digest, **columns)
    await connection.execute(adding.on_conflict_do_nothing(index_elements=[_keys.hash]))


async def revoke_key(connection: AsyncConnection, key_id: str, at: datetime) -> None:
    """Make a key invalid for good. It stays in the list, so that its owner can tell why it stopped
    working."""
    await connection.execute(schema.sdk_keys.update().where(_keys.id == key_id).values(revoked_at=at))


async def token_by_hash(connection: AsyncConnection, digest: str) -> AdminToken | None:
    """The admin token whose secret has this digest, even if expired."""
    query = sa.select(*_TOKEN_COLUMNS).where(_tokens.hash == digest)
    row = (await connection.execute(query)).mappings().one_or_none()
    return AdminToken(**row) if row else None


async def token(connection: AsyncConnection, token_id: str) -> AdminToken | None:
    """One admin token."""
    query = sa.select(*_TOKEN_COLUMNS).where(_tokens.id == token_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return AdminToken(**row) if row else None


async def tokens(connection: AsyncConnection, *, after: str = "", limit: int | None = None) -> list[AdminToken]:
    """Admin tokens by id, from the one after ``after`` on."""
    query = sa.select(*_TOKEN_COLUMNS).where(_tokens.id > after).order_by(_tokens.id).limit(limit)
    return [AdminToken(**row) for row in (await connection.execute(query)).mappings()]


async def insert_token(connection: AsyncConnection, token: AdminToken, digest: str) -> None:
    """Add an admin token, unless there is one with this digest."""
    columns = {field: getattr(token, field) for field in token.__struct_fields__}
    adding = insert_into(connection, schema.admin_tokens).values(hash=digest, **columns)
    await connection.execute(adding.on_conflict_do_nothing(index_elements=[_tokens.hash]))


async def delete_token(connection: AsyncConnection, token_id: str) -> None:
    """Remove an admin token."""
    await connection.execute(schema.admin_tokens.delete().where(_tokens.id == token_id))


async def mark_used(connection: AsyncConnection, keys: Mapping[str, datetime], tokens: Mapping[str, datetime]) -> None:
    """Write down when these keys and tokens (by id) were last used."""
    for table, used in ((schema.sdk_keys, keys), (schema.admin_tokens, tokens)):
        # In one order, so that two servers never wait for each other's rows in a circle.
        rows: list[dict[str, Any]] = [{"which": which, "at": at} for which, at in sorted(used.items())]
        if rows:
            marked = table.update().where(table.c.id == sa.bindparam("which"))
            await connection.execute(marked.values(last_used_at=sa.bindparam("at")), rows)
