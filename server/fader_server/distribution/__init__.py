"""From the log of changes to every SDK: snapshots, deltas, streams. Only ever reads the database."""

from fader_server.distribution.distributor import Distributor, NoSuchEnvironment
from fader_server.distribution.feed import Feed
from fader_server.distribution.streams import Streams
from fader_server.distribution.subscription import Subscription

__all__ = ["Distributor", "Feed", "NoSuchEnvironment", "Streams", "Subscription"]
