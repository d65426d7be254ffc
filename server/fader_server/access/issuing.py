"""Giving out keys and tokens, and taking them back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.access.authentication import Access
from fader_server.access.credentials import digest, new_id, new_sdk_key, new_token, recognisable
from fader_server.bus import Bus, CredentialRevoked, Message
from fader_server.errors import FieldError, Invalid, NotFound
from fader_server.storage import Store, environments, keys
from fader_server.storage.idempotency import Holding, not_held
from fader_server.storage.records import AdminToken, KeyKind, Role, SdkKey

_NAME_LENGTH = 200
_LAST_YEAR = 9999


class IssuedKey(Struct, frozen=True):
    """An SDK key that has just been made: the only moment at which its secret is known."""

    key: SdkKey
    secret: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.key!r})"


class IssuedToken(Struct, frozen=True):
    """An admin token that has just been made: the only moment at which its secret is known."""

    token: AdminToken
    secret: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.token!r})"


class CredentialService:
    """Commands on SDK keys and admin tokens.

    Args:
        store: where they are kept.
        bus: tells other servers and open streams that a key is no longer valid.
        access: must forget what it remembers of it.
        clock: the time, aware.
        hold: what becomes of transactions at the end of their blocks.
    """

    def __init__(
        self, store: Store, bus: Bus[Message], access: Access, clock: Callable[[], datetime], hold: Holding = not_held
    ) -> None:
        self._store = store
        self._bus = bus
        self._access = access
        self._clock = clock
        self._hold = hold

    def holding(self, hold: Holding) -> "CredentialService":
        """The same, with another ``hold``."""
        return CredentialService(self._store, self._bus, self._access, self._clock, hold)

    async def issue_key(
        self, project: str, environment: str, name: str, expires_at: datetime | None, kind: KeyKind = "server"
    ) -> IssuedKey:
        """Make a key for SDKs, or for browsers and apps, in this environment.

        Raises:
            Invalid: if the name or the expiry is of no use, or there is no such environment.
        """
        now = self._clock()
        errors = _name_and_expiry_errors(name, expires_at, now)
        async with self._hold(self._store.write()) as connection:
            if await environments.project(connection, project) is None:
                raise NotFound(f"There is no project {project!r}.")
            if await environments.state(connection, project, environment) is None:
                known = ", ".join(state.key for state in await environments.states(connection, project))
                errors.append(
                    FieldError("environment", f"there is no environment {environment!r}", f"One of: {known}.")
                )
            _refuse(errors)
            secret = new_sdk_key(project, environment, kind)
            key = SdkKey(
                id=new_id(),
                name=name,
                project=project,
                environment=environment,
                kind=kind,
                prefix=recognisable(secret),
                created_at=now,
                expires_at=expires_at,
            )
            await keys.insert_key(connection, key, digest(secret))
        return IssuedKey(key, secret)

    async def revoke_key(self, project: str, key_id: str, may_revoke: Callable[[SdkKey], None]) -> None:
        """Make a key invalid at once and for good, and end the streams that use it. Doing it again changes
        nothing.

        Args:
            may_revoke: raises if the caller may not do so to this key.

        Raises:
            NotFound: if the project has no such key.
        """
        async with self._hold(self._ending(key_id)) as connection:
            key = await _existing_key(connection, project, key_id)
            may_revoke(key)
            if key.revoked_at is None:
                await keys.revoke_key(connection, key_id, self._clock())

    async def issue_token(
        self,
        name: str,
        role: Role,
        *,
        projects: tuple[str, ...] = (),
        environments: tuple[str, ...] = (),
        expires_at: datetime | None = None,
    ) -> IssuedToken:
        """Make a token for the admin API. Its scopes may name what does not exist yet.

        Raises:
            Invalid: if the name or the expiry is of no use.
        """
        now = self._clock()
        errors = _name_and_expiry_errors(name, expires_at, now)
        for field, scope in (("projects", projects), ("environments", environments)):
            errors += [
                FieldError(f"{field}[{position}]", f"{key!r} is not a key")
                for position, key in enumerate(scope)
                if not 0 < len(key) <= 128 or not key.isprintable()
            ]
        secret = new_token()
        token = AdminToken(
            id=new_id(),
            name=name,
            role=role,
            projects=tuple(dict.fromkeys(projects)),
            environments=tuple(dict.fromkeys(environments)),
            created_at=now,
            expires_at=expires_at,
        )
        async with self._hold(self._store.write()) as connection:
            _refuse(errors)
            await keys.insert_token(connection, token, digest(secret))
        return IssuedToken(token, secret)

    async def delete_token(self, token_id: str) -> None:
        """Make a token invalid at once and for good.

        Raises:
            NotFound: if there is no such token.
        """
        async with self._hold(self._ending(token_id)) as connection:
            if await keys.token(connection, token_id) is None:
                raise NotFound(f"There is no token {token_id!r}.")
            await keys.delete_token(connection, token_id)

    @asynccontextmanager
    async def _ending(self, credential_id: str) -> AsyncIterator[AsyncConnection]:
        """A transaction that makes a credential invalid: everybody is told once it is."""
        async with self._store.write() as connection:
            yield connection
        self._access.forget(credential_id)
        await self._bus.publish(CredentialRevoked(credential_id))


async def _existing_key(connection: AsyncConnection, project: str, key_id: str) -> SdkKey:
    found = await keys.key(connection, project, key_id)
    if found is None:
        raise NotFound(f"Project {project!r} has no key {key_id!r}.")
    return found


def _name_and_expiry_errors(name: str, expires_at: datetime | None, now: datetime) -> list[FieldError]:
    errors = []
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
        errors.append(FieldError("name", f"is not 1 to {_NAME_LENGTH} printable characters"))
    if expires_at is not None and expires_at.tzinfo is None:
        errors.append(FieldError("expires_at", "has no offset", "Write it in UTC: 2030-01-31T12:00:00Z."))
    elif expires_at is not None and expires_at <= now:
        errors.append(FieldError("expires_at", "is in the past"))
    elif expires_at is not None and expires_at.year >= _LAST_YEAR:
        # In UTC it may not exist, and whoever means "never" can say so.
        errors.append(FieldError("expires_at", "is too far away", "Leave it out for a credential that never expires."))
    return errors


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise Invalid.of(errors)
