"""What can go wrong, each with the exit code that scripts see. Put into words in one place: ``program.main``."""

from typing import Any

from fader_cli.exits import ExitCode


class CliError(Exception):
    """Ends a command.

    Args:
        message: What is wrong, in one line.
        hint: What to do about it, in a few words.
        code: The exit code.
        problem: What the server said, for ``--json``.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        code: ExitCode = ExitCode.FAILED,
        problem: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.problem = problem

    def document(self) -> dict[str, Any]:
        """The error for ``--json``."""
        error: dict[str, Any] = {"message": self.message, "exit_code": int(self.code)}
        if self.hint:
            error["hint"] = self.hint
        if self.problem is not None:
            error["problem"] = self.problem
        return {"error": error}


def usage_error(message: str, hint: str | None = None) -> CliError:
    """The command line was wrong."""
    return CliError(message, hint, ExitCode.USAGE)
