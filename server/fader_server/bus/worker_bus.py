"""The bus between the workers of one node, where there is no Redis: their parent passes on what each of them says."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic

import msgspec

from fader_server.bus import MessagesLost, MessageT
from fader_server.bus.in_process import InProcessBus
from fader_server.telemetry import Metrics
from fader_server.workers.link import Link


class WorkerBus(Generic[MessageT]):
    """Implements :class:`fader_server.bus.Bus` for several processes of one node.

    Args:
        link: What ties this worker to the others.
        channel: One for each family of messages.
        of: the family: the struct, or the union of structs, that ``MessageT`` stands for.
        hears_all: false where other nodes, of which it hears nothing, write to the same database.
        metrics: where messages are counted.
    """

    def __init__(
        self, link: Link, channel: str, *, of: Any, hears_all: bool = True, metrics: Metrics | None = None
    ) -> None:
        self._link = link
        self._channel = channel
        self._hears_all = hears_all
        self._metrics = metrics or Metrics()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[MessageT | MessagesLost] = msgspec.msgpack.Decoder(of | MessagesLost)
        self._here: InProcessBus[MessageT] = InProcessBus()
        link.listen(channel, self._heard, self._lost)

    @property
    def hears_all(self) -> bool:
        """Whether the others are heard, and there are no more than those."""
        return self._hears_all and self._link.is_connected

    async def publish(self, message: MessageT) -> None:
        """Tell our own subscribers, and the parent, who tells those of the other workers."""
        self._here.tell(message)
        self._link.say(self._channel, self._encoder.encode(message))
        self._metrics.bus_published()

    async def publish_here(self, message: MessageT) -> None:
        """Tell our own subscribers only."""
        self._here.tell(message)

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[MessageT | MessagesLost]]:
        """What this worker and the others say, from entering the context on."""
        return self._here.subscribe()

    async def close(self) -> None:
        """End all subscriptions. Others are told of what comes after it all the same: requests that were under way may
        still write."""
        await self._here.close()

    def _heard(self, body: bytes) -> None:
        self._metrics.bus_received()
        try:
            message = self._decoder.decode(body)
        except msgspec.MsgspecError:
            # After an upgrade in place a worker that was started again may say what this one does not know.
            message = MessagesLost()
        self._here.tell(message)

    def _lost(self) -> None:
        self._here.tell(MessagesLost())
