"""What this server asks of others, over HTTP: beside the event loop, bounded in time and in bytes.

Redirects are not followed: whoever was named is asked, and nobody else is shown what was meant for it.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote

from urllib3.util import make_headers, parse_url

from fader.tls import client_context
from fader.trust import proxy_before
from fader.wire import Failure, Wire
from fader_server import __version__

_AT_ONCE: Final = 8
_LARGEST_ANSWER: Final = 1024 * 1024

_T = TypeVar("_T")


class Reply(NamedTuple):
    """An answer that has been read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unanswered(Exception):  # noqa: N818 (reads as what happened)
    """There was no answer that could be read; the text says why, and never which URL it was: that may be a secret."""


class Outgoing:
    """Requests that are under way.

    Each has a connection of its own. They are rare, and then nothing is left behind that somebody could have closed.
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._wires: set[Wire] = set()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, within: float) -> Reply:
        """Send something.

        Args:
            url: Where to. A user and a password in it are shown as such (RFC 7617), unless ``headers`` show something.
            headers: Of the request.
            body: Its content.
            within: Seconds that all of it may take.

        Raises:
            Unanswered: if there is no answer in time, or a larger one than anybody needs.
        """
        async with self._turns:
            return await _beside(lambda: self._exchange(url, headers, body, within))

    def close(self) -> None:
        """End all that is under way."""
        for wire in tuple(self._wires):
            wire.cut()

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes, within: float) -> Reply:
        over_by = time.monotonic() + within
        try:
            target = parse_url(url)
            proxy = proxy_before(url)
            is_secured = target.scheme == "https" or (proxy or "").startswith("https:")
            wire = Wire(proxy, _context() if is_secured else None, within)
        except Failure as failure:
            raise Unanswered(_told(failure)) from None
        self._wires.add(wire)
        answer = None
        try:
            sent = {"User-Agent": f"fader/{__version__}", **headers}
            if target.auth:
                sent.setdefault("Authorization", make_headers(basic_auth=unquote(target.auth))["authorization"])
            plain = target._replace(auth=None).url
            answer = wire.exchange("POST", plain, sent, within=within, over_by=over_by, body=body)
            content = wire.read(answer, until=over_by, largest=_LARGEST_ANSWER)
            return Reply(answer.status, answer.headers, content)
        except Failure as failure:
            raise Unanswered(_told(failure)) from None
        finally:
            wire.finish(answer, keep=False)
            self._wires.discard(wire)


@cache
def _context() -> ssl.SSLContext:
    return client_context(None)


def _told(failure: BaseException) -> str:
    """Why, without what libraries quote: URLs, with what is secret in them."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "it did not answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, ssl.SSLError):
            return str(cause.reason or "TLS failed")
        cause = cause.__cause__ or cause.__context__
    return type(failure).__name__


async def _beside(work: Callable[[], _T]) -> _T:
    """Do something that blocks, in a thread that nobody waits for at the end of the process: a name that is being
    looked up cannot be interrupted."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, failure: BaseException | None) -> None:
        if done.cancelled():
            return
        if failure is None:
            done.set_result(result)  # type: ignore[arg-type]  # of the kind that work returns
        else:
            done.set_exception(failure)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 (it is raised where it is waited for)
            failure = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="outgoing", daemon=True).start()
    return await done
