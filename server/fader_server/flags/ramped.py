"""Flags that are in a ramp: what its moves write, and what becomes of it when somebody changes the flag by hand."""

import secrets
from typing import Final

from msgspec.structs import replace

from fader_server.errors import Conflict, FaderError
from fader_server.flags.notices import tell_of_move
from fader_server.flags.writing import Transaction
from fader_server.ramps import moves
from fader_server.ramps.moves import Move
from fader_server.ramps.progress import step_number
from fader_server.storage import ramps
from fader_server.storage.documents import RampDocument, encode, ramp_document
from fader_server.storage.records import Ramp

RAMP: Final = "ramp"
"""Who has done it, where it was the ramp itself."""


class MovedMeanwhile(FaderError):  # noqa: N818 (reads as what happened, like the others)
    """A ramp is not where it was when it was decided what comes next."""

    status, slug, title = 409, "moved-meanwhile", "Moved meanwhile"


def new_hash_key() -> str:
    """What users are hashed with in a step."""
    return secrets.token_hex(16)


async def store_move(transaction: Transaction, ramp: Ramp, move: Move, action: str) -> tuple[Ramp, int | None]:
    """Write down what a move makes of a ramp; what it makes of the flag is the caller's.

    Args:
        transaction: In which nobody else changes anything in the environment, if the move is one that history tells.
        ramp: As it is.
        move: What comes next.
        action: What history calls it.

    Returns:
        The ramp as it is now, and the revision of what was told of it, if anything.

    Raises:
        MovedMeanwhile: if it is not as it was any more.
    """
    # While it bakes it is still in its last step: who is hashed anew there would be counted twice.
    is_new_step = step_number(ramp.plan, move.progress) != step_number(ramp.plan, ramp.progress)
    after = replace(
        ramp,
        progress=move.progress,
        is_over=move.progress.is_over,
        hash_key=new_hash_key() if is_new_step else ramp.hash_key,
        version=ramp.version + 1,
        updated_at=transaction.now,
    )
    if not await ramps.update(transaction.connection, after):
        raise MovedMeanwhile(f"The ramp of {ramp.flag!r} has moved meanwhile.", hint="Look at it again, then decide.")
    before_document, document = ramp_document(ramp), ramp_document(after)
    revision = None
    if _is_told(before_document, document):
        revision = await log(transaction, after, action, before_document, document)
    await tell_of_move(transaction, ramp.progress, move, after, revision)
    return after, revision


async def log(
    transaction: Transaction, ramp: Ramp, action: str, before: RampDocument | None, after: RampDocument
) -> int:
    """Write into the history, and so to SDKs, how a ramp stands.

    Returns:
        The revision.
    """
    return await transaction.log(ramp.project, ramp.environment, "ramp", ramp.flag, action, before=before, after=after)


def _is_told(before: RampDocument, after: RampDocument) -> bool:
    """Whether it is of interest to history, or to SDKs. What a step is waiting for is not; nor are counts."""

    before, after = (replace(document, why="", found=()) for document in (before, after))
    return encode(before) != encode(after)


async def interfere(transaction: Transaction, ramp_id: str, what: str, *, is_off: bool) -> None:
    """Somebody changes a flag by hand that is in a ramp. Switching it off is the end of the ramp, whatever its state.
    Everything else must be meant, and the ramp goes no further by itself then.

    Args:
        transaction: In which nobody else changes anything in the environment. It comes before what is done to the
            flag, so that the flag's change is the newest.
        ramp_id: The ramp that the flag is in.
        what: What ends it, if that ends it: "switched off".
        is_off: Whether it does.

    Raises:
        Conflict: if it is not known to be meant.
    """
    ramp = await ramps.ramp(transaction.connection, ramp_id, lock=True)
    if ramp is None or ramp.is_over:
        return
    intent = transaction.intent
    if is_off:
        why = f"{what} by {intent.actor}" + (f": {intent.reason}" if intent.reason else "")
        await store_move(transaction, ramp, moves.end(ramp.progress, "aborted", why, off=False), "aborted")
        return
    if not intent.force:
        raise Conflict(
            f"Flag {ramp.flag!r} is in a ramp in {ramp.environment!r}, which would go on from what you change.",
            hint="Abort the ramp first, or say force=true: then it is held. Switching off is always possible.",
        )
    held = replace(ramp.progress, status="held", why=f"the flag was changed by {intent.actor}")
    await store_move(transaction, ramp, Move(progress=held), "held")
