"""What people are told of flags that change by themselves.

It is written into an outbox in the transaction of the change: nothing is told that has not happened, and what has
happened is told even if the server dies right after it. Its form is that of https://www.standardwebhooks.com.
"""

import secrets
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from fader_server.flags.writing import Transaction
from fader_server.ramps.moves import AWAITING, Move
from fader_server.ramps.progress import Progress, Status
from fader_server.storage import notices
from fader_server.storage.documents import FoundDocument, encode, ramp_document
from fader_server.storage.records import Notice, Ramp

RampEvent: TypeAlias = Literal[
    "ramp.started",
    "ramp.step",
    "ramp.awaiting_approval",
    "ramp.warning",
    "ramp.held",
    "ramp.baking",
    "ramp.released",
    "ramp.rolled_back",
    "ramp.aborted",
]
NoticeType: TypeAlias = RampEvent | Literal["flag.switched_off"]

_OF_STATUS: Final[dict[Status, RampEvent]] = {
    "held": "ramp.held",
    "baking": "ramp.baking",
    "released": "ramp.released",
    "rolled_back": "ramp.rolled_back",
    "aborted": "ramp.aborted",
}
"""Of those that a ramp comes to by itself, or that others than who did it should hear of. Who pauses a ramp knows."""


class NoticeRamp(Struct, frozen=True, kw_only=True):
    """How a ramp stands; the fields are those of history, but for what is between SDKs and the server."""

    id: str
    status: Status
    step: int
    steps: int
    percentage: float
    why: str
    found: tuple[FoundDocument, ...]


class NoticeData(Struct, frozen=True, kw_only=True):
    """What has happened.

    Args:
        project: Where.
        environment: Where.
        flag: To which.
        text: In one sentence.
        actor: Who did it, as in history.
        reason: Why, as in history.
        revision: Of the environment, where history tells of it.
        ramp: How the ramp stands that it has happened to.
    """

    project: str
    environment: str
    flag: str
    text: str
    actor: str
    reason: str
    revision: int | None = None
    ramp: NoticeRamp | None = None


class NoticeDocument(Struct, frozen=True, kw_only=True):
    """All of a notice. Its id is the same however often it is sent, and wherever to."""

    id: str
    type: NoticeType
    timestamp: datetime
    data: NoticeData


async def tell_of_move(
    transaction: Transaction, before: Progress, move: Move, after: Ramp, revision: int | None
) -> None:
    """Tell of what a ramp has come to, if that is of interest."""
    event = _event(before, move)
    if event is not None:
        await tell_of_ramp(transaction, event, after, revision, ", ".join(move.tell))


async def tell_of_ramp(
    transaction: Transaction, event: RampEvent, ramp: Ramp, revision: int | None, what: str = ""
) -> None:
    """Tell of a ramp.

    Args:
        transaction: In which it happens.
        event: What has happened.
        ramp: As it is now.
        revision: The environment's, if history tells of it.
        what: More, where the event alone does not say it.
    """
    document = ramp_document(ramp)
    fields = {field: getattr(document, field) for field in NoticeRamp.__struct_fields__}
    data = NoticeData(
        project=ramp.project,
        environment=ramp.environment,
        flag=ramp.flag,
        text=_sentence(event, ramp, NoticeRamp(**fields), what),
        actor=transaction.intent.actor,
        reason=transaction.intent.reason,
        revision=revision,
        ramp=NoticeRamp(**fields),
    )
    await _tell(transaction, event, data)


async def tell_of_alert(transaction: Transaction, project: str, environment: str, flag: str, revision: int) -> None:
    """Tell that an alert has switched a flag off."""
    actor, reason = transaction.intent.actor, transaction.intent.reason
    data = NoticeData(
        project=project,
        environment=environment,
        flag=flag,
        text=f"{flag} in {project}:{environment} was switched off by {actor}: {reason}",
        actor=actor,
        reason=reason,
        revision=revision,
    )
    await _tell(transaction, "flag.switched_off", data)


async def _tell(transaction: Transaction, event: NoticeType, data: NoticeData) -> None:
    if not transaction.destinations:
        return
    now = transaction.now
    document = NoticeDocument(id=f"msg_{secrets.token_hex(12)}", type=event, timestamp=now, data=data)
    text = msgspec.Raw(encode(document).encode())
    rows = [
        Notice(id=secrets.token_hex(16), notice=text, destination=destination, created_at=now, due_at=now)
        for destination in transaction.destinations
    ]
    await notices.insert_all(transaction.connection, rows)


def _event(before: Progress, move: Move) -> RampEvent | None:
    after = move.progress
    if after.status != before.status and after.status in _OF_STATUS:
        return _OF_STATUS[after.status]
    if after.step != before.step:
        return "ramp.step"
    if AWAITING in move.tell:
        return "ramp.awaiting_approval"
    return "ramp.warning" if move.tell else None


def _sentence(event: RampEvent, ramp: Ramp, stands: NoticeRamp, what: str) -> str:
    flag = f"{ramp.flag} in {ramp.project}:{ramp.environment}"
    share = f"{stands.percentage:g} %"
    match event:
        case "ramp.started":
            return f"{flag} comes up in {stands.steps} steps; {share} have it now"
        case "ramp.step":
            return f"{flag} is at {share} now, step {stands.step} of {stands.steps}"
        case "ramp.awaiting_approval":
            return f"{flag} is at {share}, and waits for approval to go on"
        case "ramp.warning":
            return f"{flag} is at {share}: {what}"
        case "ramp.held":
            return f"{flag} is held at {share}: {stands.why}"
        case "ramp.baking":
            return f"{flag} is at {share}, its last step, and guards go on watching"
        case "ramp.released":
            return f"{flag} is released at {share}"
        case "ramp.rolled_back":
            return f"{flag} was switched off by its ramp at {share}: {stands.why}"
        case "ramp.aborted":
            return f"the ramp of {flag} is over at {share}: {stands.why}"
