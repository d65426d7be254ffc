"""The second act: another release goes up by itself, turns out to be bad, and comes down by itself."""

import textwrap
import time
from typing import Any, Final

from fader_cli.demonstration.backstage import Backstage
from fader_cli.demonstration.shop import METRIC, Shop
from fader_cli.demonstration.stage import Stage
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode

FLAG: Final = "one-tap"
_SHARES: Final = (10, 50, 100)
_HOLD_SECONDS: Final = 600
_PATIENCE: Final = 60.0
"""Seconds until a ramp must have found what can be seen with the naked eye."""

_LOOK: Final = 0.1


def play(backstage: Backstage, shop: Shop, stage: Stage) -> None:
    """Nobody does anything, and it comes down."""
    backstage.make(FLAG, "Pay with one tap")
    stage.forget()
    shop.flag = FLAG
    stage.say("", "The next one goes up by itself, and the server looks how its users fare.")
    backstage.pause(2.0)
    ramp = f"/projects/default/flags/{FLAG}/environments/production/ramp"
    plan = {
        "steps": [{"percentage": share, "hold_seconds": _HOLD_SECONDS} for share in _SHARES],
        "guards": [{"id": METRIC, "metric": METRIC}],
    }
    took = backstage.change(ramp, plan)
    stage.set(_SHARES[0], is_on=True)
    shop.settle()
    steps = ",".join(f"{share}%" for share in _SHARES)
    stage.say(
        f"fader ramp {FLAG} {steps} --every 10m --guard {METRIC} -e production",
        f"{sum(shop.sees_new)} users have it; the shop obeyed in {took:.0f} ms",
    )
    backstage.pause(2.0)
    shop.is_broken = True
    stage.say("", "It is broken: one in four of them cannot pay. Hands off the keyboard …")
    ended = _until_over(backstage, ramp)
    backstage.follow(ended["revision"])
    applied = backstage.acknowledged(ended["revision"])
    stage.set(0, is_on=False)
    shop.settle()
    guard = ended["guards"][0]
    stage.say(
        f"fader ramp status {FLAG} -e production",
        f"{_headline(ended)}\n    {_wrapped(ended['why'])}\n"
        f"    odds against it {guard['e_value']:,.0f} : 1; {guard['threshold']:,.0f} : 1 would do"
        f"\n    {applied}; users who cannot pay: {sum(shop.fails)}",
    )
    backstage.pause(3.0)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 76, subsequent_indent=" " * 6)


def _headline(ramp: dict[str, Any]) -> str:
    if ramp["status"] == "rolled_back":
        return f"turned back by the ramp at {ramp['percentage']:g} %, {ramp['watched_seconds']:.0f} s after it began:"
    return f"the ramp is {ramp['status']}:"


def _until_over(backstage: Backstage, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        ramp: dict[str, Any] = backstage.api.get(path)
        if ramp["status"] != "running":
            return ramp
        time.sleep(_LOOK)
    raise CliError("the ramp of the demo has not found anything", None, ExitCode.FAILED)
