"""For SDKs, ``/sdk/v1``: the snapshot, the stream of changes, acknowledgements, and counts of usage.

Whoever has an SDK key may call them, for the environment of that key.
"""

from typing import Final

from fader_server.api.sdk.acknowledging import acknowledge, say_goodbye
from fader_server.api.sdk.outcomes import outcomes
from fader_server.api.sdk.services import SdkServices
from fader_server.api.sdk.snapshots import snapshot
from fader_server.api.sdk.streams import stream
from fader_server.api.sdk.usage import usage

__all__ = ["SdkServices", "routes"]

routes: Final = [snapshot, stream, acknowledge, say_goodbye, usage, outcomes]
