"""Credentials that the operator chooses and gives to the server at its start, so that a deployment needs no
manual step."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.access.credentials import (
    CLIENT_PREFIX,
    SHORTEST_SECRET,
    TOKEN_PREFIX,
    digest,
    new_id,
    recognisable,
    sdk_key_parts,
)
from fader_server.storage import Store, environments, keys
from fader_server.storage.records import AdminToken, KeyKind, SdkKey

INITIAL_NAME = "initial"


async def ensure_initial_credentials(
    store: Store, *, admin_token: str | None, sdk_keys: Sequence[str], client_keys: Sequence[str] = (), now: datetime
) -> None:
    """See to it that these exist. Doing it again changes nothing; a key that was revoked meanwhile stays
    revoked.

    Args:
        admin_token: ``fader_<secret>``; it gets the role admin, everywhere.
        sdk_keys: ``project:environment.secret`` each; projects and environments must exist.
        client_keys: ``project:environment.client-secret`` each, likewise.

    Raises:
        ValueError: if one has not the form, is too short to be safe, or names an environment that does not
            exist. The text never contains a secret.
    """
    async with store.write() as connection:
        if admin_token is not None:
            await _ensure_token(connection, admin_token, now)
        for position, sdk_key in enumerate(sdk_keys, start=1):
            await _ensure_key(connection, f"initial SDK key {position}", "server", sdk_key, now)
        for position, client_key in enumerate(client_keys, start=1):
            await _ensure_key(connection, f"initial client key {position}", "client", client_key, now)


async def _ensure_token(connection: AsyncConnection, secret: str, now: datetime) -> None:
    if not secret.startswith(TOKEN_PREFIX) or len(secret) < len(TOKEN_PREFIX) + SHORTEST_SECRET:
        form = f"{TOKEN_PREFIX} and at least {SHORTEST_SECRET} characters more"
        raise ValueError(f"the initial admin token must be {form}")
    if await keys.token_by_hash(connection, digest(secret)) is None:
        token = AdminToken(id=new_id(), name=INITIAL_NAME, role="admin", created_at=now)
        await keys.insert_token(connection, token, digest(secret))


async def _ensure_key(connection: AsyncConnection, what: str, kind: KeyKind, secret: str, now: datetime) -> None:
    parts, prefix = sdk_key_parts(secret), CLIENT_PREFIX if kind == "client" else ""
    if parts is None or len(parts.secret) < len(prefix) + SHORTEST_SECRET:
        form = f"without dots and of at least {SHORTEST_SECRET} characters"
        raise ValueError(f"{what} must be project:environment.{prefix}secret, the secret {form}")
    # A key must not look like one of the other kind: it would end up where it must not, or not work where it should.
    if parts.secret.startswith(CLIENT_PREFIX) != (kind == "client"):
        raise ValueError(f"{what} must {'' if prefix else 'not '}have {CLIENT_PREFIX} before its secret")
    if await environments.state(connection, parts.project, parts.environment) is None:
        raise ValueError(f"{what} is for {parts.project}:{parts.environment}, which does not exist")
    if await keys.key_by_hash(connection, digest(secret)) is None:
        key = SdkKey(
            id=new_id(),
            name=INITIAL_NAME,
            project=parts.project,
            environment=parts.environment,
            kind=kind,
            prefix=recognisable(secret),
            created_at=now,
        )
        await keys.insert_key(connection, key, digest(secret))


async def has_admin_token(store: Store) -> bool:
    """Whether anybody can use the admin API at all."""
    async with store.read() as connection:
        return bool(await keys.tokens(connection, limit=1))
