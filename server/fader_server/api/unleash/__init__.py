"""Unleash's client API, ``/api/client``: for processes that have one of Unleash's SDKs, in whatever language, and a key
of ours.

It answers as Unleash's server does, from the same feeds as our own SDK is answered from.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from fader_server.api.sdk import SdkServices
from fader_server.api.unleash.delta import delta
from fader_server.api.unleash.features import feature, features
from fader_server.api.unleash.followers import Followers
from fader_server.api.unleash.identities import Introductions
from fader_server.api.unleash.metrics import bulk, metrics
from fader_server.api.unleash.registering import register
from fader_server.api.unleash.services import UnleashServices
from fader_server.api.unleash.steering import Steering
from fader_server.api.unleash.streaming import streaming
from fader_server.api.unleash.views import Views
from fader_server.storage import Store

__all__ = ["UnleashServices", "routes", "services"]

routes: Final = [features, feature, delta, streaming, register, metrics, bulk]


def services(sdk: SdkServices, store: Store, clock: Callable[[], datetime], *, is_steering: bool) -> UnleashServices:
    """What the handlers call.

    Args:
        sdk: What they share with those for our own SDKs.
        store: The database.
        clock: The time, aware.
        is_steering: Whether SDKs that poll are asked to open streams.
    """
    followers, steering = Followers(sdk.gathering), Steering(is_steering, time.monotonic)
    return UnleashServices(sdk, store, clock, Introductions(), Views(), followers, steering)
