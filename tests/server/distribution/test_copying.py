"""Copies for the standby: each is of one moment, and one that cannot be made holds up no other."""

import pytest

from distribution_setting import Setting, TroubledStore
from fader_server.distribution.copying import Copying
from fader_server.standby import EnvironmentCopy

pytestmark = pytest.mark.anyio


class Shelf:
    """A standby that keeps what it is given."""

    def __init__(self) -> None:
        self.copies: dict[str, EnvironmentCopy] = {}

    async def save(self, copy: EnvironmentCopy) -> None:
        self.copies[copy.snapshot.environment] = copy

    async def load(self, project: str, environment: str) -> EnvironmentCopy | None:
        return self.copies.get(environment)


async def test_a_change_that_happens_while_a_copy_is_made_is_in_it(
    setting: Setting, store: TroubledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fader_server.distribution.copying._SECONDS", 0.001)
    feed = await setting.distributor.feed("default", "production")
    shelf = Shelf()
    copying = Copying(store, shelf)

    async def change_meanwhile(question: str, arguments: object) -> None:
        if question == "valid_keys" and feed.version.revision == 0:
            await store.change()
            await feed.catch_up()

    store.trouble = change_meanwhile
    for _ in range(3):
        await copying.round([feed])
    assert shelf.copies["production"].snapshot.revision == feed.version.revision == 1


async def test_an_environment_that_cannot_be_copied_holds_up_no_other(
    setting: Setting, store: TroubledStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fader_server.distribution.copying._SECONDS", 0.001)
    feeds = [await setting.distributor.feed("default", name) for name in ("development", "production", "staging")]

    async def poison(question: str, arguments: tuple[object, ...]) -> None:
        if question == "valid_keys" and arguments[0] == "development":
            raise ZeroDivisionError("keys that nobody can read")

    store.trouble = poison
    shelf = Shelf()
    copying = Copying(store, shelf)
    for _ in range(3):
        copying.renew()
        await copying.round(feeds)
    assert set(shelf.copies) == {"production", "staging"}
    assert capsys.readouterr().out.count("an environment cannot be copied") == 1
    store.trouble = None
    copying.renew()
    await copying.round(feeds)
    assert set(shelf.copies) == {"development", "production", "staging"}
