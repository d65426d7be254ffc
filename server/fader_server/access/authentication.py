"""From the ``Authorization`` header to a principal, without asking the database for every request."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from fader_server.access.credentials import TOKEN_PREFIX, digest, presented, sdk_key_parts
from fader_server.access.principals import AdminPrincipal, SdkPrincipal
from fader_server.access.stream_tokens import StreamClaim, expiry, is_genuine, opened, sealed
from fader_server.bus import CredentialRevoked, EnvironmentRemoved, Message
from fader_server.errors import Forbidden, Unauthorized, Unavailable
from fader_server.standby import Standby
from fader_server.storage import Store, keys
from fader_server.storage.records import AdminToken, KeyKind, SdkKey

_log = logging.getLogger(__name__)

_TRUSTED_FOR = timedelta(seconds=15)
"""How long another server's revocation may go unnoticed if the bus lost it; our own is noticed at once."""

_REMEMBERED = 10_000
_USE_WRITTEN_EVERY = timedelta(minutes=1)

_CredentialT = TypeVar("_CredentialT", SdkKey, AdminToken)


class _Known(Generic[_CredentialT]):
    """Credentials by digest. While the database is away, those once seen stay good: an outage must not sign
    people out."""

    def __init__(self, look_up: Callable[[str], Awaitable[_CredentialT | None]]) -> None:
        self._look_up: Callable[[str], Awaitable[_CredentialT | None]] = look_up
        self._seen: dict[str, tuple[_CredentialT, datetime]] = {}
        self._asking: dict[str, asyncio.Future[_CredentialT | None]] = {}
        self._forgotten = 0

    async def get(
        self, secret_digest: str, now: datetime, copied: Callable[[], Awaitable[_CredentialT | None]] | None = None
    ) -> _CredentialT | None:
        """The credential with this digest.

        Args:
            copied: asked while the database is away, for what has not been seen yet.

        Raises:
            Unavailable: if nobody can say at the moment; never ``None``, which would sign people out.
        """
        recent = self.recent(secret_digest, now)
        if recent is not None:
            return recent
        # Ten thousand processes may have one key, and ask at once: it is looked up once.
        asking = self._asking.get(secret_digest)
        if asking is None:
            asking = self._asking[secret_digest] = asyncio.ensure_future(self._ask(secret_digest, now, copied))
            asking.add_done_callback(lambda done: self._asked(secret_digest, done))
        return await asyncio.shield(asking)

    async def _ask(
        self, secret_digest: str, now: datetime, copied: Callable[[], Awaitable[_CredentialT | None]] | None
    ) -> _CredentialT | None:
        seen, forgotten = self._seen.get(secret_digest), self._forgotten
        try:
            found = await self._look_up(secret_digest)
        except Unavailable:
            if seen is not None:
                return seen[0]
            found = None if copied is None else await copied()
            if found is None:
                raise
        if forgotten != self._forgotten:
            return found  # perhaps as it was before it was revoked: good for those who asked then, and for nobody else
        self._seen.pop(secret_digest, None)
        if found is not None:
            if len(self._seen) >= _REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._seen[secret_digest] = (found, now)
        return found

    def _asked(self, secret_digest: str, done: "asyncio.Future[_CredentialT | None]") -> None:
        if self._asking.get(secret_digest) is done:
            del self._asking[secret_digest]
        if not done.cancelled():
            done.exception()  # known to those who wait, if anybody still does

    def recent(self, secret_digest: str, now: datetime) -> _CredentialT | None:
        """The credential with this digest, if it was looked up so lately that it need not be again."""
        seen = self._seen.get(secret_digest)
        return seen[0] if seen is not None and abs(now - seen[1]) < _TRUSTED_FOR else None

    def forget(self, is_meant: Callable[[_CredentialT], bool]) -> None:
        self._forgotten += 1
        self._asking = {}
        self._seen = {known: seen for known, seen in self._seen.items() if not is_meant(seen[0])}


class Access:
    """Answers who is asking.

    Args:
        store: where keys and tokens are kept.
        clock: the time, aware.
        standby: knows keys while the database is away.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime], standby: Standby | None = None) -> None:
        self._store = store
        self._standby = standby
        self._clock = clock
        self._keys = _Known(self._key_by_digest)
        self._tokens = _Known(self._token_by_digest)
        self._digests: dict[str, str] = {}
        self._used_keys: dict[str, datetime] = {}
        self._used_tokens: dict[str, datetime] = {}
        self._use_written: datetime | None = None
        self._writing_use: asyncio.Task[None] | None = None

    async def sdk_principal(self, authorization: str | None) -> SdkPrincipal:
        """Who sends this header to the endpoints at which flags are read with all their rules.

        Raises:
            Unauthorized: without a key, or with one that is unknown, expired or revoked.
            Forbidden: with an admin token or a client key.
            Unavailable: if the database cannot say at the moment.
        """
        return await self._key_holder(authorization, ("server",))

    async def evaluation_principal(
        self, authorization: str | None, *, kinds: tuple[KeyKind, ...] = ("server", "client")
    ) -> SdkPrincipal:
        """Who sends this header to the endpoints at which flags are evaluated, and only their values are told.

        Args:
            authorization: The header.
            kinds: Of keys that are taken.

        Raises:
            Unauthorized: without a key, or with one that is unknown, expired or revoked.
            Forbidden: with an admin token, or with a key of another kind.
            Unavailable: if the database cannot say at the moment.
        """
        return await self._key_holder(authorization, kinds)

    async def _key_holder(self, authorization: str | None, kinds: tuple[KeyKind, ...]) -> SdkPrincipal:
        credential = presented(authorization)
        if credential is None:
            raise Unauthorized(
                "There is no SDK key in the Authorization header.",
                reason="missing",
                hint="Send `Authorization: Bearer <SDK key>`.",
            )
        if credential.startswith(TOKEN_PREFIX):
            raise Forbidden(
                "This is an admin token, and SDKs need an SDK key.",
                reason="wrong_kind",
                hint="Create one: POST /api/v1/projects/{project}/keys.",
            )
        parts = sdk_key_parts(credential)
        return await self._let_in(digest(credential), kinds, parts and (parts.project, parts.environment))

    def stream_token(self, authorization: str, principal: SdkPrincipal) -> str:
        """What opens a stream of events in place of a key, for those who can send no header.

        Args:
            authorization: The header that the principal was known by.
            principal: Who is to have it.
        """
        secret_digest = digest(presented(authorization) or "")
        self._digests[principal.key_id] = secret_digest
        expires = expiry(self._clock().timestamp())
        claim = StreamClaim(principal.project, principal.environment, principal.key_id, expires)
        return sealed(claim, secret_digest)

    async def stream_principal(self, token: str) -> SdkPrincipal:
        """Who comes with such a token. With the key that it was made from, it ends.

        Raises:
            Unauthorized: if it is none, or has expired, or its key is no longer valid.
            Unavailable: if the database cannot say at the moment.
        """
        claim, signature = opened(token) or (None, b"")
        secret_digest = None if claim is None else await self._digest_of(claim)
        if claim is None or secret_digest is None or not is_genuine(claim, signature, secret_digest):
            raise Unauthorized("This token opens no stream.", hint="Ask for all flags again: the answer has a new one.")
        if claim.expires <= self._clock().timestamp():
            raise Unauthorized(
                "This token has expired.", reason="expired", hint="Ask for all flags again: the answer has a new one."
            )
        return await self._let_in(secret_digest, ("server", "client"), (claim.project, claim.environment))

    async def _let_in(
        self, secret_digest: str, kinds: tuple[KeyKind, ...], place: tuple[str, str] | None
    ) -> SdkPrincipal:
        now = self._clock()
        key = await self._keys.get(secret_digest, now, lambda: self._copied_key(secret_digest, place))
        if key is None:
            raise Unauthorized("This SDK key is not known here.", hint="Was it made on another server?")
        if key.revoked_at is not None:
            raise Unauthorized(f"{_named(key)} was revoked.", reason="revoked", hint="Ask for a new key.")
        _refuse_expired(_named(key), key.expires_at, now)
        if key.kind not in kinds:
            raise _wrong_kind(key)
        self._used_keys[key.id] = now
        self._write_use(now)
        return SdkPrincipal(key.id, key.project, key.environment, key.kind)

    def recent_sdk_principal(self, authorization: str) -> SdkPrincipal | None:
        """Who sends this header with a server-side key, if it was looked up lately and was good. ``None`` only says
        that it was not."""
        credential, now = presented(authorization), self._clock()
        key = None if credential is None else self._keys.recent(digest(credential), now)
        if key is None or key.kind != "server" or key.revoked_at is not None:
            return None
        if key.expires_at is not None and key.expires_at <= now:
            return None
        self._used_keys[key.id] = now
        self._write_use(now)
        return SdkPrincipal(key.id, key.project, key.environment)

    async def admin_principal(self, authorization: str | None) -> AdminPrincipal:
        """Who sends this header to the admin API.

        Raises:
            Unauthorized: without a token, or with one that is unknown or expired.
            Forbidden: with an SDK key.
            Unavailable: if the database cannot say at the moment.
        """
        credential = presented(authorization)
        if credential is None:
            raise Unauthorized(
                "There is no admin token in the Authorization header.",
                reason="missing",
                hint="Send `Authorization: Bearer fader_…`.",
            )
        now = self._clock()
        if not credential.startswith(TOKEN_PREFIX) and sdk_key_parts(credential) is not None:
            raise Forbidden(
                "This is an SDK key, and the admin API needs an admin token.",
                reason="wrong_kind",
                hint="Admin tokens begin with fader_.",
            )
        token = await self._tokens.get(digest(credential), now)
        if token is None:
            raise Unauthorized("This admin token is not known here.", hint="Was it deleted, or made on another server?")
        _refuse_expired(f"Admin token {token.name!r}", token.expires_at, now)
        self._used_tokens[token.id] = now
        self._write_use(now)
        return AdminPrincipal(token.id, token.name, token.role, token.projects, token.environments)

    def forget(self, credential_id: str) -> None:
        """Look a key or token up anew at its next use, because it was revoked, deleted or changed."""
        self._keys.forget(lambda key: key.id == credential_id)
        self._tokens.forget(lambda token: token.id == credential_id)

    async def follow(self, messages: AsyncIterator[Message]) -> None:
        """Forget what is said to be revoked, for as long as there are messages. With an environment go its keys: they
        must not open one that is made under the same name."""
        async for message in messages:
            match message:
                case CredentialRevoked(credential_id):
                    self.forget(credential_id)
                case EnvironmentRemoved(project, environment):
                    self._forget_environment(project, environment)

    def _forget_environment(self, project: str, environment: str) -> None:
        self._keys.forget(lambda key: (key.project, key.environment) == (project, environment))

    async def close(self) -> None:
        """Write down the last uses that are not written yet."""
        if self._writing_use is not None:
            await self._writing_use
        await self._save_use()

    async def _key_by_digest(self, secret_digest: str) -> SdkKey | None:
        async with self._store.read() as connection:
            return await keys.key_by_hash(connection, secret_digest)

    async def _copied_key(self, secret_digest: str, place: tuple[str, str] | None) -> SdkKey | None:
        copied = await self._copied_keys(place)
        return None if copied is None else copied.get(secret_digest)

    async def _copied_keys(self, place: tuple[str, str] | None) -> Mapping[str, SdkKey] | None:
        if self._standby is None or place is None:
            return None
        copy = await self._standby.load(*place)
        return None if copy is None else copy.keys

    async def _digest_of(self, claim: StreamClaim) -> str | None:
        """The digest of the key that a token says it is of."""
        known = self._digests.get(claim.key_id)
        if known is not None:
            return known
        place = claim.project, claim.environment
        try:
            found: Mapping[str, SdkKey] | None = await self._store.valid_keys(*place)
        except Unavailable:
            found = await self._copied_keys(place)
            if found is None:
                raise
        self._digests |= {key.id: secret_digest for secret_digest, key in (found or {}).items()}
        return self._digests.get(claim.key_id)

    async def _token_by_digest(self, secret_digest: str) -> AdminToken | None:
        async with self._store.read() as connection:
            return await keys.token_by_hash(connection, secret_digest)

    def _write_use(self, now: datetime) -> None:
        """Beside the request, which must neither wait for a write nor fail with it."""
        written = self._use_written
        if written is not None and written <= now < written + _USE_WRITTEN_EVERY:
            return
        if self._writing_use is None or self._writing_use.done():
            self._use_written = now
            self._writing_use = asyncio.get_running_loop().create_task(self._save_use())

    async def _save_use(self) -> None:
        used_keys, self._used_keys = self._used_keys, {}
        used_tokens, self._used_tokens = self._used_tokens, {}
        if not used_keys and not used_tokens:
            return
        try:
            async with self._store.write() as connection:
                await keys.mark_used(connection, used_keys, used_tokens)
        except Unavailable:
            _log.warning("last uses of %d keys and tokens were not written down", len(used_keys) + len(used_tokens))


def _named(key: SdkKey) -> str:
    """Which key it is, for who has it. What somebody calls a key need not be known to everybody who opens a page."""
    return "This client key" if key.kind == "client" else f"SDK key {key.name!r}"


def _wrong_kind(key: SdkKey) -> Forbidden:
    if key.kind == "client":
        return Forbidden(
            "This is a client key, for browsers and phones: it asks for values of flags, and not for rules.",
            reason="wrong_kind",
            hint="Servers need an SDK key: `fader key create NAME`.",
        )
    return Forbidden(
        f"{_named(key)} is for servers, and only client keys are taken here.",
        reason="wrong_kind",
        hint="Browsers and phones need a client key: `fader key create NAME --client`.",
    )


def _refuse_expired(which: str, expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        detail = f"{which} expired at {expires_at.isoformat()}."
        raise Unauthorized(detail, reason="expired", hint="Ask for a new one.")
