"""Feature flags that are evaluated in your own process.

>>> from fader import flags
>>> flags.is_enabled("new-checkout", "user-42")
False
"""

from typing import Final

from fader._version import __version__
from fader.client import Client, DefaultClient
from fader.context import Context
from fader.evaluation import ErrorCode, EvaluationDetails, Reason
from fader.status import State, Status

__all__ = [
    "Client",
    "Context",
    "ErrorCode",
    "EvaluationDetails",
    "Reason",
    "State",
    "Status",
    "__version__",
    "flags",
]

flags: Final[Client] = DefaultClient()
"""The default client. It is told everything by the environment (``FADER_URL``, ``FADER_SDK_KEY``, …: see ``Client``),
and does nothing until it is first used."""
