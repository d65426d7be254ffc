"""The steps of OpenFeature's scenarios, with our provider in OpenFeature's own SDK."""

import json
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagEvaluationOptions
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import ProviderStatus

from conformance.gherkin_scenarios import Steps, Table
from conformance.openfeature_flags import scenario_flags
from fader.config import Timing
from fader.openfeature import FaderProvider
from fader.testing import InMemoryClient
from sdk_contract.answers import silence
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import eventually

STEPS: Final = Steps()

_PATIENCE: Final = 20.0
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "boolean": json.loads,
    "string": str,
    "integer": int,
    "float": float,
    "object": lambda text: json.loads(text.replace('\\"', '"')),
}


class Recorder(Hook):
    """A hook that remembers when it was called, and with what."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name = name
        self.order = order
        self.stages: dict[str, FlagEvaluationDetails[Any] | None] = {}

    def _called(self, stage: str, details: FlagEvaluationDetails[Any] | None = None) -> None:
        self.order.append(f"{stage} {self.name}")
        self.stages[stage] = details

    def before(self, hook_context: HookContext, hints: HookHints) -> EvaluationContext | None:
        self._called("before")
        return None

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        self._called("after", details)

    def error(self, hook_context: HookContext, exception: Exception, hints: HookHints) -> None:
        self._called("error")

    def finally_after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        self._called("finally", details)


class ScenarioWorld:
    """What one scenario has set up so far."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}
        self.options: FlagEvaluationOptions | None = None
        self.order: list[str] = []
        self.hooks: list[Recorder] = []
        self.kind = self.key = ""
        self.default: Any = None
        self.details: FlagEvaluationDetails[Any] | None = None
        self._server: ScriptedServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        api.shutdown()
        if self._server is not None:
            self._server.stop()

    @property
    def client(self) -> OpenFeatureClient:
        return api.get_client()

    @property
    def result(self) -> FlagEvaluationDetails[Any]:
        assert self.details is not None
        return self.details

    def server(self) -> ScriptedServer:
        self._server = ScriptedServer()
        return self._server

    def provider(self, server: ScriptedServer, wait: float) -> FaderProvider:
        timing = Timing(grace=0.05, backoff_first=0.01, backoff_longest=0.05)
        key = "default:production.test-secret"
        return FaderProvider(wait=wait, url=server.url, sdk_key=key, cache_dir=None, usage=False, _timing=timing)

    def ask(self, suffix: str = "") -> Any:
        ask = getattr(self.client, f"get_{self.kind}_details{suffix}")
        return ask(self.key, self.default, EvaluationContext(None, self.attributes), self.options)

    def hook(self, name: str) -> Recorder:
        self.hooks.append(Recorder(name, self.order))
        return self.hooks[-1]


@STEPS("a stable provider")
def _stable(world: ScenarioWorld) -> None:
    api.set_provider_and_wait(FaderProvider(InMemoryClient(scenario_flags())))


@STEPS("a not ready provider")
def _not_ready(world: ScenarioWorld) -> None:
    server = world.server()
    server.always("stream", silence)
    api.set_provider(world.provider(server, wait=_PATIENCE))


@STEPS("a error provider")
def _error(world: ScenarioWorld) -> None:
    server = world.server()
    server.always("stream", silence)
    with pytest.raises(ProviderNotReadyError):
        api.set_provider_and_wait(world.provider(server, wait=0))


@STEPS("a stale provider")
def _stale(world: ScenarioWorld) -> None:
    server = world.server()
    api.set_provider_and_wait(world.provider(server, wait=_PATIENCE))
    server.stop()
    eventually(lambda: world.client.get_provider_status() is not ProviderStatus.READY, "the loss to be noticed")


@STEPS('an? (?P<kind>[A-Za-z]+)-flag with key "(?P<key>[^"]*)" and a fallback value "(?P<default>.*)"')
def _flag(world: ScenarioWorld, kind: str, key: str, default: str) -> None:
    world.kind, world.key = kind.lower(), key
    world.default = _READERS[world.kind](default)


@STEPS('a context containing a key "(?P<key>[^"]+)", with type "(?P<kind>\\w+)" and with value "(?P<value>.*)"')
def _attribute(world: ScenarioWorld, key: str, kind: str, value: str) -> None:
    world.attributes[key] = _READERS[kind.lower()](value)


@STEPS('a context containing a key "(?P<key>[^"]+)" with null value')
def _null_attribute(world: ScenarioWorld, key: str) -> None:
    world.attributes[key] = None


@STEPS("an evaluation context with modifiable data")
def _modifiable(world: ScenarioWorld) -> None:
    world.attributes["tags"] = ["a", "b"]


@STEPS("evaluation options containing specific hooks")
def _hooks_as_options(world: ScenarioWorld) -> None:
    world.options = FlagEvaluationOptions(hooks=[world.hook("first"), world.hook("second")])


@STEPS("a client with added hook")
def _hook_of_client(world: ScenarioWorld) -> None:
    world.options = FlagEvaluationOptions()
    api.add_hooks([world.hook("added")])


@STEPS("the flag was evaluated with details(?: using the evaluation options)?")
def _evaluate(world: ScenarioWorld) -> None:
    world.details = world.ask()


@STEPS("the flag was evaluated with details asynchronously")
def _evaluate_asynchronously(world: ScenarioWorld) -> None:
    world.details = _at_once(world.ask("_async"))


def _at_once(question: Coroutine[Any, Any, FlagEvaluationDetails[Any]]) -> FlagEvaluationDetails[Any]:
    """The answer of a coroutine that never waits for anything: there is no event loop here that it could wait on."""
    try:
        question.send(None)
    except StopIteration as finished:
        answer: FlagEvaluationDetails[Any] = finished.value
        return answer
    raise AssertionError("the evaluation waits for something")


@STEPS("the evaluation should complete without blocking")
def _complete(world: ScenarioWorld) -> None:
    assert world.result


@STEPS('the resolved details value should be "(?P<value>.*)"')
def _value_is(world: ScenarioWorld, value: str) -> None:
    expected = _READERS[world.kind](value)
    assert world.result.value == expected
    assert type(world.result.value) is type(expected)


@STEPS('the reason should be "(?P<reason>\\w+)"')
def _reason_is(world: ScenarioWorld, reason: str) -> None:
    assert world.result.reason == reason


@STEPS('the error-code should be "(?P<code>\\w+)"')
def _error_is(world: ScenarioWorld, code: str) -> None:
    assert world.result.error_code == code


@STEPS('the flag key should be "(?P<key>.*)"')
def _key_is(world: ScenarioWorld, key: str) -> None:
    assert world.result.flag_key == key


@STEPS('the variant should be "(?P<variant>.*)"')
def _variant_is(world: ScenarioWorld, variant: str) -> None:
    assert world.result.variant == variant


@STEPS('the provider status should be "(?P<status>\\w+)"')
def _status_is(world: ScenarioWorld, status: str) -> None:
    assert world.client.get_provider_status() is ProviderStatus[status]


@STEPS("the specified hooks should execute during evaluation")
def _hooks_ran(world: ScenarioWorld) -> None:
    assert [set(hook.stages) for hook in world.hooks] == [{"before", "after", "finally"}] * 2


@STEPS("the hook order should be maintained")
def _hooks_in_order(world: ScenarioWorld) -> None:
    wanted = ["before first", "before second", "after second", "after first", "finally second", "finally first"]
    assert world.order == wanted


@STEPS("the original evaluation context should remain unmodified")
def _context_is_as_it_was(world: ScenarioWorld) -> None:
    assert world.attributes == {"tags": ["a", "b"]}


@STEPS("the evaluation details should be immutable")
def _details_are_immutable(world: ScenarioWorld) -> None:
    # The details are a mutable dataclass of OpenFeature's SDK. Ours to keep is what 1.4.15.1 asks for, the metadata.
    assert isinstance(world.result.flag_metadata, MappingProxyType)


@STEPS('the "(?P<stage>\\w+)" hook should have been executed')
def _hook_ran(world: ScenarioWorld, stage: str) -> None:
    assert stage in world.hooks[0].stages


@STEPS('the "(?P<stages>[^"]+)" hooks should be called with evaluation details')
def _hooks_ran_with(world: ScenarioWorld, stages: str, table: Table) -> None:
    for stage in stages.split(", "):
        details = world.hooks[0].stages[stage]
        for row in table:
            expected = None if row["value"] == "null" else _READERS[row["data_type"]](row["value"])
            assert getattr(details, row["key"]) == expected, (stage, row)
