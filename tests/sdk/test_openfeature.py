"""Our provider in OpenFeature's SDK, beyond the scenarios of its specification: events, life, types and reasons."""

import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from fader.config import Timing
from fader.model import Constraint, Flag, Guard, Prerequisite, Rollout, Rule, Snapshot, Variant
from fader.openfeature import FaderProvider
from fader.testing import InMemoryClient
from sdk_contract.answers import respond, silence
from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import PATIENCE, eventually

KEY = "default:production.test-secret"
QUICK = Timing(grace=0.05, backoff_first=0.01, backoff_longest=0.05)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """OpenFeature keeps its providers and handlers in module-level state."""
    yield
    api.shutdown()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    scripted.world.flags["lit"] = flag("lit")
    yield scripted
    scripted.stop()


def provider_for(server: ScriptedServer, wait: float = PATIENCE, **settings: Any) -> FaderProvider:
    told = {"url": server.url, "sdk_key": KEY, "cache_dir": None, "usage": False, "_timing": QUICK}
    return FaderProvider(wait=wait, **{**told, **settings})


def serving(*flags: Flag) -> OpenFeatureClient:
    api.set_provider_and_wait(FaderProvider(InMemoryClient({each.key: each for each in flags})))
    return api.get_client()


def events(event: ProviderEvent, client: OpenFeatureClient | None = None) -> "queue.Queue[EventDetails]":
    """What is told of our provider: OpenFeature also tells of the one that is there before any."""
    heard: queue.Queue[EventDetails] = queue.Queue()
    (client or api).add_handler(event, lambda told: heard.put(told) if told.provider_name == "fader" else None)
    return heard


# --- events -----------------------------------------------------------------------------------------------------------


def test_a_change_is_passed_on_with_the_flags_that_it_affects(server: ScriptedServer) -> None:
    changed = events(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    api.set_provider_and_wait(provider_for(server))
    server.wait_for_streams()
    server.change(flag("lit", enabled=False), flag("other"))
    details = changed.get(timeout=PATIENCE)
    assert details.flags_changed == ["lit", "other"]
    assert details.metadata == {"revision": 2}
    assert details.provider_name == "fader"
    assert api.get_client().get_boolean_value("lit", True) is False


def test_ready_is_announced_once(server: ScriptedServer) -> None:
    ready = events(ProviderEvent.PROVIDER_READY)
    changed = events(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    api.set_provider_and_wait(provider_for(server))
    server.wait_for_streams()
    ready.get(timeout=PATIENCE)
    server.change(flag("other"))
    changed.get(timeout=PATIENCE)  # and with that the thread has looked at the status as well
    server.change(flag("another"))
    changed.get(timeout=PATIENCE)
    assert ready.empty()


def test_a_lost_server_makes_the_provider_stale_until_it_is_back(server: ScriptedServer) -> None:
    stale, ready = events(ProviderEvent.PROVIDER_STALE), events(ProviderEvent.PROVIDER_READY)
    api.set_provider_and_wait(provider_for(server))
    ready.get(timeout=PATIENCE)
    server.restart(pause=lambda: stale.get(timeout=PATIENCE))
    ready.get(timeout=PATIENCE)
    assert api.get_client().get_provider_status() is ProviderStatus.READY
    assert api.get_client().get_boolean_value("lit", False) is True


def test_a_provider_without_flags_is_in_error_and_becomes_ready_by_itself(server: ScriptedServer) -> None:
    failed, ready = events(ProviderEvent.PROVIDER_ERROR), events(ProviderEvent.PROVIDER_READY)
    server.always("stream", respond(503))
    with pytest.raises(ProviderNotReadyError):
        api.set_provider_and_wait(provider_for(server, wait=0))
    details = failed.get(timeout=PATIENCE)
    assert details.error_code is ErrorCode.PROVIDER_NOT_READY
    client = api.get_client()
    assert client.get_provider_status() is ProviderStatus.ERROR
    assert client.get_boolean_details("lit", False).error_code is ErrorCode.PROVIDER_NOT_READY
    server.always("stream", None)
    ready.get(timeout=PATIENCE)
    assert client.get_boolean_value("lit", False) is True


def test_with_flags_from_the_disk_it_starts_without_the_server_and_says_that_they_may_be_old(
    server: ScriptedServer, tmp_path: Any
) -> None:
    before = provider_for(server, cache_dir=tmp_path)
    before.initialize(EvaluationContext())
    before.shutdown()
    server.stop()
    stale = events(ProviderEvent.PROVIDER_STALE)
    api.set_provider_and_wait(provider_for(server, wait=0.01, cache_dir=tmp_path))
    assert api.get_client().get_boolean_value("lit", False) is True
    assert "the flags may be old" in (stale.get(timeout=PATIENCE).message or "")
    assert api.get_client().get_provider_status() is ProviderStatus.STALE


# --- life -------------------------------------------------------------------------------------------------------------


def test_setting_a_provider_does_not_wait_for_it(server: ScriptedServer) -> None:
    server.always("stream", silence)
    api.set_provider(provider_for(server))
    assert api.get_client().get_provider_status() is ProviderStatus.NOT_READY


def test_shutting_down_closes_the_own_client_and_may_be_repeated(server: ScriptedServer) -> None:
    provider = provider_for(server)
    api.set_provider_and_wait(provider)
    api.shutdown()
    provider.shutdown()
    server.wait_for_streams(0)
    assert len(server.wait_for("goodbye")) == 1


def test_after_a_shutdown_it_can_be_set_again(server: ScriptedServer) -> None:
    provider = provider_for(server)
    api.set_provider_and_wait(provider)
    first = provider.client
    api.shutdown()
    api.set_provider_and_wait(provider)
    assert provider.client is not first
    server.wait_for_streams(1)
    server.change(flag("lit", enabled=False))
    eventually(lambda: not api.get_client().get_boolean_value("lit", True), "the change to arrive")


def test_a_client_that_was_handed_over_stays_open(server: ScriptedServer) -> None:
    client = InMemoryClient({"lit": True})
    provider = FaderProvider(client)
    api.set_provider_and_wait(provider)
    changed = events(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    api.shutdown()
    client.set("lit", False)
    assert changed.empty()
    assert provider.client is client


def test_each_domain_has_its_own_flags() -> None:
    for domain in ("shop", "office"):
        api.set_provider_and_wait(FaderProvider(InMemoryClient({"colour": domain})), domain)
    shop, office = api.get_client("shop"), api.get_client("office")
    assert (shop.get_string_value("colour", ""), office.get_string_value("colour", "")) == ("shop", "office")
    heard = events(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, office)
    for client in (shop, office):
        provider = client.provider
        assert isinstance(provider, FaderProvider)
        assert isinstance(provider.client, InMemoryClient)
        provider.client.set("colour", f"new {provider.client.value('colour')}")
    assert heard.get(timeout=PATIENCE).flags_changed == ["colour"]
    assert heard.empty()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: FaderProvider(url="nowhere"), ValueError, "url"),
        (lambda: FaderProvider(colour="red"), TypeError, "colour"),
        (lambda: FaderProvider(InMemoryClient(), app="shop"), TypeError, "one or the other"),
    ],
)
def test_wrong_arguments_raise_where_they_are_made(
    make: Callable[[], FaderProvider], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make()


def test_importing_fader_does_not_import_openfeature() -> None:
    program = "import sys, fader.client, fader.testing; sys.exit('openfeature' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


# --- answers ----------------------------------------------------------------------------------------------------------


def number(key: str, value: float) -> Flag:
    return Flag(key=key, enabled=True, type="number", variants=(Variant(name="only", value=value),), off_variant="only")


@pytest.mark.parametrize(
    ("ask", "key", "value", "error"),
    [
        ("float", "whole", 3.0, None),
        ("integer", "whole", 3, None),
        ("float", "exact", 3.0, None),
        ("integer", "exact", -1, ErrorCode.TYPE_MISMATCH),
        ("integer", "boolean", -1, ErrorCode.TYPE_MISMATCH),
        ("float", "boolean", -1, ErrorCode.TYPE_MISMATCH),
    ],
)
def test_any_number_is_a_float_but_only_an_integer_is_one(
    ask: str, key: str, value: float, error: ErrorCode | None
) -> None:
    client = serving(number("whole", 3), number("exact", 3.0), Flag(key="boolean", enabled=True))
    details: FlagEvaluationDetails[Any] = getattr(client, f"get_{ask}_details")(key, -1)
    assert (details.value, type(details.value), details.error_code) == (value, type(value), error)


def test_a_list_is_an_object_too() -> None:
    variants = (Variant(name="list", value=[1, 2]),)
    client = serving(Flag(key="list", enabled=True, type="object", variants=variants, off_variant="list"))
    assert client.get_object_value("list", {}) == [1, 2]


def test_a_variant_without_a_value_stands_for_the_default() -> None:
    client = serving(Flag(key="none", type="string", variants=(Variant(name="none"),), off_variant="none"))
    details = client.get_string_details("none", "mine")
    assert (details.value, details.variant, details.reason) == ("mine", "none", Reason.DISABLED)
    assert details.error_code is None


def test_the_context_decides() -> None:
    german = Rule(id="german", constraints=(Constraint(attribute="country", operator="in", values=("DE",)),))
    half = Rule(id="half", rollout=Rollout(percentage=50, by="default"))
    client = serving(
        Flag(key="by-country", enabled=True, rules=(german,)), Flag(key="half", enabled=True, rules=(half,))
    )
    assert client.get_boolean_value("by-country", False, EvaluationContext("ada", {"country": "DE"}))
    assert not client.get_boolean_value("by-country", False, EvaluationContext("ada", {"country": "FR"}))
    answers = [client.get_boolean_value("half", False, EvaluationContext(f"user-{n}")) for n in range(200)]
    assert 50 < sum(answers) < 150
    assert answers == [client.get_boolean_value("half", False, EvaluationContext(f"user-{n}")) for n in range(200)]


def test_metadata_say_which_rule_of_which_revision() -> None:
    half = Rule(id="half", rollout=Rollout(percentage=99.999))
    details = serving(Flag(key="half", enabled=True, rules=(half,))).get_boolean_details(
        "half", False, EvaluationContext("ada")
    )
    assert details.reason is Reason.SPLIT
    assert details.flag_metadata == {"revision": 1, "rule": "half"}


def test_a_prerequisite_that_fails_disables_the_flag() -> None:
    child = Flag(key="child", enabled=True, prerequisites=(Prerequisite(flag="parent"),))
    details = serving(child, Flag(key="parent")).get_boolean_details("child", True)
    assert (details.value, details.reason) == (False, Reason.DISABLED)
    assert details.flag_metadata["fader.reason"] == "PREREQUISITE_FAILED"


def test_every_error_leaves_the_default_and_says_why() -> None:
    client = serving(Flag(key="lit", enabled=True))
    missing = client.get_boolean_details("missing", True)
    assert (missing.value, missing.reason, missing.error_code) == (True, Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)
    assert "missing" in (missing.error_message or "")
    wrong = client.get_string_details("lit", "mine")
    assert (wrong.value, wrong.error_code) == ("mine", ErrorCode.TYPE_MISMATCH)
    assert "bool" in (wrong.error_message or "")


# --- tracking ---------------------------------------------------------------------------------------------------------


def test_tracking_records_outcomes_for_guards() -> None:
    ramped = Flag(key="new-checkout", enabled=True, rules=(Rule(id="ramped"),))
    client = InMemoryClient()
    client._runtime.holder.receive(
        Snapshot(
            project="p",
            environment="e",
            epoch="tracking",
            revision=1,
            flags={"new-checkout": ramped},
            guards={"new-checkout": (Guard(id="r.1.g", metric="payment", hash_key="00" * 16, rule="ramped"),)},
        )
    )
    api.set_provider_and_wait(FaderProvider(client))
    asking = api.get_client()
    for user in ("ada", "grace", "ada"):
        asking.track("payment", EvaluationContext(user), TrackingEventDetails(value=10.0))
    asking.track("payment", EvaluationContext("ada"), TrackingEventDetails(attributes={"failed": True}))
    asking.track("payment", EvaluationContext("linus"))
    asking.track("nobody-watches", EvaluationContext("linus"))
    seen = client._runtime.recorder.take()["r.1.g"].treatment
    assert seen.counts() == (3, 1)
    assert (seen.sums.count, seen.sums.total) == (3, 30.0)
