"""``demo``: the whole idea in one terminal: a server, a shop, a release brought up and switched off."""

import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fader import Client
from fader_cli.api import Api
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.server_process import (
    ENVIRONMENTS,
    new_admin_token,
    new_sdk_key,
    require_server,
    start,
    stop,
    wait_until_ready,
)
from fader_cli.session import Session

_FLAG: Final = "new-checkout"
_USERS: Final = 480
_ROW: Final = 60
_STEPS: Final = (1, 10, 50, 100)
_PATIENCE: Final = 10.0
_IDLE: Final = 0.0005
_FRAME: Final = 0.05


class Shop:
    """A shop of some hundred users who come back all the time, and ask the flag each time.

    Args:
        flags: Its client.
    """

    def __init__(self, flags: Client) -> None:
        self.users = [f"user-{number}" for number in range(_USERS)]
        self.sees_new = [False] * _USERS
        self.visits = 0
        self._flags = flags
        self._closing = False
        self._thread = threading.Thread(target=self._trade, daemon=True)

    def open(self) -> None:
        """Let the users in."""
        self._thread.start()

    def close(self) -> None:
        """Send them home."""
        self._closing = True
        self._thread.join()

    @property
    def share(self) -> float:
        """The share of users who see the new checkout, in percent."""
        return 100 * sum(self.sees_new) / _USERS

    def _trade(self) -> None:
        while not self._closing:
            for number, user in enumerate(self.users):
                self.sees_new[number] = self._flags.is_enabled(_FLAG, user)
            self.visits += _USERS
            time.sleep(_IDLE)


class Stage:
    """What the audience sees.

    Args:
        session: Where to write.
        shop: What to show.
        live: Whether the picture moves; else each step is a line.
    """

    def __init__(self, session: Session, shop: Shop, *, live: bool) -> None:
        self._session = session
        self._shop = shop
        self._lines: list[tuple[str, str]] = []
        self._setting = 0.0
        self._is_on = False
        self._live = Live(console=session.out, get_renderable=self._picture, refresh_per_second=20) if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, command: str, outcome: str) -> None:
        """Add a line: what was done, and what came of it."""
        self._lines.append((command, outcome))
        if self._live is None:
            self._session.out.print(f"$ {command}\n  {outcome}" if command else outcome, highlight=False)

    def set(self, percentage: float, *, is_on: bool) -> None:
        """Move the fader."""
        self._setting, self._is_on = percentage, is_on

    def _picture(self) -> RenderableType:
        seen = self._shop.sees_new
        state = "ON " if self._is_on else "OFF"
        filled = round(self._setting / 100 * 40) if self._is_on else 0
        bar = Text.assemble(
            ("  new-checkout ", "bold"),
            (f"{state} ", "bold green" if self._is_on else "bold red"),
            ("█" * filled, "green"),
            ("░" * (40 - filled), "dim"),
            f" {self._setting if self._is_on else 0:g} %",
        )
        grid = Text()
        for begin in range(0, _USERS, _ROW):
            grid.append("  ")
            for is_new in seen[begin : begin + _ROW]:
                grid.append("●" if is_new else "·", "green" if is_new else "dim")
            grid.append("\n")
        share = f"● sees the new checkout: {self._shop.share:.1f} %"
        legend = Text(f"  {_USERS} users of a shop, {self._shop.visits:,} visits; {share}\n", "dim")
        story = Text()
        for command, outcome in self._lines:
            if command:
                story.append(f"  $ {command}\n", "bold")
            story.append(f"    {outcome}\n" if command else f"  {outcome}\n", "" if command else "dim")
        return Group(Text(), bar, Text(), grid, legend, story)


@click.command()
@click.option(
    "--speed", type=click.FloatRange(min=0.1, max=100), default=1.0, show_default=True, help="2 is twice as fast."
)
@click.option("--no-live", is_flag=True, help="Plain lines instead of a moving picture.")
def demo(speed: float, no_live: bool) -> None:
    """The whole idea in under a minute, in one terminal.

    A release is brought up, step by step, and switched off, while a shop of some hundred users follows. It brings
    its own server and leaves nothing behind.
    """
    require_server()
    session = Session()
    with tempfile.TemporaryDirectory(prefix="fader-demo-") as folder:
        token, keys = new_admin_token(), {name: new_sdk_key(name) for name in ENVIRONMENTS}
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = start(
                host="127.0.0.1",
                port=0,
                database=Path(folder) / "fader.db",
                admin_token=token,
                sdk_keys=keys,
                output=output,
                more={"FADER_LOG_FORMAT": "json", "FADER_LOG_LEVEL": "info"},
            )
        # Ended from outside, too, it tidies up behind itself.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            url = _address(log, lambda: process.poll() is None)
            wait_until_ready(process, url)
            with Client(url=url, sdk_key=keys["production"], app="shop", cache_dir=None) as flags:
                _play(session, Api(url, token), flags, speed, live=session.out.is_terminal and not no_live)
        finally:
            stop(process)


def _address(log: Path, is_alive: Callable[[], bool]) -> str:
    """Where the server listens: it has chosen a port itself, and says so in its log."""
    deadline = time.monotonic() + _PATIENCE * 3
    while time.monotonic() < deadline and is_alive():
        for line in log.read_text("utf-8", "replace").splitlines():
            if '"listening"' in line:
                return "http://" + line.partition("http://")[2].partition('"')[0]
        time.sleep(0.05)
    raise CliError("the server of the demo does not come up", None, ExitCode.UNREACHABLE)


def _play(session: Session, api: Api, flags: Client, speed: float, *, live: bool) -> None:
    where = f"/projects/default/flags/{_FLAG}"
    production = f"{where}/environments/production"
    made = api.post("/projects/default/flags", {"key": _FLAG, "description": "One-page checkout"})
    if not flags.wait_until_ready(_PATIENCE):
        raise CliError("the shop cannot reach the demo's server", None, ExitCode.UNREACHABLE)
    _follow(flags, made["environments"]["production"]["revision"])
    shop = Shop(flags)
    shop.open()
    try:
        with Stage(session, shop, live=live) as stage:
            stage.say("", "The new checkout is in production already, dark: its flag is off.")
            time.sleep(2.5 / speed)
            kept: set[int] = set()
            for number, step in enumerate(_STEPS):
                verb, command = ("on", f"fader on {_FLAG} --at {step}% -e production")
                if number:
                    verb, command = ("rollout", f"fader rollout {_FLAG} {step}% -e production")
                took = _change(api, f"{production}/{verb}", {"percentage": step}, flags)
                stage.set(step, is_on=True)
                _settle(shop)
                now = {user for user, is_new in enumerate(shop.sees_new) if is_new}
                stay = f", the same {len(kept)} among them" if kept and kept <= now else ""
                stage.say(command, f"{len(now)} of {_USERS} users see it{stay}; the shop obeyed in {took:.0f} ms")
                kept = now
                time.sleep(3.0 / speed)
            stage.say("", "Payments begin to fail. Rolling back is not a deployment:")
            time.sleep(2.0 / speed)
            took = _change(api, f"{production}/off", {"reason": "payments fail"}, flags)
            stage.set(0, is_on=False)
            _settle(shop)
            stage.say(
                f"fader off {_FLAG} -e production",
                f"{sum(shop.sees_new)} of {_USERS} users see it; the shop obeyed in {took:.0f} ms",
            )
            time.sleep(2.5 / speed)
    finally:
        shop.close()
    session.out.print(
        "\n  That was a real server, a real SDK and one flag: up in steps that keep whoever\n"
        "  had it, and down at once. Your own: [key]fader serve[/], then [key]fader create NAME[/]"
    )


def _change(api: Api, path: str, body: dict[str, object], flags: Client) -> float:
    """Change the flag; the milliseconds from the server's answer until the shop's client evaluates with it."""
    revision = api.post(path, body)["revision"]
    answered = time.perf_counter()
    _follow(flags, revision)
    return (time.perf_counter() - answered) * 1000


def _follow(flags: Client, revision: int) -> None:
    deadline = time.perf_counter() + _PATIENCE
    while (flags.revision or 0) < revision:
        if time.perf_counter() > deadline:
            raise CliError("the shop does not hear of the change", None, ExitCode.UNREACHABLE)
        time.sleep(_IDLE)


def _settle(shop: Shop) -> None:
    """Wait until every user has come by once more."""
    wanted = shop.visits + 2 * _USERS
    while shop.visits < wanted:
        time.sleep(_FRAME / 10)


COMMANDS: Final = (demo,)
