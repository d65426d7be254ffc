"""What goes on beside requests for as long as the server runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fader_server.logs import logger

_log = logger(__name__)

_AFTER_A_FAULT: Final = 1.0
"""Seconds until a chore that has failed in a way that nobody thought of is taken up again."""


async def persistently(chore: Callable[[], Awaitable[None]]) -> None:
    """Do what nobody else would do, whatever happens in it."""
    told = ""
    while True:
        try:
            await chore()
        except Exception as fault:  # noqa: BLE001 (that is the point)
            if repr(fault) != told:  # once is enough for what happens again and again
                told = repr(fault)
                _log.exception("a chore failed; it goes on")
            await asyncio.sleep(_AFTER_A_FAULT)
        else:
            return
