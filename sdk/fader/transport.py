"""What an SDK asks of a server, as HTTP: paths, headers, time limits. What the answers mean is decided elsewhere."""

import math
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlencode

import urllib3
import urllib3.exceptions

from fader._version import __version__
from fader.config import Settings, Timing
from fader.trust import Trust
from fader.wire import Chores, Failure, Wire

__all__ = ["Answer", "Failure", "Report", "Stream", "Transport", "Word", "describe", "new_instance"]

Word: TypeAlias = Literal["ack", "goodbye"]
"""What a process tells of itself."""

Report: TypeAlias = Literal["outcomes", "usage"]
"""What it counts and hands in."""

LARGEST_BODY: Final = 256 * 1024 * 1024
"""Bytes of a snapshot or of one event beyond which the server is not believed. A million segment keys are 50 MB."""

_UNFIT_FOR_HEADER: Final = re.compile(r"[^A-Za-z0-9._:@/-]+")
_LONGEST_NAME: Final = 64
_OBJECT: Final = re.compile(r"^(?:<[^>]*>|\w+\(host=[^)]*\)): ")

# Looking a host up encodes its name with a codec that Python imports on first use. That must not happen on the
# daemon thread: a fork in that moment would leave the child with a held import lock.
"localhost".encode("idna")


def new_instance() -> str:
    """A name for this process, unlike any other's and still telling a person which host it is on."""
    return f"{_fit(socket.gethostname())[:40]}:{os.getpid()}:{os.urandom(6).hex()}"


class Answer(NamedTuple):
    """An answer that has been read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """An open stream. ``close`` must follow; other statuses than 200 have no bytes worth reading."""

    def __init__(self, wire: Wire, answer: urllib3.BaseHTTPResponse) -> None:
        self._wire = wire
        self._answer = answer
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers

    def read(self, until: float) -> bytes:
        """The bytes that come next, as soon as there are any; none at the stream's end.

        Args:
            until: When to give up, in seconds of ``time.monotonic``.

        Raises:
            TimeoutError: Nothing came in time.
            Exception: Another of ``Failure``.
        """
        self._wire.deadline = until
        try:
            return self._answer.read1(1 << 16)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TimeoutError("timed out waiting for the server") from error

    def close(self) -> None:
        """Close the connection."""
        self._wire.finish(self._answer, keep=False)


class Transport:
    """The connections of one client: one that listens for flags, one that tells the server things.

    It belongs to the daemon thread; ``stop_listening`` and ``close`` may be called from others.

    Args:
        settings: Whom to talk to, and as whom.
        trust: How to reach and to verify it.
        timing: How patient to be.
        instance: What ``new_instance`` returned for this process.
        chores: What to do while waiting for flags.

    Raises:
        OSError, ValueError: The certificates cannot be read or the proxy cannot be used.
    """

    def __init__(self, settings: Settings, trust: Trust, timing: Timing, instance: str, chores: Chores) -> None:
        self._settings = settings
        self._timing = timing
        self._instance = instance
        self._host = _fit(socket.gethostname())
        proxy, context = trust.proxy(), trust.context()
        self._listening = Wire(proxy, context, timing.connect, chores)
        self._reporting = Wire(proxy, context, min(timing.connect, timing.usage_post))

    def stream(self, version: str | None, node: str) -> Stream:
        """Open a stream.

        Args:
            version: What to go on from; ``None`` for a whole snapshot.
            node: Which node served the last stream, or nothing.
        """
        headers = self._headers()
        if node:
            headers["Fader-Node"] = node
        headers |= {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
        if version is not None:
            headers["Last-Event-ID"] = version
        url = f"{self._settings.url}/sdk/v1/stream"
        try:
            answer = self._listening.exchange("GET", url, headers, within=self._timing.first_byte)
        except Failure:
            self._listening.finish(None, keep=False)
            raise
        return Stream(self._listening, answer)

    def snapshot(self, version: str | None) -> Answer:
        """Ask for the snapshot, unless it still is ``version``."""
        headers = self._headers()
        headers |= {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if version is not None:
            headers["If-None-Match"] = f'"{version}"'
        url = f"{self._settings.url}/sdk/v1/snapshot"
        return self._ask(self._listening, "GET", url, headers, self._timing.first_byte, self._timing.event)

    def report(self, what: Report, payload: bytes, within: float) -> Answer:
        """Hand something in, in ``within`` seconds at most."""
        return self._post(what, payload, within, over_by=math.inf)

    def tell(self, word: Word, payload: bytes, within: float) -> Answer:
        """Say something of this process, in ``within`` seconds at most, connecting included."""
        return self._post(word, payload, within, over_by=time.monotonic() + within)

    def members(self, segment: str, which: Mapping[str, str], first: int, last: int, within: float) -> Answer:
        """Ask for a part of a segment's list of members, beside the stream.

        Args:
            segment: Its key.
            which: The list and its version, as the query's parameters.
            first: Its first byte.
            last: Its last byte.
            within: Seconds that it may take, connecting included.
        """
        headers = self._headers()
        headers |= {
            "Accept": "application/octet-stream",
            "Accept-Encoding": "identity",
            "Range": f"bytes={first}-{last}",
        }
        url = f"{self._settings.url}/sdk/v1/members?{urlencode({'segment': segment, **which})}"
        over_by = time.monotonic() + within
        return self._ask(self._reporting, "GET", url, headers, within, within, over_by=over_by)

    def stop_listening(self) -> None:
        """Cut the stream, or the poll, that is under way, at once and for good. Reporting is still possible."""
        self._listening.cut()

    def close(self) -> None:
        """Cut everything."""
        self._listening.cut()
        self._reporting.cut()

    def abandon(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        self._listening.abandon()
        self._reporting.abandon()

    def _post(self, path: str, payload: bytes, within: float, *, over_by: float) -> Answer:
        headers = self._headers() | {"Content-Type": "application/json", "Accept": "application/json"}
        url = f"{self._settings.url}/sdk/v1/{path}"
        return self._ask(self._reporting, "POST", url, headers, within, within, payload, over_by=over_by)

    def _ask(
        self,
        wire: Wire,
        method: str,
        url: str,
        headers: dict[str, str],
        head_within: float,
        body_within: float,
        body: bytes | None = None,
        over_by: float = math.inf,
    ) -> Answer:
        answer = None
        complete = False
        try:
            answer = wire.exchange(method, url, headers, within=head_within, over_by=over_by, body=body)
            until = min(time.monotonic() + body_within, over_by)
            content = wire.read(answer, until=until, largest=LARGEST_BODY)
            complete = True
            return Answer(answer.status, answer.headers, content)
        finally:
            wire.finish(answer, keep=complete)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self._settings.current_key()}",
            "User-Agent": f"fader-python/{__version__}",
            "Fader-Instance": self._instance,
        }
        named = {"Fader-App": _fit(self._settings.app), "Fader-Host": self._host}
        return headers | {name: value for name, value in named.items() if value}


def describe(error: BaseException) -> str:
    """An error's cause in one line, without the library's objects in front."""
    return _OBJECT.sub("", " ".join(str(error).split())) or type(error).__name__


def _fit(name: str) -> str:
    """A name as a header can carry it: other characters are dropped, and so is what is too long."""
    return _UNFIT_FOR_HEADER.sub("", name)[:_LONGEST_NAME]
