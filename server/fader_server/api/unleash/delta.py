"""``GET /api/client/delta``: what has changed since the revision that an SDK has, for those that poll in this form."""

import msgspec
from litestar import asgi
from litestar.types import Receive, Scope, Send

from fader_server.api.sdk.services import admit, staleness
from fader_server.api.unleash.documents import Events
from fader_server.api.unleash.features import FEATURES
from fader_server.api.unleash.queries import ALL, Selection
from fader_server.api.unleash.services import UnleashServices
from fader_server.api.unleash.tags import tag_of, version_held
from fader_server.api.unleash.views import compressed
from fader_server.distribution.feed import Encoded


@asgi("/api/client/delta", copy_scope=True)
async def delta(scope: Scope, receive: Receive, send: Send) -> None:
    """The events since then, or one with everything; 304 if there are none."""
    del receive
    _, asked, feed, principal = await admit(scope)
    services: UnleashServices = scope["litestar_app"].state.unleash
    selection = Selection.of(scope["query_string"])
    names = None if selection == ALL else await services.selected(principal.project, selection)
    view = services.views.of(feed)
    await view.begin()
    since = version_held(asked.get(b"if-none-match", b""))
    await feed.come_together(since)
    # Nothing is awaited from here on until what is sent and its tag are certain to be of one version.
    version = feed.version
    events = view.events_since(since, names)
    plain = msgspec.json.encode(Events(events=events))
    encoded = Encoded(version, f'"{tag_of(version)}"'.encode(), plain, await compressed(plain))
    await FEATURES.send(scope, send, services.sdk, asked, encoded, staleness(services.sdk), is_held=not events)
    services.note_poll(principal, asked, version)
