"""What the server says about itself: numbers for Prometheus, traces for OpenTelemetry.

The lowest room of the server: every other one may report here, and it knows none of them. What it must ask at the
moment of a scrape it is given as functions (:class:`Sources`).
"""

from fader_server.telemetry.metrics import Metrics
from fader_server.telemetry.sources import ConnectionPool, FollowedEnvironment, Sources

__all__ = ["ConnectionPool", "FollowedEnvironment", "Metrics", "Sources"]
