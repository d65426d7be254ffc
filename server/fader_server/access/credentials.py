"""Secrets: how they are made, taken apart and looked up. None is ever stored, only its digest.

A secret that we make has 256 random bits, so nobody can guess it from its digest, and a slow password hash
would only slow every request down.
"""

import hashlib
import re
import secrets
from typing import Final, NamedTuple

from fader_server.storage.records import KeyKind

TOKEN_PREFIX: Final = "fader_"  # noqa: S105 - says where a secret begins, is none
"""Lets secret scanners recognise an admin token that has leaked."""

HOOK_PREFIX: Final = "fader_hook_"
"""What the secret part of a hook's URL begins with, so that it is known for one wherever it is found."""

CLIENT_PREFIX: Final = "client-"
"""What the secret of a client key begins with, so that whoever finds a key in a page sees whether it may be there."""

SHORTEST_SECRET: Final = 16
"""Characters that a secret chosen by the operator must have at least: what is shorter can be guessed."""

_SHOWN = 4
_SDK_KEY = re.compile(r"(?P<project>[^:\s]+):(?P<environment>[^:\s]+)\.(?P<secret>[^.:\s]+)")


class SdkKeyParts(NamedTuple):
    """What an SDK key says about itself."""

    project: str
    environment: str
    secret: str


def digest(credential: str) -> str:
    """What the database knows a key or a token by."""
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()


def new_id() -> str:
    """A name for a key or a token that may be shown."""
    return secrets.token_hex(6)


def new_token() -> str:
    """A fresh admin token."""
    return TOKEN_PREFIX + secrets.token_hex(32)


def new_hook_token() -> str:
    """The secret part of a fresh hook's URL."""
    return HOOK_PREFIX + secrets.token_hex(32)


def new_sdk_key(project: str, environment: str, kind: KeyKind = "server") -> str:
    """A fresh key of this kind, in the form that tools made for Unleash understand as well."""
    return f"{project}:{environment}.{CLIENT_PREFIX if kind == 'client' else ''}{secrets.token_hex(32)}"


def sdk_key_parts(key: str) -> SdkKeyParts | None:
    """Take an SDK key apart, or nothing if it is none by its form."""
    match = _SDK_KEY.fullmatch(key)
    return SdkKeyParts(match["project"], match["environment"], match["secret"]) if match else None


def recognisable(key: str) -> str:
    """The beginning of an SDK key: enough for its owner to know it again, too little for anybody to use
    it."""
    parts = sdk_key_parts(key)
    if parts is None:
        return "…"
    shown = _SHOWN + (len(CLIENT_PREFIX) if parts.secret.startswith(CLIENT_PREFIX) else 0)
    return f"{parts.project}:{parts.environment}.{parts.secret[:shown]}…"


def presented(authorization: str | None) -> str | None:
    """The credential in an ``Authorization`` header; SDKs made for Unleash send theirs without ``Bearer``."""
    if authorization is None:
        return None
    if authorization.startswith("Bearer ") and not authorization[-1].isspace():  # as nearly everybody writes it
        return authorization[7:].lstrip() or None
    scheme, _, rest = authorization.strip().partition(" ")
    credential = rest.strip() if scheme.lower() == "bearer" else authorization.strip()
    return credential or None
