"""What a client is told: arguments first, the environment for the rest, then the defaults.

A wrong argument is a programmer's mistake and raises where it is made. A wrong variable of the environment must not
take an application down: it is reported once, in the log, and the default is used.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from msgspec import UNSET, Struct, UnsetType

DEFAULT_URL: Final = "http://127.0.0.1:8080"

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
_NO_CACHE = frozenset({"", "off"})
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 86_400.0

T = TypeVar("T")


class Timing(Struct, frozen=True, kw_only=True):
    """How patient a client is, in seconds. Not a setting: these are part of how SDKs and servers get along, and
    only tests have a reason to choose others."""

    connect: float = 10.0
    """To reach the server, TLS included."""
    first_byte: float = 15.0
    """From the request to the answer's head, and from there to a stream's first byte."""
    heartbeat: float = 15.0
    """The interval of heartbeats where the server does not tell; silence of two is a dead connection."""
    event: float = 60.0
    """From the first byte of an event, or of an answer, to its last: a drip of bytes is no life sign."""
    backoff_first: float = 1.0
    backoff_longest: float = 30.0
    slow_retry: float = 300.0
    """After 401, 403, 404 and 405, which no haste will mend."""
    retry_after_longest: float = 600.0
    healthy: float = 60.0
    """How long a stream must live to count as healthy and to forget earlier failures."""
    stream_again: float = 300.0
    """How long to poll before streaming is tried again where streams do not get through."""
    usage_flush: float = 60.0
    outcomes_flush: float = 5.0
    """Guards are looked at as often."""
    usage_post: float = 5.0
    """What a report may take: flags wait behind it, on the same thread."""
    grace: float = 10.0
    """For how long the server may be out of hearing before listeners are told: load balancers cut streams all day, and
    a server that is restarted asks its clients to come back within some seconds."""
    members_part: float = 2.0
    """What a part of a long list may take: flags wait behind it, too."""
    members_write: float = 600.0
    """The least time between two writes of a long list to the disk: from an older one to the present it is not far."""
    cache_write: float = 5.0
    """The least time between two writes of the disk copy."""
    ack_post: float = 1.0
    """What an acknowledgement may take, connecting included: flags wait behind it, on the same thread. A second is what
    a TLS connection needs across the world if a packet is lost on the way, and what a change may be late for once."""
    ack_window: float = 60.0
    """The longest that a server may have acknowledgements spread over."""
    close: float = 1.5
    """What closing may take, the goodbye and the last report of usage included."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that a client is told. ``settings`` makes one; its text form hides the key."""

    url: str = DEFAULT_URL
    sdk_key: str = ""
    sdk_key_file: Path | None = None
    app: str = ""
    cache_dir: Path | None = None
    streaming: bool = True
    poll_interval: float = 10.0
    usage: bool = True
    offline: bool = False
    ca_file: Path | None = None
    problems: tuple[str, ...] = ()
    """What was wrong with the environment, one sentence each, fit for the log."""

    def __repr__(self) -> str:
        return f"Settings(url={self.url!r}, app={self.app!r})"

    def current_key(self) -> str:
        """The SDK key as it is now: a key from a file is read again, so that rotating it needs no restart.

        Raises:
            OSError: The file cannot be read.
            ValueError: What it holds cannot be a key.
        """
        if self.sdk_key_file is None:
            return self.sdk_key
        return _key(self.sdk_key_file.read_text("utf-8", "replace"))


def settings(
    *,
    url: str | None = None,
    sdk_key: str | None = None,
    app: str | None = None,
    cache_dir: str | os.PathLike[str] | UnsetType | None = UNSET,
    streaming: bool | None = None,
    poll_interval: float | None = None,
    usage: bool | None = None,
    offline: bool | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Combine arguments and environment; ``Client`` describes each of them.

    Raises:
        ValueError: An argument is wrong. Wrong variables are listed in ``problems`` instead.
    """
    read = _Environment(os.environ if environ is None else environ)
    key_file = None
    if sdk_key is None:
        key_file = read("FADER_SDK_KEY_FILE", Path, None) if not read.has("FADER_SDK_KEY") else None
        key = read("FADER_SDK_KEY", _key, "")
        if key_file is not None:
            try:
                key = _key(key_file.read_text("utf-8", "replace"))
            except (OSError, ValueError) as error:
                read.problems.append(f"FADER_SDK_KEY_FILE: {error}")
    else:
        key = _argument("sdk_key", _key, sdk_key)
    is_offline = read("FADER_OFFLINE", _boolean, False) if offline is None else bool(offline)
    if not key and key_file is None and not is_offline:
        is_offline = True
        read.problems.append("no SDK key is set (FADER_SDK_KEY), so every flag gives its default")
    return Settings(
        url=read("FADER_URL", _url, DEFAULT_URL) if url is None else _argument("url", _url, url),
        sdk_key=key,
        sdk_key_file=key_file,
        app=read("FADER_APP", _app, "") if app is None else _argument("app", _app, app),
        cache_dir=_cache_dir(cache_dir, read),
        streaming=read("FADER_STREAMING", _boolean, True) if streaming is None else bool(streaming),
        poll_interval=read("FADER_POLL_INTERVAL", _interval, 10.0)
        if poll_interval is None
        else _argument("poll_interval", _interval, poll_interval),
        usage=read("FADER_USAGE", _boolean, True) if usage is None else bool(usage),
        offline=is_offline,
        ca_file=read("FADER_CA_FILE", Path, None) if ca_file is None else Path(ca_file),
        problems=tuple(read.problems),
    )


class _Environment:
    """Reads variables; what cannot be read is noted in ``problems`` and replaced by the default. Empty is unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def has(self, name: str) -> bool:
        return bool(self._environ.get(name))

    def raw(self, name: str) -> str | None:
        return self._environ.get(name)

    def __call__(self, name: str, read: Callable[[str], T], default: T) -> T:
        text = self._environ.get(name)
        if not text:
            return default
        try:
            return read(text)
        except ValueError as error:
            self.problems.append(f"{name} is ignored: {error}")
            return default


def _argument(name: str, read: Callable[[T], T], value: T) -> T:
    try:
        return read(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from None


def _url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError('must look like "https://flags.example.org"')
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or a password")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    _ = parts.port  # raises ValueError where the port is not a number
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _key(text: str) -> str:
    key = text.strip()
    # The text of the error must not hold the key, not even a wrong one.
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("an SDK key has printable ASCII characters only, and no spaces")
    return key


def _app(text: str) -> str:
    return text.strip()


def _boolean(text: str) -> bool:
    folded = text.strip().lower()
    if folded not in _YES | _NO:
        raise ValueError("must be 1 or 0")
    return folded in _YES


def _interval(value: str | float) -> float:
    seconds = float(value)
    if not _SHORTEST_POLL <= seconds <= _LONGEST_POLL:
        raise ValueError(f"must be between {_SHORTEST_POLL:g} and {_LONGEST_POLL:g} seconds")
    return seconds


def _cache_dir(argument: str | os.PathLike[str] | UnsetType | None, read: _Environment) -> Path | None:
    if argument is not UNSET:
        return None if argument is None or str(argument) in _NO_CACHE else Path(argument)
    text = read.raw("FADER_CACHE_DIR")
    if text is not None:
        return None if text in _NO_CACHE else Path(text)
    return _user_cache_dir(read)


def _user_cache_dir(read: _Environment) -> Path | None:
    """Where this platform keeps what programs may lose, or ``None`` for a user without a home."""
    try:
        if sys.platform == "win32":
            base = read.raw("LOCALAPPDATA")
            return Path(base) / "fader" / "cache" if base else None
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "fader"
        base = read.raw("XDG_CACHE_HOME")
        # The XDG specification: a relative path is invalid and is to be ignored.
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "fader"
    except RuntimeError:
        return None
