"""Who follows which environment, and how far each process has come: acknowledged, refused, lost.

Each node knows its own clients (``roster``), and what others say of theirs (``peers``, ``gathering``). What is asked of
all that is decided by values alone (``tally``). Nothing here is durable.
"""

from fader_server.clients.client import Client, Identity
from fader_server.clients.gathering import Gathering
from fader_server.clients.roster import Roster

__all__ = ["Client", "Gathering", "Identity", "Roster"]
