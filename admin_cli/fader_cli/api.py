"""The admin API over HTTP: paths in, documents out, problems as errors that scripts can tell apart."""

import copy
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import msgspec
import urllib3

from fader._version import __version__
from fader.backoff import retry_after
from fader.config import Settings
from fader.sse import EventParser
from fader.trust import Trust
from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode
from fader_cli.retries import PassingFault, Retries

TIMEOUT: Final = 15.0
_TRANSFER: Final = 120.0
"""The same for a file of a million lines, or of a thousand flags."""
_SILENCE: Final = 45.0
"""Seconds after which a stream that says nothing, not even a heartbeat, is given up."""
_LARGEST_EVENT: Final = 16 * 1024 * 1024

_IN_HEADER: Final = re.compile(r"[!-~]*")

_CODES: Final = {
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
}
_PASSING: Final = frozenset({429, 502, 503, 504})
_STILL_RUNNING: Final = "urn:fader:problem:still-running"
_LONGEST_WAIT: Final = 24 * 3600.0

_LISTS: Final = {"flag": "fader list", "segment": "fader segment list", "environment": "fader env list"}
"""What lists those that there are, when the one asked for is not among them."""


def path_of(*parts: str) -> str:
    """A path below ``/api/v1``, each part quoted."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _pool(url: str, timeout: float) -> urllib3.PoolManager:
    """Connections by way of the same proxy, and with the same certificates, as the SDK's."""
    ca_file = os.environ.get("FADER_CA_FILE")
    trust = Trust(Settings(url=url, ca_file=Path(ca_file) if ca_file else None))
    try:
        proxy, context = trust.proxy(), trust.context()
    except (OSError, ValueError) as error:
        raise usage_error(f"cannot connect to {url}: {error}", "see FADER_CA_FILE and HTTPS_PROXY") from None
    if proxy is None:
        return urllib3.PoolManager(retries=False, timeout=timeout, ssl_context=context)
    return urllib3.ProxyManager(proxy, retries=False, timeout=timeout, ssl_context=context, proxy_ssl_context=context)


class _Page(msgspec.Struct):
    """A part of a list."""

    items: list[Any]
    next_cursor: str | None


class Api:
    """A server's admin API.

    Args:
        url: The server's address.
        token: An admin token.
        timeout: Seconds that an answer may take.
        retries: How requests are tried again; by default, not at all.

    Raises:
        CliError: if that cannot be an address, or a token.
    """

    def __init__(self, url: str, token: str, timeout: float = TIMEOUT, retries: Retries | None = None) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise usage_error(f"{url!r} is not an address", "write it like https://flags.example.org")
        if not _IN_HEADER.fullmatch(token):
            raise CliError(
                "this admin token holds characters that no token has",
                "copy all of it, and nothing else",
                ExitCode.NOT_ALLOWED,
            )
        self._headers = {
            "Authorization": f"Bearer {token}",
            "User-Agent": f"fader-cli/{__version__}",
            "Accept": "application/json",
        }
        self._timeout = timeout
        self._retries = retries or Retries()
        self._pool = _pool(self.url, timeout)

    def __repr__(self) -> str:
        return f"Api({self.url!r})"

    def within(self, seconds: float, *, retry_for: float = 0.0) -> Self:
        """The same server, for somebody who is in a hurry.

        Args:
            seconds: That an answer may take.
            retry_for: Seconds for which a request is tried again, without a word about it.
        """
        hurried = copy.copy(self)
        hurried._timeout, hurried._retries = seconds, Retries(retry_for)  # noqa: SLF001 (one of us)
        return hurried

    def get(self, path: str, **query: Any) -> Any:
        """Read."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """Make, or do."""
        return self._call("POST", path, body=dict(body or {}), query=query)

    def transfer(self, path: str, body: Mapping[str, Any], **query: Any) -> Any:
        """Do something with a large document, which may take longer than other requests."""
        payload = msgspec.json.encode(body)
        return self._document(self._exchange("POST", path, query, payload, "application/json", timeout=_TRANSFER))

    def put(self, path: str, body: Mapping[str, Any], **query: Any) -> Any:
        """Replace."""
        return self._call("PUT", path, body=dict(body), query=query)

    def upload(self, path: str, content: bytes, *, if_match: str | None = None, **query: Any) -> Any:
        """Replace by a file of plain text, which may take longer than other requests."""
        headers = {} if if_match is None else {"If-Match": if_match}
        return self._document(
            self._exchange("PUT", path, query, content, "text/plain", headers=headers, timeout=_TRANSFER)
        )

    def download(self, path: str) -> tuple[bytes, str | None]:
        """Read as plain text, with its tag."""
        answer = self._exchange("GET", path, {}, headers={"Accept": "text/plain"}, timeout=_TRANSFER)
        return answer.data, answer.headers.get("ETag")

    def patch(self, path: str, body: Mapping[str, Any], **query: Any) -> Any:
        """Change some fields."""
        return self._call("PATCH", path, body=dict(body), query=query)

    def delete(self, path: str, **query: Any) -> Any:
        """Remove."""
        return self._call("DELETE", path, query=query)

    def pages(self, path: str, most: int | None = None, **query: Any) -> list[Any]:
        """All items of a list, or the first ``most``."""
        items: list[Any] = []
        cursor = None
        while True:
            wanted = 500 if most is None else min(500, most - len(items))
            try:
                page = msgspec.convert(self.get(path, **query, limit=wanted, cursor=cursor), _Page)
            except msgspec.ValidationError:
                raise self._stranger() from None
            items += page.items
            cursor = page.next_cursor
            if cursor is None or (most is not None and len(items) >= most):
                return items

    def events(self, path: str, last_id: str | None = None, **query: Any) -> Iterator[tuple[str, Any]]:
        """Follow an event stream until it ends: each event's name and document.

        An event named ``open`` comes first, when the server has answered.

        Raises:
            CliError: if the server refuses, or the connection is lost.
        """
        headers = self._headers | {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        try:
            answer = self._pool.request(
                "GET",
                self._url(path, query),
                headers=headers,
                preload_content=False,
                timeout=urllib3.Timeout(connect=TIMEOUT, read=_SILENCE),
            )
            if answer.status != 200:
                raise self._refusal(answer, answer.read())
            yield "open", None
            parser = EventParser(_LARGEST_EVENT)
            while part := answer.read1(65_536):
                for event in parser.feed(part):
                    yield event.name, msgspec.json.decode(event.data) if event.data else None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None

    def _call(self, method: str, path: str, *, query: Mapping[str, Any], body: Mapping[str, Any] | None = None) -> Any:
        payload = None if body is None else msgspec.json.encode(body)
        return self._document(self._exchange(method, path, query, payload, "application/json"))

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        payload: bytes | None = None,
        media_type: str = "",
        **more: Any,
    ) -> urllib3.BaseHTTPResponse:
        url, headers = self._url(path, query), self._headers | more.get("headers", {})
        limit = more.get("timeout", self._timeout)
        if method != "GET":
            # One for all tries, by which the server knows what it has done already.
            headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
        if payload is not None:
            headers["Content-Type"] = media_type

        def once(seconds_left: float) -> urllib3.BaseHTTPResponse:
            timeout = min(limit, seconds_left)
            try:
                answer = self._pool.request(method, url, body=payload, headers=headers, timeout=timeout)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._unreachable(error) from None
            if answer.status >= 300:
                raise self._refusal(answer, answer.data)
            return answer

        return self._retries.run(once)

    def _document(self, answer: urllib3.BaseHTTPResponse) -> Any:
        if answer.status == 204:
            return None
        try:
            return msgspec.json.decode(answer.data, type=dict[str, Any])
        except msgspec.DecodeError:  # of which ValidationError is one
            raise self._stranger() from None

    def _url(self, path: str, query: Mapping[str, Any]) -> str:
        given = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in query.items()
            if value is not None
        }
        return f"{self.url}/api/v1{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")

    def _stranger(self) -> CliError:
        return CliError(f"what answers at {self.url} is not a Fader server", "check --url", ExitCode.UNREACHABLE)

    def _unreachable(self, error: Exception) -> CliError:
        reason = str(getattr(error, "reason", None) or error)
        mend = "is the server running? Is --url right?"
        if "refused" in reason:
            reason = "nothing listens there"
        elif "timed out" in reason.lower():
            reason = "it does not answer in time"
        elif "Temporary failure in name resolution" in reason:
            reason = "the names of hosts cannot be looked up"
        elif "resolve" in reason.lower() or "Name or service" in reason:
            return self._no_server("there is no host of that name", mend)
        elif "CERTIFICATE_VERIFY_FAILED" in reason:
            return self._no_server("its certificate is not trusted", "FADER_CA_FILE names those to trust")
        elif "WRONG_VERSION_NUMBER" in reason:
            return self._no_server("it does not speak HTTPS", "is it http:// ?")
        return PassingFault(f"cannot reach {self.url}: {reason}", mend)

    def _no_server(self, reason: str, mend: str) -> CliError:
        return CliError(f"cannot reach {self.url}: {reason}", mend, ExitCode.UNREACHABLE)

    def _refusal(self, answer: urllib3.BaseHTTPResponse, body: bytes) -> CliError:
        status = answer.status
        code = _CODES.get(status, ExitCode.FAILED)
        wait = retry_after(answer.headers.get("Retry-After"), time.time(), _LONGEST_WAIT)
        try:
            problem = msgspec.json.decode(body, type=dict[str, Any])
            message, hint = str(problem["detail"]), problem.get("hint")
        except (msgspec.DecodeError, msgspec.ValidationError, KeyError):
            message, hint = f"{self.url} answers with status {status}, and not as a Fader server would", "check --url"
            # A proxy whose server is away speaks for itself.
            return PassingFault(message, hint, None, wait) if status in _PASSING else CliError(message, hint, code)
        if status in _PASSING or problem.get("type") == _STILL_RUNNING:
            return PassingFault(message.rstrip("."), hint, problem, wait)
        if status == 401:
            hint = "sign in with `fader login`"
        elif status == 404 and hint is None:
            hint = next((f"see `{command}`" for noun, command in _LISTS.items() if f" {noun} '" in message), None)
        elif status == 409 and hint is not None:
            hint = hint.replace("say force=true", "add --force")  # as it is said here
        others = [error for error in problem.get("errors", []) if error.get("field") != problem.get("field")]
        if others:
            message = "; ".join(f"{error['field']}: {error['detail']}" for error in problem.get("errors", []))
        return CliError(message.rstrip("."), hint, code, problem)


def wait_a_moment(attempt: int) -> None:
    """Pause before connecting anew: a second, then two, at most five."""
    time.sleep(min(1 + attempt, 5))
