"""What the server says about itself: numbers for Prometheus, traces for OpenTelemetry.

The lowest room of the server: every other one may report here, and it knows none of them. What it must ask at the
moment of a scrape it is given as functions (:class:`Sources`).
"""

from fader_server.telemetry.event_loop import watch_event_loop
from fader_server.telemetry.metrics import Metrics
from fader_server.telemetry.sources import ConnectedClients, ConnectionPool, FollowedEnvironment, Sources
from fader_server.telemetry.telemetry import Telemetry

__all__ = [
    "ConnectedClients",
    "ConnectionPool",
    "FollowedEnvironment",
    "Metrics",
    "Sources",
    "Telemetry",
    "watch_event_loop",
]
