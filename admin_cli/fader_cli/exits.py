"""Exit codes, for scripts: stable, and all of them here."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with."""

    OK = 0
    """It did what was asked; or there was nothing left to do."""
    FAILED = 1
    """The server refused (a document that is not valid), or something unforeseen happened."""
    USAGE = 2
    """The command line itself was wrong."""
    NOT_FOUND = 3
    """There is no flag, environment, segment … of that name."""
    NOT_ALLOWED = 4
    """No token, a wrong one, or one that may not do this."""
    CONFLICT = 5
    """The state of things forbids it: it exists already, it is in use, it is archived."""
    UNREACHABLE = 6
    """The server cannot be reached, or cannot answer at the moment; trying again may help."""
    NOT_APPLIED = 7
    """The change is made, but not all SDKs that ``--wait`` has waited for are known to have applied it."""
    ROLLED_BACK = 8
    """A ramp that ``--follow`` has followed was turned back by its guards."""
    HELD = 9
    """It is held: it goes no further until somebody decides."""
    ABORTED = 10
    """It was aborted."""
    INTERRUPTED = 130
    """Ctrl-C."""


MEANINGS = {
    ExitCode.OK: "done, or nothing left to do",
    ExitCode.FAILED: "refused by the server, or failed",
    ExitCode.USAGE: "the command line was wrong",
    ExitCode.NOT_FOUND: "no such flag, environment, segment …",
    ExitCode.NOT_ALLOWED: "no token, a wrong one, or one that may not do this",
    ExitCode.CONFLICT: "it exists already, is in use, or is archived",
    ExitCode.UNREACHABLE: "the server cannot be reached, or cannot answer now",
    ExitCode.NOT_APPLIED: "changed, but not applied by all who were waited for",
    ExitCode.ROLLED_BACK: "a ramp that --follow has followed was rolled back by its guards",
    ExitCode.HELD: "the same, and it is held until somebody decides",
    ExitCode.ABORTED: "the same, and it was aborted",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}
"""For the reference and for ``fader --help``."""
