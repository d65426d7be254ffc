"""`fader.testing`, from the side of somebody who tests an application with it."""

import asyncio
import threading

import pytest

from fader import Client, Context, Reason, State, flags
from fader.model import Constraint, Flag, Rule
from fader.testing import InMemoryClient, isolated


@pytest.fixture
def client() -> InMemoryClient:
    return InMemoryClient({"new-checkout": True, "button-colour": "red", "dark": False})


def test_it_answers_like_any_client(client: InMemoryClient) -> None:
    assert isinstance(client, Client)
    assert client.is_enabled("new-checkout", "user-42") is True
    assert client.is_enabled("dark", "user-42") is False
    assert client.value("button-colour", "user-42", default="blue") == "red"
    assert client.evaluate("new-checkout", "user-42", default=False).reason is Reason.STATIC
    assert client.is_enabled("unknown", default=True) is True


def test_it_is_ready_without_waiting(client: InMemoryClient) -> None:
    assert client.wait_until_ready(0)
    assert client.ready
    assert client.status.state is State.READY


def test_flags_with_rules_are_evaluated_as_in_production(client: InMemoryClient) -> None:
    germans = Constraint(attribute="country", operator="in", values=("DE",))
    client.set("vat", Flag(key="vat", enabled=True, rules=(Rule(constraints=(germans,)),)))
    assert client.is_enabled("vat", Context("user-1", country="DE"))
    assert not client.is_enabled("vat", Context("user-1", country="FR"))


def test_its_app_is_what_rules_ask_for() -> None:
    in_shop = Rule(constraints=(Constraint(attribute="app", operator="in", values=("shop",)),))
    client = InMemoryClient({"for-shop": Flag(key="for-shop", enabled=True, rules=(in_shop,))}, app="shop")
    assert client.is_enabled("for-shop")


def test_flags_can_be_set_and_taken_away_and_listeners_hear_of_it(client: InMemoryClient) -> None:
    heard: list[frozenset[str]] = []
    unsubscribe = client.on_change(heard.append)
    client.set("dark")
    assert client.is_enabled("dark")
    client.set({"dark": None, "button-colour": "green"})
    assert client.evaluate("dark").error_code == "FLAG_NOT_FOUND"
    unsubscribe()
    client.set("dark", False)
    assert heard == [{"dark"}, {"dark", "button-colour"}]


def test_a_listener_that_fails_harms_neither_the_others_nor_the_flags(
    client: InMemoryClient, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[frozenset[str]] = []

    def fail(_: frozenset[str]) -> None:
        raise RuntimeError("mine")

    client.on_change(fail)
    client.on_change(heard.append)
    client.set("dark")
    client.set("dark", False)
    assert len(heard) == 2
    assert len(caplog.records) == 1


def test_an_override_lasts_as_long_as_its_block(client: InMemoryClient) -> None:
    with client.override("new-checkout", False):
        assert not client.is_enabled("new-checkout")
        assert client.value("button-colour") == "red"
    assert client.is_enabled("new-checkout")


def test_overrides_can_be_several_and_lie_over_each_other(client: InMemoryClient) -> None:
    with client.override({"new-checkout": False, "button-colour": "green"}):
        with client.override("button-colour", "pink"):
            assert client.value("button-colour") == "pink"
            assert not client.is_enabled("new-checkout")
        assert client.value("button-colour") == "green"
    assert client.value("button-colour") == "red"


def test_an_override_ends_when_the_block_fails(client: InMemoryClient) -> None:
    with pytest.raises(RuntimeError), client.override("new-checkout", False):
        raise RuntimeError
    assert client.is_enabled("new-checkout")


def test_what_changes_beneath_an_override_is_there_when_it_ends(client: InMemoryClient) -> None:
    with client.override("new-checkout", True):
        client.set({"new-checkout": False, "dark": True})
        assert client.is_enabled("new-checkout")
        assert client.is_enabled("dark")
    assert not client.is_enabled("new-checkout")


def test_an_override_decorates_functions_methods_and_coroutines(client: InMemoryClient) -> None:
    override = client.override("dark")

    @override
    def look() -> bool:
        return client.is_enabled("dark")

    @override
    async def look_later() -> bool:
        await asyncio.sleep(0)
        return client.is_enabled("dark")

    class Looking:
        @override
        def look(self) -> bool:
            return client.is_enabled("dark")

    assert look()
    assert look()
    assert Looking().look()
    assert asyncio.run(look_later())
    assert look.__name__ == "look"
    assert not client.is_enabled("dark")


def test_overrides_of_many_threads_do_not_lose_each_other(client: InMemoryClient) -> None:
    failures: list[str] = []

    def work(name: str) -> None:
        for _ in range(200):
            with client.override(name):
                if not client.is_enabled(name):
                    failures.append(name)
            if client.is_enabled(name):
                failures.append(name)

    threads = [threading.Thread(target=work, args=(f"flag-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert client.is_enabled("new-checkout")


def test_the_default_client_in_isolation_knows_only_what_it_is_given() -> None:
    with isolated({"new-checkout": True}):
        assert flags.is_enabled("new-checkout")
        assert not flags.is_enabled("other")
        assert flags.wait_until_ready(0)
        with flags.override("other"):
            assert flags.is_enabled("other")
        with isolated():
            assert not flags.is_enabled("new-checkout")
    # It was never started, so nothing was asked of any server.
    assert flags.status.state is State.OFFLINE
    assert flags.status.last_error is None
