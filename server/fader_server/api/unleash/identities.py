"""What processes with an Unleash SDK say of themselves, in headers whose names have grown over the years."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from fader_server.api.sdk.services import printable
from fader_server.clients import Identity
from fader_server.unleash.dialects import Dialect, dialect_of

_LONGEST_NAME: Final = 128
_REMEMBERED: Final = 10_000


class _Introduced(NamedTuple):
    sdk: str
    version: str


class Introductions:
    """What processes said when they registered, for those whose later requests do not say it again: SDKs from before
    2025 name themselves only then."""

    def __init__(self) -> None:
        self._sdks: dict[str, _Introduced] = {}

    def introduce(self, name: str, sdk: str) -> None:
        """A process has registered.

        Args:
            name: Its name, as ``instance_name`` makes it.
            sdk: Its SDK and the version of that, such as ``unleash-client-python:5.12.5``.
        """
        if not name or not sdk:
            return
        self._sdks.pop(name, None)
        if len(self._sdks) >= _REMEMBERED:
            del self._sdks[next(iter(self._sdks))]
        self._sdks[name] = _sdk_of(sdk)

    def identity_of(self, asked: Mapping[bytes, bytes]) -> Identity | None:
        """Who sends these headers; ``None`` if they do not say."""
        name = name_of(asked)
        if not name:
            return None
        said = told(asked, b"unleash-sdk")
        sdk = _sdk_of(said) if said else self._sdks.get(name, _Introduced("", ""))
        return Identity(name, told(asked, b"unleash-appname"), "", sdk.sdk, sdk.version)


def name_of(asked: Mapping[bytes, bytes]) -> str:
    """The name of the process that sends these headers, which no other has; empty if they do not say."""
    connection = told(asked, b"unleash-connection-id")
    return connection or instance_name("", told(asked, b"unleash-appname"), told(asked, b"unleash-instanceid"))


def instance_name(connection: str, app: str, instance: str) -> str:
    """What tells a process from all others: the name of its connection. Older SDKs have none, and what they call an
    instance may be the same in several applications."""
    return connection or (f"{app}:{instance}" if instance else "")


def dialect_in(asked: Mapping[bytes, bytes]) -> Dialect:
    """What to answer in to a request with these headers."""
    return _dialect(asked.get(b"unleash-client-spec", b""))


@lru_cache(maxsize=128)
def _dialect(client_spec: bytes) -> Dialect:
    return dialect_of(client_spec.decode("latin-1"))


def told(asked: Mapping[bytes, bytes], name: bytes) -> str:
    """A header, as it can be shown and kept."""
    return shortened(asked.get(name, b"")[:_LONGEST_NAME].decode("utf-8", "replace"))


def shortened(text: str) -> str:
    """A text that a process says of itself, as it can be shown and kept."""
    return printable(text[:_LONGEST_NAME])


def _sdk_of(said: str) -> _Introduced:
    sdk, _, version = said.partition(":")
    return _Introduced(sdk, version)
