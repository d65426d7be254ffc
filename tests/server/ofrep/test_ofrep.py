"""OFREP: what is answered, to whom, and in which words. Each answer is held to OFREP's own description."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from fader_server.errors import Unavailable
from fader_server.storage import Store
from in_process import ADMIN_TOKEN, SDK_KEY, Answer, InProcess
from server.ofrep.conftest import ALL, CLIENT_KEY, FLAGS, GERMAN, ask, newest, running

pytestmark = pytest.mark.anyio

Conforms = Callable[[Any, str], None]


@pytest.mark.parametrize(
    ("key", "value", "reason", "variant"),
    [
        ("static", True, "STATIC", "on"),
        ("disabled", False, "DISABLED", "off"),
        ("targeted", True, "TARGETING_MATCH", "on"),
        ("child", False, "DISABLED", "off"),
        ("text", "one", "STATIC", "a"),
        ("whole", 1, "STATIC", "low"),
        ("fraction", 1.0, "STATIC", "low"),
        ("theme", {"colour": "black"}, "STATIC", "dark"),
    ],
)
async def test_one_flag(filled: InProcess, conforms: Conforms, key: str, value: Any, reason: str, variant: str) -> None:
    answer = await ask(filled, key)
    conforms(answer.json, "serverEvaluationSuccess")
    assert answer.status == 200
    assert {name: answer.json[name] for name in ("key", "value", "reason", "variant")} == {
        "key": key,
        "value": value,
        "reason": reason,
        "variant": variant,
    }
    assert answer.json["metadata"]["revision"] > 0


async def test_whole_numbers_and_fractions_are_told_apart_by_their_spelling(filled: InProcess) -> None:
    """Python's provider takes no 1 for a float, and no 1.0 for an integer."""
    assert b'"value":1,' in (await ask(filled, "whole")).body
    assert b'"value":1.0,' in (await ask(filled, "fraction")).body


async def test_a_variant_without_a_value_means_the_applications_default(filled: InProcess, conforms: Conforms) -> None:
    answer = (await ask(filled, "yours")).json
    conforms(answer, "serverEvaluationSuccess")
    assert "value" not in answer
    assert answer["variant"] == "yours"


async def test_a_percentage_is_a_split_and_who_is_not_in_gets_the_default(filled: InProcess) -> None:
    answers = [(await ask(filled, "half", {"targetingKey": f"user-{number}"})).json for number in range(40)]
    assert {(answer["reason"], answer["value"]) for answer in answers} == {("SPLIT", True), ("DEFAULT", False)}


async def test_the_finer_truth_is_in_the_metadata(filled: InProcess) -> None:
    assert (await ask(filled, "child")).json["metadata"]["fader.reason"] == "PREREQUISITE_FAILED"
    assert (await ask(filled, "targeted")).json["metadata"]["rule"] == "the-germans"


async def test_all_flags(filled: InProcess, conforms: Conforms) -> None:
    answer = await ask(filled)
    conforms(answer.json, "bulkEvaluationSuccess")
    assert answer.headers["etag"].startswith('"')
    assert [flag["key"] for flag in answer.json["flags"]] == sorted(FLAGS)
    revision = answer.json["metadata"].pop("revision")
    for flag in answer.json["flags"]:
        alone = (await ask(filled, flag["key"])).json
        assert alone["metadata"].pop("revision") == revision
        assert flag == {name: each for name, each in alone.items() if each != {}}


async def test_a_flag_looks_the_same_in_every_revision_that_does_not_touch_it(own: InProcess) -> None:
    """Browsers' providers compare flags as they come, to say which have changed."""
    before = (await ask(own)).json["flags"]
    await own.admin("POST", "/projects/default/flags/disabled/environments/production/on")
    await newest(own)
    after = (await ask(own)).json["flags"]
    different = {one["key"] for one, other in zip(before, after, strict=True) if one != other}
    assert different == {"disabled", "child"}


@pytest.mark.parametrize("key", ["", "targeted"])
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SDK_KEY}"},
        {"authorization": SDK_KEY},
        {"x-api-key": SDK_KEY},
        {"x-api-key": CLIENT_KEY},
        {"authorization": f"Bearer {CLIENT_KEY}"},
    ],
)
async def test_keys_of_both_kinds_come_in_any_of_three_ways(
    filled: InProcess, key: str, headers: dict[str, str]
) -> None:
    path = f"{ALL}/{key}" if key else ALL
    assert (await filled.request("POST", path, {"context": GERMAN}, headers=headers)).status == 200


@pytest.mark.parametrize("key", ["", "targeted"])
async def test_who_has_a_client_key_hears_nothing_of_rules(filled: InProcess, key: str) -> None:
    told = await ask(filled, key)
    heard = await ask(filled, key, credential=CLIENT_KEY)
    for word in ("the-germans", "country", "PREREQUISITE", "fader.reason", '"rule"'):
        assert word not in heard.body.decode()
    assert "the-germans" in told.body.decode()
    assert answers_in(told) == answers_in(heard)


def answers_in(answer: Answer) -> list[Any]:
    """All that an answer says of flags, without what it says about that."""
    return [{name: flag.get(name) for name in ("key", "value", "reason", "variant")} for flag in flags_in(answer)]


def flags_in(answer: Answer) -> list[Any]:
    found: list[Any] = answer.json.get("flags", [answer.json])
    return found


@pytest.mark.parametrize(
    "body", [b"{}", b'{"context": {}}', b'{"context": null}', b'{"context": {"targetingKey": ""}}']
)
async def test_who_says_little_of_the_context_is_answered_as_far_as_that_goes(filled: InProcess, body: bytes) -> None:
    headers = {"authorization": f"Bearer {SDK_KEY}"}
    one = await filled.request("POST", f"{ALL}/targeted", raw=body, headers=headers)
    assert (one.status, one.json["value"], one.json["reason"]) == (200, False, "DEFAULT")
    assert (await filled.request("POST", ALL, raw=body, headers=headers)).status == 200


@pytest.mark.parametrize("key", ["", "targeted"])
async def test_who_wants_to_be_told_is_told_that_the_targeting_key_is_missing(
    filled: InProcess, conforms: Conforms, key: str
) -> None:
    for context in ({}, {"targetingKey": ""}, {"country": "DE"}):
        answer = await ask(filled, key, context, fader_require_targeting_key="true")
        assert (answer.status, answer.json["errorCode"]) == (400, "TARGETING_KEY_MISSING")
        conforms(answer.json, "evaluationFailure" if key else "bulkEvaluationFailure")
    assert (await ask(filled, key, fader_require_targeting_key="true")).status == 200


async def test_numbers_are_targeting_keys_too(filled: InProcess) -> None:
    for number in range(10):
        by_number, by_text = [await ask(filled, "half", {"targetingKey": each}) for each in (number, f"{number}")]
        assert by_number.body == by_text.body


def is_error(answer: Answer, status: int, code: str, key: str) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer
    assert answer.json["errorCode"] == code
    assert answer.json["errorDetails"]
    assert answer.json.get("key", "") == key


@pytest.mark.parametrize("key", ["", "targeted"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        pytest.param(b'{"context": {"deep": ' + b"[" * 9_000 + b"]" * 9_000 + b"}}", "PARSE_ERROR", id="deep"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": "ada"}', "INVALID_CONTEXT"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": true}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": {"id": 1}}}', "INVALID_CONTEXT"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    filled: InProcess, conforms: Conforms, key: str, body: bytes, code: str
) -> None:
    path = f"{ALL}/{key}" if key else ALL
    answer = await filled.request("POST", path, raw=body, headers={"authorization": SDK_KEY})
    is_error(answer, 400, code, key)
    conforms(answer.json, "evaluationFailure" if key else "bulkEvaluationFailure")


async def test_what_is_not_there(filled: InProcess, conforms: Conforms) -> None:
    answer = await ask(filled, "nothing")
    is_error(answer, 404, "FLAG_NOT_FOUND", "nothing")
    conforms(answer.json, "flagNotFound")
    is_error(await ask(filled, "a/b"), 404, "FLAG_NOT_FOUND", "a/b")
    is_error(await filled.request("POST", "/ofrep/v1/other"), 404, "GENERAL", "")
    is_error(await filled.request("POST", f"{ALL}/", {}), 404, "GENERAL", "")


@pytest.mark.parametrize("key", ["", "targeted"])
async def test_who_may_not_ask_or_asks_in_another_way(filled: InProcess, key: str) -> None:
    path = f"{ALL}/{key}" if key else ALL
    is_error(await filled.request("POST", path, {"context": {}}), 401, "GENERAL", key)
    is_error(await ask(filled, key, credential=f"{SDK_KEY}0"), 401, "GENERAL", key)
    is_error(await ask(filled, key, credential=ADMIN_TOKEN), 403, "GENERAL", key)
    get = await filled.request("GET", path, headers={"authorization": SDK_KEY})
    is_error(get, 405, "GENERAL", key)
    assert get.headers["allow"] == "POST"
    text = {"authorization": SDK_KEY, "content-type": "text/plain"}
    is_error(await filled.request("POST", path, {"context": {}}, headers=text), 415, "GENERAL", key)
    is_error(await ask(filled, key, {"targetingKey": "x" * 30_000}), 413, "GENERAL", key)


async def test_what_nobody_thought_of_is_an_error_in_the_same_form(
    filled: InProcess, conforms: Conforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(filled.state.evaluators, "of", broken)
    for key in ("", "targeted"):
        answer = await ask(filled, key)
        is_error(answer, 500, "GENERAL", key)
        assert "secret" not in answer.body.decode()
        conforms(answer.json, "generalErrorResponse")


async def test_too_many_requests_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with running(tmp_path, FADER_SDK_REQUESTS_PER_SECOND="1") as server:
        answers = [await ask(server) for _ in range(30)]
        assert answers[0].status == 200
        is_error(answers[-1], 429, "GENERAL", "")
        assert int(answers[-1].headers["retry-after"]) > 0


async def test_all_flags_are_evaluated_at_a_bounded_rate_and_nothing_new_costs_nothing(
    flags_written: Path, tmp_path: Path
) -> None:
    shutil.copy(flags_written, tmp_path)
    async with running(tmp_path, FADER_SNAPSHOT_BYTES_PER_SECOND="65536") as server:
        first = await ask(server)
        answers = [await ask(server) for _ in range(100)]
        is_error(answers[-1], 429, "GENERAL", "")
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await ask(server, if_none_match=first.headers["etag"])).status == 304
        assert (await ask(server, "static")).status == 200


async def test_nothing_new_is_said_in_few_bytes(filled: InProcess) -> None:
    etag = (await ask(filled)).headers["etag"]
    for held in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = await ask(filled, if_none_match=held)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    reordered = dict(reversed(GERMAN.items()))
    assert (await ask(filled, context=reordered, if_none_match=etag)).status == 304


async def test_each_context_has_its_own_entity_tag_and_each_revision_too(own: InProcess) -> None:
    etag = (await ask(own)).headers["etag"]
    for context in ({}, {"targetingKey": "ada"}, {"targetingKey": "ada", "country": "FR"}):
        assert (await ask(own, context=context, if_none_match=etag)).status == 200
    assert (await ask(own, credential=CLIENT_KEY, if_none_match=etag)).status == 200
    await own.admin("POST", "/projects/default/flags/disabled/environments/production/on")
    await newest(own)
    answer = await ask(own, if_none_match=etag)
    assert answer.status == 200
    assert answer.headers["etag"] != etag


async def test_a_draw_holds_as_long_as_nothing_changes(empty: InProcess) -> None:
    rollout = {"percentage": 50, "by": "random"}
    await empty.create_flag("lots", {"enabled": True, "rules": [{"rollout": rollout}]})
    await newest(empty)
    etag = (await ask(empty)).headers["etag"]
    assert [(await ask(empty, if_none_match=etag)).status for _ in range(20)] == [304] * 20


async def test_an_answer_that_time_alone_makes_another_one_is_not_said_to_hold(empty: InProcess) -> None:
    soon = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    constraint = {"attribute": "current_time", "operator": "after", "values": [soon.isoformat()]}
    await empty.create_flag("timed", {"enabled": True, "rules": [{"constraints": [constraint]}]})
    await newest(empty)
    with time_machine.travel(soon - timedelta(hours=1), tick=False) as clock:
        first = await ask(empty)
        clock.move_to(soon - timedelta(minutes=1))
        assert (await ask(empty, if_none_match=first.headers["etag"])).status == 304
        clock.move_to(soon + timedelta(seconds=1))
        second = await ask(empty, if_none_match=first.headers["etag"])
    assert second.status == 200
    assert [answer.json["flags"][0]["value"] for answer in (first, second)] == [False, True]


async def test_a_client_that_holds_a_token_that_has_run_out_is_given_a_new_one(filled: InProcess) -> None:
    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    with time_machine.travel(now, tick=False) as clock:
        first = await ask(filled)
        clock.move_to(now + timedelta(hours=11))
        assert (await ask(filled, if_none_match=first.headers["etag"])).status == 304
        clock.move_to(now + timedelta(hours=13))
        second = await ask(filled, if_none_match=first.headers["etag"])
    assert second.status == 200
    assert second.json["eventStreams"] != first.json["eventStreams"]
    assert second.json["flags"] == first.json["flags"]


async def test_who_heard_of_a_revision_gets_it_from_a_server_that_has_not(own: InProcess, tmp_path: Path) -> None:
    """An announcement came from one server, and the question goes to another."""
    held = (await ask(own)).headers["etag"]
    async with running(tmp_path) as other:
        await other.admin("POST", "/projects/default/flags/disabled/environments/production/on")
        await newest(other)
        announced = other.state.distributor.version("default", "production")
    assert (await ask(own, if_none_match=held)).status == 304
    answer = await ask(own, query=f"flagConfigEtag={announced}&flagConfigLastModified=1", if_none_match=held)
    assert answer.json["metadata"]["revision"] == announced.revision
    for nonsense in ("", "x", "%00", f"{announced.epoch}-999"):
        assert (await ask(own, query=f"flagConfigEtag={nonsense}")).status == 200


async def test_a_flag_without_an_answer_is_said_to_have_none(
    own: InProcess, conforms: Conforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise Unavailable("The database is away.")

    await own.admin("POST", "/projects/default/segments", {"key": "vip"})
    listed = "\n".join(f"user-{number}" for number in range(2_000))
    await own.admin("PUT", "/projects/default/segments/vip/members", text=listed)
    await own.create_flag("vips", {"enabled": True, "rules": [{"segments": ["vip"]}]})
    await newest(own)
    monkeypatch.setattr(Store, "members_at", away)
    answer = await ask(own, "vips")
    is_error(answer, 503, "GENERAL", "vips")
    assert answer.headers["retry-after"]
    everything = await ask(own)
    conforms(everything.json, "bulkEvaluationSuccess")
    by_key = {flag["key"]: flag for flag in everything.json["flags"]}
    assert by_key["vips"]["errorCode"] == "GENERAL"
    assert by_key["static"]["value"] is True
    assert "etag" not in everything.headers


async def test_what_was_asked_is_counted(own: InProcess) -> None:
    for _ in range(3):
        await ask(own, "static")
    await ask(own)
    await ask(own, credential=CLIENT_KEY)
    await own.state.evaluators.close()
    used = await own.admin("GET", "/projects/default/flags/static/usage")
    assert [(one["variant"], one["count"]) for one in used["items"]] == [("on", 5)]


async def test_pages_of_other_origins_may_ask_and_read(filled: InProcess) -> None:
    asking = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,if-none-match",
    }
    preflight = await filled.request("OPTIONS", ALL, headers=asking)
    assert preflight.headers["access-control-allow-headers"] == asking["access-control-request-headers"]
    answer = await ask(filled, credential=CLIENT_KEY, origin="https://shop.example")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "ETag" in answer.headers["access-control-expose-headers"]


async def test_requests_are_counted_by_their_route(own: InProcess) -> None:
    await ask(own, "static")
    await ask(own, credential="nonsense")
    text = (await own.state.telemetry.metrics.exposition(""))[0].decode()
    assert f'fader_http_requests_total{{method="POST",route="{ALL}/{{key}}",status="200"}} 1.0' in text
    assert 'fader_credentials_rejected_total{door="ofrep",reason="unknown"} 1.0' in text


async def test_bodies_are_json_without_surprises(filled: InProcess) -> None:
    answer = await ask(filled)
    assert json.loads(answer.body)["eventStreams"][0]["inactivityDelaySec"] == 120
    assert int(answer.headers["content-length"]) == len(answer.body)
