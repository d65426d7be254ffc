"""One calm screen: how far the newest change has come in each environment, and below it what has happened, newest
first."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from rich.bar import Bar
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fader_cli.acknowledgements import plain
from fader_cli.render import change_line, in_order

_REMEMBERED: Final = 500
_BAR: Final = 24
_STYLES: Final = {"connected": "on", "left": "quiet", "lost": "hint", "refused": "off"}


class Numbers(Struct, frozen=True):
    """The clients of an environment, as the server tells of them."""

    project: str
    environment: str
    revision: int
    clients: int
    applied: int
    waiting: int
    refused: int
    lost: int
    starting: int
    polling: int


class Screen:
    """What ``fader watch`` shows on a terminal. It is told of everything, and drawn now and then.

    Args:
        title: What is watched.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._trouble = ""
        self._numbers: dict[str, Numbers] = {}
        self._lines: deque[str] = deque(maxlen=_REMEMBERED)

    def change(self, change: Mapping[str, Any]) -> None:
        """Something was changed."""
        self._lines.appendleft(change_line([change]))

    def clients(self, numbers: Numbers) -> None:
        """Clients have come, gone, or acknowledged something; or this is how it is at first."""
        self._numbers[numbers.environment] = numbers

    def client(self, told: Mapping[str, Any]) -> None:
        """One client, or more than can be named, have come or gone."""
        at = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        where = f"[quiet]{at}[/]  [key]{escape(told['environment'])}[/]"
        if told["what"] == "many":
            said = ", ".join(f"{count:,} {what}" for what, count in told["counts"].items())
            self._lines.appendleft(f"{where}  {escape(said)}")
            return
        name = plain("@".join(filter(None, (told["app"], told["host"]))) or told["instance"])
        error = f": {escape(plain(told['error']))}" if told["error"] else ""
        style = _STYLES.get(told["what"], "key")
        self._lines.appendleft(f"{where}  {escape(name)} [{style}]{escape(told['what'])}[/]{error}")

    def trouble(self, text: str) -> None:
        """The server is away; an empty text says that it is not."""
        self._trouble = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it, as high as the terminal is."""
        height = options.height or console.height
        title = f"[key]{escape(self._title)}[/]  [quiet]Ctrl-C ends it[/]"
        yield Text.from_markup(title if not self._trouble else f"{title}  [hint]{escape(self._trouble)}[/]")
        yield self._table()
        yield ""
        room = max(height - len(self._numbers) - 3, 0)
        for line in list(self._lines)[:room]:
            text = Text.from_markup(line, overflow="ellipsis")
            text.no_wrap = True
            yield text

    def _table(self) -> Table:
        made = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(5):
            made.add_column(no_wrap=True)
        for name in in_order(self._numbers):
            one = self._numbers[name]
            is_complete = one.applied == one.clients
            bar = Bar(one.clients, 0, one.applied, width=_BAR, color="green" if is_complete else "yellow")
            made.add_row(
                Text(name, "key"),
                Text(f"revision {one.revision}", "quiet"),
                bar if one.clients else Text("no SDK is connected", "quiet"),
                Text(f"{one.applied:,} / {one.clients:,} SDKs" if one.clients else ""),
                Text(_aside(one), "quiet" if is_complete else "hint"),
            )
        return made


def _aside(one: Numbers) -> str:
    counts = (one.waiting, "waiting"), (one.refused, "refused"), (one.lost, "lost"), (one.starting, "starting")
    return " · ".join(f"{count:,} {word}" for count, word in (*counts, (one.polling, "polling")) if count)
