"""One stream from its first byte to its end: bytes become events, events become the flags that are evaluated with."""

import math
import time
from collections.abc import Callable
from typing import TypeAlias

from fader.config import Timing
from fader.model import Change, Snapshot
from fader.payloads import PayloadError, read_news
from fader.plan import Outcome, Result
from fader.revisions import Verdict
from fader.sse import Event, EventParser, EventTooLargeError
from fader.transport import LARGEST_BODY, Failure, Stream, describe

Receive: TypeAlias = Callable[[Snapshot | Change], Verdict]
"""Takes what has come; says what became of it."""

_LONGEST_HEARTBEAT = 600.0


class StreamReader:
    """Follows one stream.

    Args:
        stream: An open stream with status 200.
        timing: How patient to be.
        receive: What to do with each snapshot and change.
        on_life: Called once, with the first byte.
        on_news: Called after each snapshot or change that made sense, with the milliseconds within which the server
            wants to hear of it.
        on_refusal: Called for each that did not, with the event's id and the reason.
    """

    def __init__(
        self,
        stream: Stream,
        timing: Timing,
        receive: Receive,
        on_life: Callable[[], None],
        on_news: Callable[[int], None],
        on_refusal: Callable[[str, str], None],
    ) -> None:
        self._stream = stream
        self._timing = timing
        self._receive = receive
        self._on_life = on_life
        self._on_news = on_news
        self._on_refusal = on_refusal
        self._parser = EventParser(LARGEST_BODY)
        self._silence = 2 * _heartbeat(stream.headers.get("Fader-Heartbeat"), timing.heartbeat)
        self.ask_afresh = False
        """Whether the next stream has to begin with a whole snapshot."""

    def run(self) -> Outcome:
        """Read until the stream ends, for whatever reason."""
        began = time.monotonic()
        try:
            first = self._stream.read(began + self._timing.first_byte)
        except TimeoutError:
            return Outcome(Result.BLOCKED, "the stream was opened but nothing comes through")
        except Failure as error:
            return Outcome(Result.FAILED, describe(error))
        if not first:
            return Outcome(Result.BLOCKED, "the stream ended before its first byte")
        self._on_life()
        outcome = self._follow(first)
        return outcome._replace(lived=time.monotonic() - began)

    def _follow(self, chunk: bytes) -> Outcome:
        event_since: float | None = None
        while chunk:
            now = time.monotonic()
            try:
                for event in self._parser.feed(chunk):
                    event_since = None
                    if event.name == "goodbye":
                        return Outcome(Result.ENDED, wait=self._parser.retry)
                    self._take(event)
                    if self.ask_afresh:
                        return Outcome(Result.FAILED, "changes are missing, so a whole snapshot is needed")
            except (PayloadError, EventTooLargeError) as error:
                return Outcome(Result.FAILED, f"bad data: {error}", phase="bad data")
            event_since = (event_since or now) if self._parser.pending else None
            until = now + self._silence
            if event_since is not None:
                until = min(until, event_since + self._timing.event)
            try:
                chunk = self._stream.read(until)
            except Failure as error:
                return Outcome(Result.FAILED, describe(error))
        return Outcome(Result.ENDED, wait=self._parser.retry)

    def _take(self, event: Event) -> None:
        try:
            news = read_news(event.name, event.data)
            if news is None:
                return
            verdict = self._receive(news.content)
        except PayloadError as error:
            self._on_refusal(event.id, str(error))
            raise
        except Exception as error:
            # Our own mistake, of which whoever waits for this revision has to hear all the same.
            self._on_refusal(event.id, f"unexpected {type(error).__name__}")
            raise
        if verdict is Verdict.ASK_AFRESH:
            self.ask_afresh = True
        else:
            self._on_news(news.ack_within_ms)


def _heartbeat(header: str | None, default: float) -> float:
    try:
        seconds = float(header or "")
    except ValueError:
        return default
    return min(seconds, _LONGEST_HEARTBEAT) if seconds > 0 and math.isfinite(seconds) else default
