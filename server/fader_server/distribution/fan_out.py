"""Brings every stream to the version that is being served.

No stream has a queue. The fan-out goes through all of them, and sends each what leads from the version that it has to
the newest: the same bytes for all who have the same. It takes one step of each connection's ``send`` by itself, without
a task for each, a few connections at a time, so that other requests get their turn in between; nine tenths of the time
are then the kernel's.

A step that does not end at once means that the client does not read. That stream is parked: nothing more is written
to it, and nothing is kept for it, until it has read what it has; then it goes on from its version, however much has
happened since. A client that never reads is cut off by its connection (``http_connection``), and nobody waits for it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from typing import Final, cast

from fader_server.distribution.events import Delivery, Message, Version, body
from fader_server.distribution.subscription import Ending, Subscription
from fader_server.logs import logger
from fader_server.telemetry import Metrics

_log = logger(__name__)

_AT_ONCE: Final = 64
"""Streams; writing to so many sockets takes about a millisecond."""

_LONGEST_REST: Final = 0.1  # seconds

_NOTHING: Final = body(b"")


class FanOut:
    """All streams of one environment and one encoding.

    Args:
        way: Says what leads from a version to the newest; ``None`` for the newest itself.
        heartbeat: Shows that a stream lives.
        metrics: Where it is counted what is sent.
    """

    def __init__(self, way: Callable[[Version], Delivery | None], heartbeat: Message, metrics: Metrics) -> None:
        self._way = way
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._live: dict[Subscription, None] = {}
        self._parked: dict[Subscription, asyncio.Task[None]] = {}
        self._round: asyncio.Task[None] | None = None
        self._is_behind = False

    def advance(self) -> None:
        """There is a newer version: send it to everybody."""
        self._is_behind = True
        if self._round is None and self._live:
            self._round = asyncio.create_task(self._bring_all())

    async def beat(self) -> None:
        """Show everybody that the stream lives."""
        reached = 0
        for batch in self._batches():
            reached += sum(self._write(subscription, self._heartbeat) for subscription in batch)
            await asyncio.sleep(0)
        self._metrics.event_sent("heartbeat", len(self._heartbeat["body"]), reached)

    async def join(self, subscription: Subscription) -> None:
        """Bring a stream to the newest version, however long its client takes to read, and keep it there from then on;
        or say goodbye to it, if it has been dismissed meanwhile."""
        while subscription.ending is None:
            delivery = self._way(subscription.version)
            if delivery is None:
                subscription.is_parked = False
                self._live[subscription] = None
                return
            await subscription.send(delivery.message)
            subscription.version = delivery.leads_to
            self._metrics.event_sent(delivery.event, len(delivery.message["body"]))
        if subscription.farewell is not None:
            await subscription.send(subscription.farewell)

    def dismiss(self, subscription: Subscription, ending: Ending, goodbye: bytes) -> None:
        """End a stream from this side."""
        if subscription.ending is not None:
            return
        subscription.ending = ending
        subscription.farewell = body(goodbye, is_last=True)
        self._metrics.event_sent("goodbye", len(goodbye))
        if subscription in self._live and self._write(subscription, subscription.farewell):
            self._live.pop(subscription, None)

    def remove(self, subscription: Subscription) -> None:
        """Forget a stream whose connection is over."""
        self._live.pop(subscription, None)
        waiting = self._parked.pop(subscription, None)
        if waiting is not None:
            waiting.cancel()

    async def _bring_all(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._is_behind:
                self._is_behind, began = False, clock()
                for batch in self._batches():
                    self._bring(batch)
                    await asyncio.sleep(0)
                if self._is_behind:
                    # Changes follow each other faster than they can be sent one by one. Half of the time is for
                    # everything else, the next changes among it; what comes meanwhile goes out together.
                    await asyncio.sleep(min(clock() - began, _LONGEST_REST))
        finally:
            self._round = None

    def _batches(self) -> Iterator[list[Subscription]]:
        everybody = iter(tuple(self._live))
        while batch := list(islice(everybody, _AT_ONCE)):
            yield [subscription for subscription in batch if subscription in self._live]

    def _bring(self, batch: list[Subscription]) -> None:
        since: Version | None = None
        delivery: Delivery | None = None
        sent = 0
        for subscription in batch:
            # Nearly all have the same version, as the same object.
            if subscription.version is not since:
                self._count(delivery, sent)
                since, sent = subscription.version, 0
                delivery = self._way(since)
            if delivery is not None and self._write(subscription, delivery.message):
                subscription.version = delivery.leads_to
                sent += 1
        self._count(delivery, sent)

    def _count(self, delivery: Delivery | None, streams: int) -> None:
        if delivery is not None and streams:
            self._metrics.event_sent(delivery.event, len(delivery.message["body"]), streams)

    def _write(self, subscription: Subscription, message: Message) -> bool:
        """Send without waiting.

        Returns:
            Whether it was sent. If not, the stream is parked.
        """
        sending = cast("Coroutine[object, None, None]", subscription.send(message))
        try:
            sending.send(None)
        except StopIteration:
            return True
        except Exception:  # noqa: BLE001 (whatever one connection suffers from, the others must hear)
            _log.debug("a stream could not be written to", exc_info=True)
            self._live.pop(subscription, None)  # its own task hears of its end
            return False
        # It waits for its client to read, and has written nothing yet; what it would have written will be old by then.
        sending.close()
        self._park(subscription)
        return False

    def _park(self, subscription: Subscription) -> None:
        self._live.pop(subscription, None)
        subscription.is_parked = True
        self._metrics.stream_parked()
        self._parked[subscription] = asyncio.create_task(self._wait_for(subscription))

    async def _wait_for(self, subscription: Subscription) -> None:
        try:
            await subscription.send(_NOTHING)  # returns when there is room again
            await self.join(subscription)
        except Exception:  # noqa: BLE001 (as above)
            _log.debug("a stream could not be written to", exc_info=True)
        finally:
            self._parked.pop(subscription, None)
