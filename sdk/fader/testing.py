"""Flags for the tests of applications: no server, no network, no disk.

Three ways, from the smallest: ``flags.override("new-checkout", True)`` around some code; ``isolated()``, under which
the default client knows only the flags that it is given; and ``InMemoryClient``, a client of one's own. Under pytest
the fixture and the marker ``fader_flags`` do the second.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fader.client import Client
from fader.client import flags as default_client
from fader.config import Timing
from fader.model import Change
from fader.overrides import NOTHING, Layer, Override, flag_serving
from fader.runtime import Runtime

__all__ = ["InMemoryClient", "isolated"]


class InMemoryClient(Client):
    """A client whose flags are what a test says, evaluated as in production.

    Args:
        flags: Key to value, or to a whole ``fader.model.Flag`` for one with rules.
        app: The application's name, for rules that ask for it.

    >>> from fader.model import Constraint, Flag, Rule
    >>> germany = Constraint(attribute="country", operator="in", values=("DE",))
    >>> client = InMemoryClient({
    ...     "new-checkout": True,
    ...     "button-colour": "red",
    ...     "vat": Flag(key="vat", enabled=True, rules=(Rule(constraints=(germany,)),)),
    ... })
    >>> client.is_enabled("new-checkout"), client.value("button-colour", default="blue")
    (True, 'red')
    >>> from fader import Context
    >>> client.is_enabled("vat", Context("user-42", country="DE"))
    True
    """

    __slots__ = ()

    def __init__(self, flags: Mapping[str, Any] | None = None, *, app: str = "") -> None:
        self._runtime = Runtime(self._publish, Timing())
        self._runtime.journal.transport = "memory"
        self._runtime.holder.use_app(app)
        self._runtime.holder.receive(replace(NOTHING, epoch="memory"))
        self.set(flags or {})

    @property
    def ready(self) -> bool:
        """Always: nobody else knows better."""
        return True

    def set(self, key: str | Mapping[str, Any], value: Any = True) -> None:
        """Give flags other values from now on; listeners are told.

        Args:
            key: A flag's key, or several with their values.
            value: Its value, or a whole ``Flag``; ``None`` takes the flag away.
        """
        wanted = key if isinstance(key, Mapping) else {key: value}
        news = {key: None if value is None else flag_serving(key, value) for key, value in wanted.items()}
        revision = self._runtime.holder.revision or 0
        self._runtime.holder.receive(Change(epoch="memory", since=revision, revision=revision + 1, flags=news))


def isolated(flags: Mapping[str, Any] | None = None, /, *, client: Client = default_client) -> Override:
    """Let a client know only the flags that it is given, for a while: nothing of the server's, no connection.

    Args:
        flags: Key to value, or to a whole ``Flag``.
        client: Which client; the default one, ``fader.flags``, if it is not said.

    Returns:
        A context manager that is a decorator too. ``client.override`` goes on to work inside it.

    >>> from fader import flags
    >>> with isolated({"new-checkout": True}):
    ...     flags.is_enabled("new-checkout"), flags.is_enabled("other")
    (True, False)
    """
    return Override(client._runtime.holder, Layer(wanted=dict(flags or {}), opaque=True))  # noqa: SLF001
