"""What an SDK asks of a server, as HTTP: paths, headers, time limits. What the answers mean is decided elsewhere."""

import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import urllib3
import urllib3.exceptions

from fader._version import __version__
from fader.config import Settings, Timing
from fader.trust import Trust
from fader.wire import Chores, Failure, Wire

__all__ = ["Answer", "Failure", "Stream", "Transport", "describe", "new_instance"]

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
    """The connections of one client: one that listens for flags, one that reports usage.

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
        proxy, context = trust.proxy(), trust.context()
        self._listening = Wire(proxy, context, timing.connect, chores)
        self._reporting = Wire(proxy, context, min(timing.connect, timing.usage_post))

    def stream(self, version: str | None) -> Stream:
        """Open a stream that goes on from ``version``, or from a whole snapshot if that is ``None``."""
        headers = self._headers()
        headers |= {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
        if version is not None:
            headers["Last-Event-ID"] = version
        url = f"{self._settings.url}/sdk/v1/stream"
        return Stream(self._listening, self._listening.exchange("GET", url, headers, within=self._timing.first_byte))

    def snapshot(self, version: str | None) -> Answer:
        """Ask for the snapshot, unless it still is ``version``."""
        headers = self._headers()
        headers |= {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if version is not None:
            headers["If-None-Match"] = f'"{version}"'
        url = f"{self._settings.url}/sdk/v1/snapshot"
        return self._ask(self._listening, "GET", url, headers, self._timing.first_byte, self._timing.event)

    def report(self, payload: bytes, within: float) -> Answer:
        """Hand in usage counts, in ``within`` seconds at most."""
        headers = self._headers() | {"Content-Type": "application/json", "Accept": "application/json"}
        url = f"{self._settings.url}/sdk/v1/usage"
        return self._ask(self._reporting, "POST", url, headers, within, within, payload)

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

    def _ask(
        self,
        wire: Wire,
        method: str,
        url: str,
        headers: dict[str, str],
        head_within: float,
        body_within: float,
        body: bytes | None = None,
    ) -> Answer:
        answer = None
        complete = False
        try:
            answer = wire.exchange(method, url, headers, within=head_within, body=body)
            content = wire.read(answer, until=time.monotonic() + body_within, largest=LARGEST_BODY)
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
        app = _fit(self._settings.app)
        if app:
            headers["Fader-App"] = app
        return headers


def describe(error: BaseException) -> str:
    """An error's cause in one line, without the library's objects in front."""
    return _OBJECT.sub("", " ".join(str(error).split())) or type(error).__name__


def _fit(name: str) -> str:
    """A name as a header can carry it: other characters are dropped, and so is what is too long."""
    return _UNFIT_FOR_HEADER.sub("", name)[:_LONGEST_NAME]
