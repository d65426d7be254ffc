"""For browsers and phones with Unleash's SDKs, ``/api/frontend``: which flags are on for a context, and with which
variants; never why.

Whoever has a client key may ask. ``/api/proxy`` is what the same was called when it was a program of its own.
"""

from typing import Final

from fader_server.api.frontend.reporting import count, register
from fader_server.api.frontend.services import FrontendServices
from fader_server.api.frontend.toggles import all_toggles, enabled_toggles, one_toggle

__all__ = ["FrontendServices", "routes"]

routes: Final = [enabled_toggles, all_toggles, one_toggle, register, count]
