"""Requests that are not done when the time for a shutdown is over: the server cancels them, and nothing else does."""

import asyncio
from typing import Final

from litestar.types import Scope, Send

from fader_server.api.problems import send_problem
from fader_server.api.shown import shown
from fader_server.errors import Unavailable
from fader_server.logs import logger

_log = logger(__name__)

_TURNS_OF_THE_LOOP: Final = 3
"""After which it is known that a connection is gone."""


async def cut_short(scope: Scope, send: Send, *, is_begun: bool) -> None:
    """Tell the sender what may have become of the request.

    Args:
        scope: The request's.
        send: Its answer.
        is_begun: Whether its answer was under way. Then the connection is cut, so that nobody takes it for whole.
    """
    _log.warning("a request was cut short by the shutdown", path=shown(scope["path"]))
    if not is_begun:
        unknown = Unavailable(
            "This server was shut down before the request was done, so a change may or may not have been made. "
            "Look, or send it again with the same Idempotency-Key."
        )
        await send_problem(scope, send, unknown, {"Connection": "close"})
        return
    abort = scope["state"].get("abort")
    if abort is not None:
        abort()
        for _ in range(_TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)
