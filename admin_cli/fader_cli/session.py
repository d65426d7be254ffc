"""What a command works with: the server, the project, the environment, and where to write."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final, TextIO

import click
import msgspec
from rich.console import Console
from rich.theme import Theme

from fader_cli import config
from fader_cli.api import TIMEOUT, Api, path_of
from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode
from fader_cli.retries import Retries
from fader_cli.waiting import Patience

_UNFOLDED: Final = 10_000

THEME: Final = Theme({"on": "bold green", "off": "bold red", "quiet": "dim", "key": "bold", "hint": "yellow"})


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to ``program.main``; Rich itself would end with 1, as if something had failed."""
        raise BrokenPipeError


def console(file: TextIO) -> Console:
    """Where text for people goes. Into a file or a pipe a line stays one line, for ``grep`` to find."""
    folds = file.isatty() or "COLUMNS" in os.environ
    return _Console(file=file, theme=THEME, highlight=False, width=None if folds else _UNFOLDED)


class Session:
    """One run of a command. Options win over variables of the environment, these over the profile.

    Args:
        profile: Name of a profile.
        url: Of the server.
        token: An admin token.
        project: Key of a project.
        environment: Key of an environment.
        as_json: Whether to write documents instead of tables.
        timeout: Seconds that an answer may take.
        retry_for: Seconds for which a request is tried again.
        patience: How to wait until a change has been applied, if that is wanted.
    """

    def __init__(
        self,
        *,
        profile: str | None = None,
        url: str | None = None,
        token: str | None = None,
        project: str | None = None,
        environment: str | None = None,
        as_json: bool = False,
        timeout: float = TIMEOUT,
        retry_for: float = 0.0,
        patience: Patience | None = None,
    ) -> None:
        self._profile_name = profile
        self._url = url or os.environ.get("FADER_URL")
        self._token = token
        self._project = project
        self._environment = environment
        self.as_json = as_json
        self.patience = patience
        self._timeout = timeout
        self._retries = Retries(retry_for, self._note_retry)
        self.out = console(sys.stdout)
        self.notes = console(sys.stderr)

    @cached_property
    def profile(self) -> config.Profile:
        """The profile in use: the one that is named, or else the one of the server that is, or else the current one;
        one with defaults where there is none.

        Raises:
            CliError: if one was named that does not exist.
        """
        known = config.load()
        name = self._profile_name or os.environ.get("FADER_PROFILE")
        if not name and self._url:
            of_server = [key for key, one in known.profiles.items() if one.url.rstrip("/") == self._url.rstrip("/")]
            name = known.current if known.current in of_server else next(iter(of_server), "")
        elif not name:
            name = known.current
        if not name:
            return config.Profile(url=self._url or config.DEFAULT_URL, token="")
        if name not in known.profiles:
            have = ", ".join(known.profiles) or "none"
            raise CliError(f"there is no profile {name!r}", f"there are: {have}", ExitCode.NOT_FOUND)
        return known.profiles[name]

    @cached_property
    def api(self) -> Api:
        """The server.

        Raises:
            CliError: if there is no token for it.
        """
        # Named explicitly, a server gets no token that belongs to another one.
        url = self._url or self.profile.url
        token = self._token or os.environ.get("FADER_TOKEN")
        if not token and url.rstrip("/") == self.profile.url.rstrip("/"):
            token = self.profile.token
        if not token:
            raise CliError(
                f"there is no admin token for {url}",
                "sign in with `fader login`, or set FADER_TOKEN",
                ExitCode.NOT_ALLOWED,
            )
        return Api(url, token, self._timeout, self._retries)

    def _note_retry(self, message: str) -> None:
        # A line of its own, and with --json a document of its own, before what else may come on standard error.
        text = msgspec.json.encode({"retrying": {"message": message}}).decode() if self.as_json else f"fader: {message}"
        click.echo(text, err=True)

    @property
    def project(self) -> str:
        """The project that commands are about."""
        return self._project or os.environ.get("FADER_PROJECT") or self.profile.project

    @property
    def environment_given(self) -> bool:
        """Whether the environment was named on the command line."""
        return self._environment is not None

    @property
    def environment_or_none(self) -> str | None:
        """The environment that commands are about, if one is named anywhere."""
        return self._environment or os.environ.get("FADER_ENVIRONMENT") or self.profile.environment or None

    @property
    def environment(self) -> str:
        """The same, and it must be named.

        Raises:
            CliError: listing those that there are.
        """
        named = self.environment_or_none
        if named is None:
            known = self.api.pages(path_of("projects", self.project, "environments"))
            raise usage_error("which environment?", f"say it with -e: {', '.join(one['key'] for one in known)}")
        return named

    def require_environment(self, known: Iterable[str]) -> None:
        """Make sure that the environment is among these.

        Raises:
            CliError: listing them.
        """
        if self.environment not in known:
            raise CliError(
                f"there is no environment {self.environment!r}", f"there are: {', '.join(known)}", ExitCode.NOT_FOUND
            )

    @property
    def is_interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def is_animated(self) -> bool:
        """Whether what is written may move: not in a file, a pipe, or the log of a pipeline that likes colours."""
        return sys.stdout.isatty() and self.out.is_interactive

    def emit(self, document: Any, show: Callable[[], None]) -> None:
        """Write a result: as a document with ``--json``, else in the way of ``show``."""
        if self.as_json:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
        else:
            show()

    def emit_line(self, document: Any) -> None:
        """Write one of several documents, each on a line of its own, at once."""
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        sys.stdout.flush()

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that is hard to take back.

        Raises:
            CliError: without a terminal and without ``--yes``.
            click.Abort: if the answer is no.
        """
        if yes:
            return
        if not self.is_interactive:
            raise usage_error(f"{question} There is nobody to ask here", "add --yes if you are sure")
        click.confirm(question, abort=True, err=True)


def plural(number: int, noun: str) -> str:
    """``1 flag``, ``2 flags``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
