"""The first act: a release is brought up and switched off, by hand."""

from typing import Final

from fader_cli.demonstration.backstage import Backstage
from fader_cli.demonstration.shop import USERS, Shop
from fader_cli.demonstration.stage import Stage

FLAG: Final = "new-checkout"
_STEPS: Final = (1, 10, 50, 100)


def play(backstage: Backstage, shop: Shop, stage: Stage) -> None:
    """Up step by step, and down at once."""
    production = f"/projects/default/flags/{FLAG}/environments/production"
    stage.say("", "The new checkout is in production already, dark: its flag is off.")
    backstage.pause(2.5)
    kept: set[int] = set()
    for number, step in enumerate(_STEPS):
        verb, command = ("on", f"fader on {FLAG} --at {step}% -e production")
        if number:
            verb, command = ("rollout", f"fader rollout {FLAG} {step}% -e production")
        took = backstage.change(f"{production}/{verb}", {"percentage": step})
        stage.set(step, is_on=True)
        shop.settle()
        now = {user for user, is_new in enumerate(shop.sees_new) if is_new}
        stay = f", the same {len(kept)} among them" if kept and kept <= now else ""
        stage.say(command, f"{len(now)} of {USERS} users see it{stay}; the shop obeyed in {took:.0f} ms")
        kept = now
        backstage.pause(3.0)
    stage.say("", "Payments begin to fail. Rolling back is not a deployment:")
    shop.is_broken = True
    backstage.pause(2.0)
    took = backstage.change(f"{production}/off", {"reason": "payments fail"})
    stage.set(0, is_on=False)
    shop.settle()
    shop.is_broken = False
    stage.say(
        f"fader off {FLAG} -e production",
        f"{sum(shop.sees_new)} of {USERS} users see it; the shop obeyed in {took:.0f} ms",
    )
    backstage.pause(2.5)
