"""Who is sent notices, and what exactly: as it is, signed as https://www.standardwebhooks.com has it, or as Slack wants
it."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from urllib3.util import parse_url

_SLACK: Final = "slack+"


class Destination(Struct, frozen=True, kw_only=True):
    """Somebody who is told.

    Args:
        name: What the database knows them by. It says nothing of their URL, which may hold a secret.
        url: Where they are.
        host: What of that may be shown.
        is_slack: Whether they take what Slack takes, and nothing else.
    """

    name: str
    url: str
    host: str
    is_slack: bool

    def __repr__(self) -> str:
        return f"Destination({self.host!r})"


class Outgo(NamedTuple):
    """What is sent."""

    headers: dict[str, str]
    body: bytes


def destinations_of(urls: Iterable[str]) -> tuple[Destination, ...]:
    """Those that settings name."""
    return tuple(
        Destination(
            name=hashlib.sha256(url.encode()).hexdigest()[:16],
            url=url.removeprefix(_SLACK),
            host=parse_url(url.removeprefix(_SLACK)).host or "",
            is_slack=url.startswith(_SLACK),
        )
        for url in urls
    )


class _Data(Struct):
    text: str


class _Notice(Struct):
    id: str
    data: _Data


_notices: Final = msgspec.json.Decoder(_Notice)


def outgo(notice: bytes, destination: Destination, secrets: Sequence[bytes], now: datetime) -> Outgo:
    """What is sent to a destination of a notice.

    Args:
        notice: As it is kept.
        destination: Whom to.
        secrets: What to sign it with; with each of them.
        now: When it is sent.
    """
    read = _notices.decode(notice)
    headers = {"Content-Type": "application/json"}
    if destination.is_slack:
        # https://docs.slack.dev/messaging/formatting-message-text#escaping
        text = read.data.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return Outgo(headers, msgspec.json.encode({"text": text}))
    at = str(int(now.timestamp()))
    headers |= {"webhook-id": read.id, "webhook-timestamp": at}
    if secrets:
        signed = f"{read.id}.{at}.".encode() + notice
        marks = (b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
        headers["webhook-signature"] = " ".join(f"v1,{mark}" for mark in marks)
    return Outgo(headers, notice)
