"""The metrics of a whole node, whichever worker is asked: it asks the others, and makes one text of it all."""

import asyncio
import itertools
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from fader_server.telemetry import Metrics
from fader_server.telemetry.exposition import MEDIA_TYPES, TextFormat, merged, wanted_format
from fader_server.workers.link import Link

_CHANNEL: Final = "metrics"

_PATIENCE_SECONDS: Final = 1.0
"""How long to wait for another worker. Whoever has not answered by then has no series in this answer."""


class _Question(Struct, frozen=True, tag=True):
    asker: int
    number: int
    text_format: TextFormat


class _Answer(Struct, frozen=True, tag=True):
    number: int
    worker: int
    text: bytes


_Message: TypeAlias = _Question | _Answer


class _Gathered:
    """What the others have answered to one question."""

    def __init__(self, asked: frozenset[int]) -> None:
        self.texts: dict[int, bytes] = {}
        self.is_complete = asyncio.Event()
        self._missing = set(asked)

    def add(self, answer: _Answer) -> None:
        self.texts[answer.worker] = answer.text
        self._missing.discard(answer.worker)
        if not self._missing:
            self.is_complete.set()


class NodeMetrics:
    """Asks, and answers when others ask.

    Args:
        link: What ties this worker to the others.
        metrics: This worker's own.
    """

    def __init__(self, link: Link, metrics: Metrics) -> None:
        self._link = link
        self._metrics = metrics
        self._numbers = itertools.count()
        self._gathering: dict[int, _Gathered] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[_Message] = msgspec.msgpack.Decoder(_Message)
        link.listen(_CHANNEL, self._heard, lambda: None)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """As :meth:`Metrics.exposition`, of all workers of the node: their series differ in the label ``worker``."""
        text_format = wanted_format(accept)
        number, peers = next(self._numbers), self._link.peers
        gathered = self._gathering[number] = _Gathered(peers)
        try:
            if peers:
                self._link.say(_CHANNEL, self._encoder.encode(_Question(self._link.worker, number, text_format)))
            own = await self._metrics.text(text_format, self._link.worker)
            if peers:
                await _in_time(gathered.is_complete)
        finally:
            del self._gathering[number]
        texts = gathered.texts | {self._link.worker: own}
        whole = await asyncio.to_thread(merged, [texts[worker] for worker in sorted(texts)], text_format)
        return whole, MEDIA_TYPES[text_format]

    def _heard(self, body: bytes) -> None:
        try:
            message = self._decoder.decode(body)
        except msgspec.MsgspecError:  # of a worker that was started again after an upgrade in place
            return
        if isinstance(message, _Question):
            answering = asyncio.get_running_loop().create_task(self._answer(message))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
        elif message.number in self._gathering:
            self._gathering[message.number].add(message)

    async def _answer(self, question: _Question) -> None:
        text = await self._metrics.text(question.text_format, self._link.worker)
        answer = _Answer(question.number, self._link.worker, text)
        self._link.say(_CHANNEL, self._encoder.encode(answer), to=question.asker)


async def _in_time(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await event.wait()
    except TimeoutError:
        pass
