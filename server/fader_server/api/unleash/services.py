"""What the handlers call."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from fader_server.access import SdkPrincipal
from fader_server.api.sdk import SdkServices
from fader_server.api.unleash.encoding import UnleashEncoding
from fader_server.api.unleash.followers import Followers
from fader_server.api.unleash.identities import Introductions, name_of
from fader_server.api.unleash.queries import Selection
from fader_server.api.unleash.steering import Steering
from fader_server.api.unleash.views import Views
from fader_server.distribution.encoding import Served
from fader_server.distribution.events import Version
from fader_server.storage import Store, flags


class UnleashServices(Struct, frozen=True):
    """All of it, ready to use. ``sdk`` are those that are shared with our own SDKs: they are all clients alike."""

    sdk: SdkServices
    store: Store
    clock: Callable[[], datetime]
    introductions: Introductions
    views: Views
    followers: Followers
    steering: Steering

    def encoding(self, served: Served) -> UnleashEncoding:
        """What streams of an environment are written in."""
        return UnleashEncoding(served, self.views.of(served))

    def note_poll(self, principal: SdkPrincipal, asked: dict[bytes, bytes], version: Version) -> None:
        """Remember what a process that polls has been given."""
        place, gathering = (principal.project, principal.environment), self.sdk.gathering
        # As with our own SDKs: who is known by its name is not asked for more of its headers.
        if gathering.polled_again(*place, name_of(asked), version.epoch, version.revision):
            return
        identity = self.introductions.identity_of(asked)
        if identity is not None:
            gathering.polled(*place, identity, version.epoch, version.revision)

    async def selected(self, project: str, selection: Selection) -> frozenset[str]:
        """Which flags of a project are asked for. Tags are in the database only: no other SDK asks for them.

        Raises:
            Unavailable: if it cannot say at the moment.
        """
        async with self.store.read() as connection:
            return selection.names(await flags.tags(connection, project))
