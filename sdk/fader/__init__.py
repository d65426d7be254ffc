"""Feature flags that are evaluated in your own process.

>>> from fader import flags
>>> flags.is_enabled("new-checkout", "user-42")
False
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

from fader._version import __version__

if TYPE_CHECKING:
    from fader.client import Client, flags
    from fader.context import Context, EvaluationContext
    from fader.evaluation import ErrorCode, EvaluationDetails, Reason
    from fader.status import State, Status

__all__ = [
    "Client",
    "Context",
    "ErrorCode",
    "EvaluationContext",
    "EvaluationDetails",
    "Reason",
    "State",
    "Status",
    "__version__",
    "flags",
]

# Imported when they are first asked for: pytest loads our plugin, and with it this package, into every run of everybody
# who has Fader installed, and the command line needs the model and nothing else.
_HOMES: Final = {
    "Client": "fader.client",
    "Context": "fader.context",
    "ErrorCode": "fader.evaluation",
    "EvaluationContext": "fader.context",
    "EvaluationDetails": "fader.evaluation",
    "Reason": "fader.evaluation",
    "State": "fader.status",
    "Status": "fader.status",
    "flags": "fader.client",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
