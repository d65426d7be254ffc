"""How long whoever is ready to run waits for the event loop."""

import asyncio
import time
from typing import Final

from fader_server.telemetry.metrics import Metrics

_EVERY: Final = 1.0  # seconds


async def watch_event_loop(metrics: Metrics) -> None:
    """Measure until cancelled: sleep, and see how much longer it took than asked."""
    while True:
        # Not the loop's own clock: uvloop's stands still while a callback runs.
        due = time.monotonic() + _EVERY
        await asyncio.sleep(_EVERY)
        metrics.loop_lagged(max(time.monotonic() - due, 0.0))
