"""``demo``: the whole idea in one terminal: a server, a shop, and two releases that come down again."""

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from fader import Client
from fader_cli.api import Api
from fader_cli.demonstration import first_act, second_act
from fader_cli.demonstration.backstage import PATIENCE, Backstage
from fader_cli.demonstration.shop import Shop
from fader_cli.demonstration.stage import Stage
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


@click.command()
@click.option(
    "--speed", type=click.FloatRange(min=0.1, max=100), default=1.0, show_default=True, help="2 is twice as fast."
)
@click.option("--no-live", is_flag=True, help="Plain lines instead of a moving picture.")
def demo(speed: float, no_live: bool) -> None:
    """The whole idea in under a minute, in one terminal.

    A release is brought up, step by step, and switched off, while a shop of some hundred users follows. Another one
    goes up by itself, and comes down by itself when its users cannot pay. The demo brings its own server and leaves
    nothing behind.
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
    deadline = time.monotonic() + PATIENCE * 3
    while time.monotonic() < deadline and is_alive():
        for line in log.read_text("utf-8", "replace").splitlines():
            if '"listening"' in line:
                return "http://" + line.partition("http://")[2].partition('"')[0]
        time.sleep(0.05)
    raise CliError("the server of the demo does not come up", None, ExitCode.UNREACHABLE)


def _play(session: Session, api: Api, flags: Client, speed: float, *, live: bool) -> None:
    backstage = Backstage(api, flags, speed)
    backstage.make(first_act.FLAG, "One-page checkout")
    shop = Shop(flags, first_act.FLAG)
    shop.open()
    try:
        with Stage(session, shop, live=live) as stage:
            first_act.play(backstage, shop, stage)
            second_act.play(backstage, shop, stage)
    finally:
        shop.close()
    session.out.print(
        "\n  That was a real server and a real SDK: up in steps that keep whoever had it,\n"
        "  down at once, and down by itself. Your own: [key]fader serve[/], [key]fader create NAME[/]"
    )


COMMANDS: Final = (demo,)
