"""Parts of libraries that nobody here uses, and that each server would hold in memory for as long as it lives: ten
megabytes of ninety, and a tenth of a second of each start. Imported for what it does, before those libraries are.

structlog loads rich wherever it is installed, for tracebacks with the values of variables; keys are among these, so
ours have none. SQLAlchemy's asynchronous connections come in one package with sessions, and so with its whole ORM.
"""

import sys
from types import ModuleType
from typing import Any, Final

from fader_server.absent import absent

ABSENT: Final = ("rich",)
"""Packages that are not found while what would use them is imported, and are there for everybody afterwards."""

HOLLOW: Final = ("sqlalchemy.ext.asyncio.scoping", "sqlalchemy.ext.asyncio.session")
"""Modules from which names are imported that nobody uses."""


class _Hollow(ModuleType):
    """Has every name, and nothing behind any."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def _spare() -> None:
    for name in HOLLOW:
        sys.modules.setdefault(name, _Hollow(name))
    with absent(*ABSENT):
        import structlog.dev  # noqa: F401


_spare()
