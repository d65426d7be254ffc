"""Asks Prometheus for the numbers that guards hold to their limits.

A look at a ramp never waits for it: a question is put when it is due, and the first look after its answer takes that
along. So a Prometheus that is slow, or gone, holds nothing else up.

Its HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fader_server.logs import logger
from fader_server.outgoing import Outgoing, Reply, Unanswered
from fader_server.ramps.plan import PrometheusGuard
from fader_server.storage.records import Ramp

_log = logger(__name__)

_WITHIN: Final = 5.0
"""Seconds that an answer may take."""

_REMEMBERED: Final = 2 * 3600.0
"""Seconds after which a question is forgotten that nobody has asked again: its ramp is over, or another server leads.
Longer than any guard waits between two."""


class _Asked(Struct, frozen=True):
    began: float
    answer: asyncio.Task[float | None]
    is_taken: bool = False


class Prometheus:
    """One that guards can ask.

    Args:
        outgoing: By what.
        url: Its own, without a slash at the end.
        token: What it wants to be shown, if anything.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        url: str,
        token: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outgoing = outgoing
        self._url = f"{url}/api/v1/query"
        self._headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._monotonic = monotonic
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._trouble: dict[tuple[str, str], str] = {}

    async def answers(self, ramp: Ramp) -> Mapping[str, float | None]:
        """What it has answered since this was asked last, by guards' ids; ``None`` where it could not. What is due is
        asked for."""
        now = self._monotonic()
        found: dict[str, float | None] = {}
        for guard in ramp.plan.prometheus:
            place = ramp.id, guard.id
            asked = self._asked.get(place)
            if asked is not None and asked.answer.done() and not asked.is_taken:
                asked = self._asked[place] = replace(asked, is_taken=True)
                if now - asked.began < guard.every_seconds + _WITHIN:  # else this server has not led meanwhile
                    found[guard.id] = asked.answer.result()
            if asked is None or (asked.is_taken and now - asked.began >= guard.every_seconds):
                self._forget_old(now)
                self._asked[place] = _Asked(now, asyncio.create_task(self._ask(place, guard)))
        return found

    def _forget_old(self, now: float) -> None:
        for place in [place for place, asked in self._asked.items() if now - asked.began > _REMEMBERED]:
            del self._asked[place]
            self._trouble.pop(place, None)

    async def _ask(self, place: tuple[str, str], guard: PrometheusGuard) -> float | None:
        body = urlencode({"query": guard.query, "timeout": f"{_WITHIN:g}s"}).encode()
        try:
            # Its turn has to come within that time as well, where many are asked and do not answer.
            async with asyncio.timeout(_WITHIN):
                value = value_in(await self._outgoing.post(self._url, self._headers, body, within=_WITHIN))
        except (Unanswered, ValueError, TimeoutError) as error:
            trouble = error if str(error) else Unanswered(f"it did not answer within {_WITHIN:g} s")
            if self._trouble.get(place) != str(trouble):  # once is enough for what happens again and again
                self._trouble[place] = str(trouble)
                _log.warning("Prometheus could not be asked", ramp=place[0], guard=guard.id, why=str(trouble))
            return None
        self._trouble.pop(place, None)
        return value


class _Sample(Struct):
    value: tuple[float, str]


class _Data(Struct):
    resultType: str  # noqa: N815 (the protocol's name)
    result: msgspec.Raw


class _Answer(Struct):
    status: Literal["success", "error"]
    data: _Data | None = None
    error: str = ""


_answers: Final = msgspec.json.Decoder(_Answer)


def value_in(reply: Reply) -> float:
    """The one number that an answer holds: a scalar, or a vector of one sample.

    Raises:
        ValueError: saying why it cannot be told, such as a vector of none, or of several, or "not a number".
    """
    try:
        answer = _answers.decode(reply.body)
        if answer.data is None or answer.status != "success" or reply.status != 200:
            raise ValueError(answer.error or f"it answered with status {reply.status}")
        value = float(_text_in(answer.data))
    except msgspec.DecodeError:
        raise ValueError(f"it answered with status {reply.status}, and not as Prometheus does") from None
    if not math.isfinite(value):
        raise ValueError(f"the value is {value}")
    return value


def _text_in(data: _Data) -> str:
    if data.resultType == "scalar":
        return _decoded(data.result, tuple[float, str])[1]  # type: ignore[no-any-return]
    if data.resultType != "vector":
        raise ValueError(f"the query gives a {data.resultType}, and not one number")
    samples = _decoded(data.result, list[_Sample])
    if len(samples) != 1:
        mend = "sum() makes one of them" if samples else "there are no such series"
        raise ValueError(f"the query gives {len(samples)} numbers, and not one: {mend}")
    return samples[0].value[1]  # type: ignore[no-any-return]


def _decoded(raw: msgspec.Raw, of: Any) -> Any:
    return msgspec.json.decode(raw, type=of)
