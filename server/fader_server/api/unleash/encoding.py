"""How Unleash's SDKs are told on streams: events of the delta form, several in one message of the stream."""

from typing import Final

import msgspec

from fader_server.api.unleash.documents import Event, Events, Hydration
from fader_server.api.unleash.tags import tag_of
from fader_server.api.unleash.views import View
from fader_server.distribution.encoding import Served
from fader_server.distribution.events import HEARTBEAT, Delivery, Message, Version, body


class UnleashEncoding:
    """Implements :class:`fader_server.distribution.encoding.Encoding`.

    Args:
        served: What is to be written.
        view: It, as these SDKs see it.
    """

    heartbeat: Final = HEARTBEAT

    def __init__(self, served: Served, view: View) -> None:
        self._served = served
        self._view = view
        self._wholes: dict[bytes, Delivery] = {}

    def beginning(self, since: Version | None) -> Delivery:
        """Everything, or what has changed. Who has it already is told so by an empty list: these SDKs do not take a
        stream for one that works before the first message."""
        return self._delivery(b"unleash-connected", since)

    def way(self, since: Version) -> Delivery:
        """What has changed. That may be nothing that these SDKs see; they are sent the empty list nevertheless, so that
        they come back with this version."""
        return self._delivery(b"unleash-updated", since)

    def goodbye(self, retry_milliseconds: int) -> bytes:  # noqa: ARG002 (the protocol has no word for it)
        """Nothing: the end says it. After how long to come again, these SDKs know themselves, with jitter; if they were
        told, they would keep to that ever after."""
        return b""

    def _delivery(self, name: bytes, since: Version | None) -> Delivery:
        version, events = self._served.version, self._view.events_since(since)
        if not any(isinstance(event, Hydration) for event in events):
            # Who was at a server that is further than this one should say so to the next, so an empty beginning has no
            # number.
            is_numbered = bool(events) or name == b"unleash-updated"
            return Delivery("change", _message(name, events, version if is_numbered else None), version)
        whole = self._wholes.get(name)
        if whole is None or whole.leads_to is not version:
            whole = self._wholes[name] = Delivery("snapshot", _message(name, events, version), version)
        return whole


def _message(name: bytes, events: tuple[Event, ...], version: Version | None) -> Message:
    number = b"" if version is None else b"id: %b\n" % tag_of(version).encode()
    data = msgspec.json.encode(Events(events=events))
    return body(b"%bevent: %b\ndata: %b\n\n" % (number, name, data))
