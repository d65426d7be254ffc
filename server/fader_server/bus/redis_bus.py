"""The bus between servers, through Redis: publish and subscribe (https://redis.io/docs/latest/develop/pubsub/).

What a server says reaches its own subscribers directly, and those of other servers through Redis. Redis may be away
for as long as it likes: the server goes on, finds what others have written by asking the database more often, and
comes back by itself.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Generic

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from fader_server.bus import MessagesLost, MessageT
from fader_server.bus.in_process import InProcessBus
from fader_server.bus.mailbox import Mailbox
from fader_server.logs import logger
from fader_server.redis_client import FAULTS
from fader_server.telemetry import Metrics

_log = logger(__name__)

_QUIET_SECONDS: Final = 1.0
"""After so long without a message, the connection must show that it lives."""
_SILENT_SECONDS: Final = 3.0
"""After so long without a sign of life, it is dead: a connection may break without anybody being told."""
_AGAIN_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
"""Waits between attempts; the last one is repeated."""


class _Envelope(msgspec.Struct, frozen=True):
    """A message with its sender, who has told its own subscribers already."""

    sender: str
    message: msgspec.Raw


class RedisBus(Generic[MessageT]):
    """Implements :class:`fader_server.bus.Bus` for several servers.

    Args:
        client: Redis. Its timeouts bound how long a fault stays unnoticed.
        channel: what servers that belong together share; one for each family of messages.
        of: the family: the struct, or the union of structs, that ``MessageT`` stands for.
        metrics: where messages are counted.
    """

    def __init__(self, client: Redis, channel: str, *, of: Any, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._has_heard = False
        self._client = client
        self._channel = channel
        self._node = secrets.token_hex(8)
        self._decoder: msgspec.json.Decoder[MessageT | MessagesLost] = msgspec.json.Decoder(of | MessagesLost)
        self._here: InProcessBus[MessageT] = InProcessBus()
        self._outgoing: Mailbox[MessageT] = Mailbox()
        self._hears = False
        self._is_heard = True
        self._said: bool | None = None

    @property
    def hears_all(self) -> bool:
        """Whether Redis answers in both directions."""
        return self._hears and self._is_heard

    async def publish(self, message: MessageT) -> None:
        """Tell our own subscribers at once, and those of other servers as soon as Redis takes it."""
        await self._here.publish(message)
        self._outgoing.put(message)

    async def publish_here(self, message: MessageT) -> None:
        """Tell our own subscribers only."""
        await self._here.publish(message)

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[MessageT | MessagesLost]]:
        """What this server and others say, from entering the context on."""
        return self._here.subscribe()

    async def close(self) -> None:
        """End all subscriptions. Others are told of what comes after it all the same, until ``running`` ends: requests
        that were under way may still write."""
        await self._here.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay connected for as long as the context is open."""
        chores = [asyncio.create_task(self._listen()), asyncio.create_task(self._send())]
        try:
            yield
        finally:
            # What was said last, such as that a key is revoked, should still get out.
            self._outgoing.close()
            await asyncio.wait(chores[1:], timeout=_QUIET_SECONDS)
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with self._client.pubsub() as connection:
                    await connection.subscribe(self._channel)
                    async for message in self._heard(connection):
                        failures = 0
                        self._metrics.bus_received()
                        await self._here.publish(message)
            except FAULTS as fault:
                self._note(hears=False, fault=fault)
                await self._here.publish(MessagesLost())
            await asyncio.sleep(_AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)])
            failures += 1

    async def _heard(self, connection: PubSub) -> AsyncIterator[MessageT | MessagesLost]:
        """Messages of others, for as long as the connection lives; and first of all, that some may have been lost.

        Raises:
            OSError: when it is dead.
        """
        clock = asyncio.get_running_loop().time
        last = clock()
        while True:
            received = await connection.get_message(timeout=_QUIET_SECONDS)
            if received is None:
                if clock() - last > _SILENT_SECONDS:
                    raise ConnectionError("it has gone silent")
                await connection.ping()
                continue
            last = clock()
            if received["type"] == "subscribe":
                self._note(hears=True)
                if self._has_heard:
                    self._metrics.bus_reconnected()
                self._has_heard = True
                yield MessagesLost()
            elif received["type"] == "message" and (message := self._opened(received["data"])) is not None:
                yield message

    def _opened(self, data: bytes) -> MessageT | MessagesLost | None:
        try:
            envelope = msgspec.json.decode(data, type=_Envelope)
            return None if envelope.sender == self._node else self._decoder.decode(envelope.message)
        except msgspec.MsgspecError:
            # A later version may say what this one does not know.
            return MessagesLost()

    async def _send(self) -> None:
        failures = 0
        async for message in self._outgoing.read():
            data = msgspec.json.encode(_Envelope(self._node, msgspec.Raw(msgspec.json.encode(message))))
            while True:
                try:
                    await self._client.publish(self._channel, data)
                    self._metrics.bus_published()
                    break
                except FAULTS as fault:
                    self._note(is_heard=False, fault=fault)
                    await asyncio.sleep(_AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)])
                    failures += 1
            failures = 0
            self._note(is_heard=True)

    def _note(
        self, *, hears: bool | None = None, is_heard: bool | None = None, fault: BaseException | None = None
    ) -> None:
        self._hears = self._hears if hears is None else hears
        self._is_heard = self._is_heard if is_heard is None else is_heard
        if self.hears_all and self._said is not True:
            _log.info("connected to Redis", channel=self._channel)
            self._said = True
        elif fault is not None and self._said is not False:
            _log.warning(
                "Redis does not answer; what other servers do is looked up in the database",
                channel=self._channel,
                why=f"{type(fault).__name__}: {fault}",
            )
            self._said = False
