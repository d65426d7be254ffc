"""The first use of a database: what goes wrong then is told to whoever has set it up."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fader_server.errors import Unavailable
from fader_server.storage import faults

_log = logging.getLogger(__name__)


@contextmanager
def reaching() -> Iterator[None]:
    """Around what is done with a database that nobody has reached before.

    Raises:
        ValueError: if it is no database of ours, or does not let us in.
        Unavailable: if the database cannot be reached or written to.
    """
    try:
        yield
    except faults.RAISED as fault:
        if faults.is_misconfigured(fault) or not faults.may_pass(fault):
            raise ValueError(f"leads to no database that Fader can use: {faults.described(fault)}") from fault
        _log.warning("the database failed: %s", faults.described(fault))
        raise Unavailable("The database cannot be reached.") from fault
