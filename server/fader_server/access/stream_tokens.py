"""What opens a stream of events where no header can be sent: a token in its URL, made from a key.

A page cannot give its ``EventSource`` a header, and a key in a URL would be in the log of every proxy. The token holds
for one environment and for a day at most, and opens nothing else. It is signed with the digest of its key, which all
servers on one database know, and nobody besides them and the key's owner: so there is no secret to hand around, and
with the key the token ends, too.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec
from msgspec import Struct

_PERIOD: Final = 12 * 3_600
"""Seconds for which all tokens of a key are the same, so that clients see that they have the right stream already."""

_MAC_BYTES: Final = 16
_LONGEST: Final = 1_024


class StreamClaim(Struct, frozen=True, array_like=True):
    """What a token says: where it leads, by which key it was made, and until when it is good, in Unix seconds."""

    project: str
    environment: str
    key_id: str
    expires: int


def expiry(now: float) -> int:
    """Until when a token is good that is made now, in Unix seconds: for 12 to 24 hours."""
    return (int(now) // _PERIOD + 2) * _PERIOD


def sealed(claim: StreamClaim, key_digest: str) -> str:
    """The token, of characters that need no escaping in URLs."""
    said = msgspec.json.encode(claim)
    return base64.urlsafe_b64encode(_mac(said, key_digest) + said).decode().rstrip("=")


def opened(token: str) -> tuple[StreamClaim, bytes] | None:
    """What a token says, and its signature, which nobody has looked at yet; ``None`` if it is no token."""
    if len(token) > _LONGEST:
        return None
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(content[_MAC_BYTES:], type=StreamClaim), content[:_MAC_BYTES]
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None


def is_genuine(claim: StreamClaim, signature: bytes, key_digest: str) -> bool:
    """Whether a token was made from the key of this digest."""
    return hmac.compare_digest(_mac(msgspec.json.encode(claim), key_digest), signature)


def _mac(said: bytes, key_digest: str) -> bytes:
    return hmac.digest(key_digest.encode(), b"fader event stream\n" + said, hashlib.sha256)[:_MAC_BYTES]
