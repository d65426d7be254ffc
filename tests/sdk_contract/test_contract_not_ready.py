"""What an application gets while there are no data, or none for its question: its own default, and the
reason."""

from collections.abc import Callable
from typing import Any

import pytest

from sdk_contract.answers import silence
from sdk_contract.documents import flag, flag_with_value
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient

Connect = Callable[..., SdkClient]

DEFAULTS: list[Any] = [True, False, "text", "", 0, 1.5, {"a": [1]}, [1, 2], None]


@pytest.fixture
def unready(server: ScriptedServer, connect: Connect) -> SdkClient:
    server.always("stream", silence)
    server.always("snapshot", silence)
    return connect()


@pytest.mark.parametrize("default", DEFAULTS)
def test_before_data_every_question_is_answered_by_its_default(unready: SdkClient, default: Any) -> None:
    assert not unready.ready
    assert unready.value("any", default) == default
    details = unready.evaluate("any", default=default)
    assert details["value"] == default
    assert details["variant"] is None
    assert details["reason"] == "ERROR"
    assert details["error_code"] == "PROVIDER_NOT_READY"


def test_before_data_nothing_is_enabled(unready: SdkClient) -> None:
    assert unready.evaluate("any", how="is_enabled")["value"] is False


def test_answers_change_as_soon_as_data_arrive(server: ScriptedServer, connect: Connect) -> None:
    server.script("stream", silence)
    client = connect(timing={"connect": 0.2, "first_byte": 0.2})
    assert client.evaluate("lit", how="is_enabled")["value"] is False
    client.wait()
    assert client.is_enabled("lit")


@pytest.mark.parametrize("default", DEFAULTS)
def test_unknown_flag_is_answered_by_its_default(server: ScriptedServer, connect: Connect, default: Any) -> None:
    client = connect()
    client.wait()
    details = client.evaluate("no-such-flag", default=default)
    assert details["value"] == default
    assert (details["reason"], details["error_code"]) == ("ERROR", "FLAG_NOT_FOUND")
    assert client.value("no-such-flag", default) == default
    assert client.evaluate("no-such-flag", how="is_enabled")["value"] is False


@pytest.mark.parametrize("served", ["text", 2, 2.5, {"a": 1}])
@pytest.mark.parametrize("default", ["other", 7, 7.5, {"b": 2}, True, None])
def test_default_of_another_type_is_returned_with_the_reason(
    server: ScriptedServer, connect: Connect, served: Any, default: Any
) -> None:
    server.world.flags["typed"] = flag_with_value("typed", served)
    client = connect()
    client.wait()
    details = client.evaluate("typed", default=default)
    fits = (
        default is None
        or type(default) is type(served)
        or (isinstance(default, float) and isinstance(served, int))  # every integer is a fine float
    )
    assert details["value"] == (served if fits else default)
    assert details["error_code"] == (None if fits else "TYPE_MISMATCH")
    assert client.value("typed", default) == details["value"]


def test_empty_environment_is_an_answer_too(server: ScriptedServer, connect: Connect) -> None:
    server.world.flags.clear()
    client = connect()
    assert client.wait()
    assert client.evaluate("any", default=1)["error_code"] == "FLAG_NOT_FOUND"


def test_details_name_variant_rule_and_revision(server: ScriptedServer, connect: Connect) -> None:
    server.world.flags["ruled"] = flag("ruled", rules=[{"id": "everyone"}])
    server.world.revision = 42
    client = connect()
    client.wait()
    details = client.evaluate("ruled", default=False)
    assert details["value"] is True
    assert details["variant"] == "on"
    assert details["rule"] == "everyone"
    assert details["reason"] == "TARGETING_MATCH"
    assert details["revision"] == 42
