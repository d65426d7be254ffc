"""What browsers see: the flags that are on, with their variants, in Unleash's form."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from browsers import Browser
from fader import Context
from fader.bucketing import bucket
from fader_server.errors import Unavailable
from in_process import SDK_KEY, InProcess, running_in_process

pytestmark = pytest.mark.anyio

PLAIN = {"name": "disabled", "enabled": False, "feature_enabled": True}
DEEP = b'{"context":' * 3_000 + b"{}" + b"}" * 3_000
EVERYBODY: dict[str, Any] = {"enabled": True}


def for_whom(attribute: str, *values: str) -> dict[str, Any]:
    return {"enabled": True, "rules": [{"constraints": [{"attribute": attribute, "operator": "in", "values": values}]}]}


async def test_only_what_is_on_is_listed(browser: Browser) -> None:
    await browser.create_flag("on", EVERYBODY)
    await browser.create_flag("off")
    await browser.create_flag("for-ada", for_whom("targeting_key", "ada"))
    answer = await browser.get(query="userId=ada")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "toggles": [
            {"name": name, "enabled": True, "variant": PLAIN, "impressionData": False} for name in ("for-ada", "on")
        ]
    }
    assert list(await browser.sees(userId="bob")) == ["on"]


@pytest.mark.parametrize(
    ("type_", "value", "payload"),
    [
        ("string", "a,b", {"type": "string", "value": "a,b"}),
        ("number", 0.5, {"type": "number", "value": "0.5"}),
        ("number", 3.0, {"type": "number", "value": "3"}),
        ("object", {"a": [1, True]}, {"type": "json", "value": '{"a":[1,true]}'}),
        ("string", None, None),
    ],
)
async def test_a_variant_has_its_name_and_a_payload_as_text(
    browser: Browser, type_: str, value: Any, payload: Any
) -> None:
    variants = [{"name": "red", "value": value}, {"name": "none", "value": None}]
    await browser.create_flag("f", EVERYBODY, type=type_, variants=variants, off_variant="none")
    expected = {"name": "red", "enabled": True, "feature_enabled": True}
    assert await browser.sees() == {"f": expected if payload is None else {**expected, "payload": payload}}


async def test_who_gets_the_off_variant_sees_the_flag_off(browser: Browser) -> None:
    variants = [{"name": "red", "value": "r"}, {"name": "none", "value": "n"}]
    rules = [{"constraints": for_whom("targeting_key", "ada")["rules"][0]["constraints"], "variant": "none"}, {}]
    await browser.create_flag(
        "f", {"enabled": True, "rules": rules}, type="string", variants=variants, off_variant="none"
    )
    assert await browser.sees(userId="ada") == {}
    assert (await browser.sees(userId="bob"))["f"]["name"] == "red"
    assert (await browser.get("/api/frontend/features/f", "userId=ada")).json == {
        "name": "f",
        "enabled": False,
        "variant": {**PLAIN, "feature_enabled": False},
        "impressionData": False,
    }


async def test_on_without_a_variant(browser: Browser) -> None:
    """What an Unleash flag becomes that has variants in one strategy and none in another."""
    variants = [{"name": "red", "value": "r"}, {"name": "on"}, {"name": "off"}]
    configuration = {"enabled": True, "rules": [{"variant": "on"}]}
    await browser.create_flag("f", configuration, type="string", variants=variants, off_variant="off")
    assert await browser.sees() == {"f": PLAIN}


async def test_a_context_says_whom_it_is_about(browser: Browser) -> None:
    for name, attribute, value in (
        ("user", "targeting_key", "ada"),
        ("session", "session_id", "s-1"),
        ("app", "app", "shop"),
        ("place", "environment", "default"),
        ("address", "remote_address", "192.0.2.7"),
        ("plan", "plan", "pro + more"),
        ("top", "country", "DE"),
    ):
        await browser.create_flag(name, for_whom(attribute, value))
    fields = {"userId": "ada", "sessionId": "s-1", "appName": "shop", "environment": "default", "country": "DE"}
    context = {**fields, "remoteAddress": "192.0.2.7", "properties": {"plan": "pro + more"}}
    wanted = {"user", "session", "app", "place", "address", "plan", "top"}
    flat = {**fields, "remoteAddress": "192.0.2.7", "properties[plan]": "pro + more"}
    assert (await browser.sees(**flat)).keys() == wanted
    posted = await browser.post("/api/frontend", {"context": context})
    assert {toggle["name"] for toggle in posted.json["toggles"]} == wanted


async def test_what_a_browser_does_not_say_is_filled_in(browser: Browser) -> None:
    await browser.create_flag("here", for_whom("remote_address", "127.0.0.1"))
    whole = {"rollout": {"percentage": 100, "by": "session_id"}}
    await browser.create_flag("has-session", {"enabled": True, "rules": [whole]})
    for context in ({}, {"sessionId": "", "remoteAddress": ""}):
        assert (await browser.sees(**context)).keys() == {"here", "has-session"}
    # Drawn anew for each request, one session is that of all flags: shared out alike, they agree.
    half = {"enabled": True, "rules": [{"rollout": {"percentage": 50, "salt": "s"}}]}
    for name in ("a", "b"):
        await browser.create_flag(name, half)
    await browser.follow()
    seen = [(await browser.sees()).keys() & {"a", "b"} for _ in range(64)]
    assert {frozenset(some) for some in seen} == {frozenset(), frozenset({"a", "b"})}


async def test_fractions_of_a_percent_work(browser: Browser) -> None:
    """Unlike with SDKs of Unleash's that evaluate by themselves."""
    half = {"enabled": True, "rules": [{"rollout": {"percentage": 0.5, "salt": "s"}}]}
    await browser.create_flag("f", half)
    inside, outside = "6368", "116243"
    assert (bucket("s", inside), bucket("s", outside)) == (0, 1000)
    assert await browser.sees(userId=inside) == {"f": PLAIN}
    assert await browser.sees(userId=outside) == {}


async def test_the_same_again_is_not_sent_again(server: InProcess, browser: Browser) -> None:
    await browser.create_flag("f", for_whom("targeting_key", "ada"))
    first = await browser.get(query="userId=ada")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for held in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await browser.get(query="userId=ada", If_None_Match=held)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    posted = await browser.post("/api/frontend", {"context": {"userId": "ada"}}, If_None_Match=tag)
    assert posted.status == 304
    assert (await browser.get(query="userId=bob", If_None_Match=tag)).status == 200
    await server.admin("POST", f"/projects/{browser.project}/flags/f/environments/production/off")
    await browser.follow()
    after = await browser.get(query="userId=ada", If_None_Match=tag)
    assert (after.status, after.json) == (200, {"toggles": []})


async def test_when_the_time_of_a_flag_has_come_the_tag_of_before_is_no_longer_good(browser: Browser) -> None:
    constraint = {"attribute": "current_time", "operator": "after", "values": ["2030-01-01T00:00:00Z"]}
    await browser.create_flag("f", {"enabled": True, "rules": [{"constraints": [constraint]}]})
    before = await browser.get(query="currentTime=2029-12-31T23:59:59Z")
    assert before.json == {"toggles": []}
    after = await browser.get(query="currentTime=2030-01-01T00:00:01Z", If_None_Match=before.headers["etag"])
    assert (after.status, len(after.json["toggles"])) == (200, 1)


async def test_much_is_compressed_for_who_takes_it(browser: Browser) -> None:
    for number in range(20):
        await browser.create_flag(f"flag-{number}", EVERYBODY)
    plain = await browser.get()
    packed = await browser.get(Accept_Encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == plain.json
    assert len(packed.body) * 3 < len(plain.body)
    assert packed.headers["etag"] == plain.headers["etag"]


@pytest.mark.parametrize("prefix", ["/api/frontend", "/api/proxy"])
async def test_other_ways_to_ask(browser: Browser, prefix: str) -> None:
    await browser.create_flag("on", EVERYBODY)
    await browser.create_flag("off")
    for answer in (
        await browser.get(prefix),
        await browser.post(prefix),
        await browser.post(prefix, {"context": None}),
    ):
        assert [toggle["name"] for toggle in answer.json["toggles"]] == ["on"]
    everything = (await browser.get(f"{prefix}/all")).json["toggles"]
    assert {toggle["name"]: toggle["enabled"] for toggle in everything} == {"off": False, "on": True}
    assert (await browser.get(f"{prefix}/features/on")).json["enabled"] is True
    missing = await browser.get(f"{prefix}/features/none")
    assert (missing.status, missing.json) == (
        404,
        {"name": "NotFoundError", "message": "There is no flag of this name."},
    )
    assert (await browser.post(f"{prefix}/client/register", {"appName": "shop"})).status == 200


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"context": 7}', b'{"context": {"userId": "\xff"}}', DEEP],
    ids=["half", "list", "number", "no UTF-8", "deep"],
)
async def test_what_cannot_be_read_is_refused(browser: Browser, body: bytes) -> None:
    refused = await browser.post("/api/frontend", raw=body)
    assert refused.status == 400
    assert refused.json.keys() == {"name", "message"}


@pytest.mark.parametrize(
    "context",
    [
        {"userId": {"a": 1}, "sessionId": [1], "remoteAddress": True, "properties": {"plan": {"x": []}}},
        {"userId": 7, "properties": "text", "currentTime": 5},
        {"userId": True, "properties": {"targeting_key": [], "plan": [["a"], None, 1e308]}},
        {"": "", "properties": {"": ""}},
    ],
)
async def test_odd_contexts_have_answers(browser: Browser, context: dict[str, Any]) -> None:
    rules = [
        {"constraints": [{"attribute": attribute, "operator": operator, "values": values}]}
        for attribute in ("plan", "targeting_key", "session_id", "remote_address", "current_time")
        for operator, values in (
            ("in", ["a"]),
            (">", [1]),
            ("in_cidr", ["10.0.0.0/8"]),
            ("semver_gt", ["1.0.0"]),
            ("matches", ["a+"]),
        )
    ]
    await browser.create_flag("f", {"enabled": True, "rules": [*rules, {"rollout": {"percentage": 50}}]})
    assert (await browser.post("/api/frontend/all", {"context": context})).status == 200


async def test_a_number_is_a_user_as_well_as_its_text(browser: Browser) -> None:
    await browser.create_flag("f", for_whom("targeting_key", "7"))
    assert (await browser.post("/api/frontend", {"context": {"userId": 7}})).json["toggles"]


async def test_a_flag_without_an_answer_is_left_out(
    server: InProcess, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its long list has never been here, and the database is away."""
    await server.admin("POST", f"/projects/{browser.project}/segments", {"key": "vip"})
    members = "\n".join(f"user-{number}" for number in range(2_000))
    await server.admin("PUT", f"/projects/{browser.project}/segments/vip/members", text=members)
    await browser.create_flag("vips", {"enabled": True, "rules": [{"segments": ["vip"]}]})
    await browser.create_flag("on", EVERYBODY)

    async def away(*_: object) -> Any:
        raise Unavailable("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr("fader_server.storage.store.Store.members_at", away)
        assert (await browser.sees(userId="user-7")).keys() == {"on"}
        assert (await browser.get("/api/frontend/features/vips")).status == 404


async def test_whose_key_it_must_be(server: InProcess, browser: Browser) -> None:
    refused = {
        "": 401,
        "default:production.client-nobodys-key-0123456789": 401,
        SDK_KEY: 403,
        "fader_" + "0123456789abcdef" * 2: 403,
    }
    for key, status in refused.items():
        for path in ("", "/all", "/features/f", "/client/metrics", "/client/register"):
            answer = await Browser(server, key).post(f"/api/frontend{path}", {})
            assert (answer.status, answer.json.keys()) == (status, {"name", "message"}), (key, path)
    assert (await Browser(server, f"Bearer {browser.key}").get()).status == 200


async def test_a_revoked_key_sees_nothing_more(server: InProcess, browser: Browser) -> None:
    assert (await browser.get()).status == 200
    (key,) = (await server.admin("GET", f"/projects/{browser.project}/keys"))["items"]
    await server.admin("DELETE", f"/projects/{browser.project}/keys/{key['id']}")
    assert (await browser.get()).status == 401


async def test_it_answers_as_the_sdk_does(server: InProcess, browser: Browser) -> None:
    split = {"variants": [{"variant": "a", "weight": 1}, {"variant": "b", "weight": 2}, {"variant": "c", "weight": 3}]}
    variants = [{"name": name, "value": name} for name in "abc"]
    rules = [{"rollout": {"percentage": 33.333}, "split": split}]
    await browser.create_flag("f", {"enabled": True, "rules": rules}, type="string", variants=variants, off_variant="a")
    flags = (await server.state.evaluators.of(browser.project, "production")).flags
    for number in range(200):
        details = flags.details("f", Context(f"user-{number}"), None)
        seen = await browser.sees(userId=f"user-{number}")
        assert (seen["f"]["payload"]["value"] if seen else None) == (details.value if details.enabled else None)


async def test_a_page_may_read_what_it_is_told(server: InProcess, browser: Browser) -> None:
    asking = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    page = {"Origin": "https://shop.example"}
    preflight = await server.request("OPTIONS", "/api/frontend", headers={**page, **asking})
    assert (preflight.status, preflight.headers["access-control-allow-headers"]) == (204, "authorization")
    assert preflight.headers["x-request-id"]
    tag = (await browser.get()).headers["etag"]
    for answer in (
        await browser.get(**page),
        await browser.get(If_None_Match=tag, **page),
        await browser.get("/api/frontend/features/none", **page),
        await Browser(server, "").get(**page),
    ):
        assert answer.headers["access-control-allow-origin"] == "*", answer
    assert "access-control-allow-origin" not in (await browser.get("/api/v1/whoami", **page)).headers


async def test_all_flags_are_evaluated_at_a_bounded_rate(tmp_path: Path) -> None:
    async with running_in_process(tmp_path, FADER_SNAPSHOT_BYTES_PER_SECOND="65536") as strict:
        browser = await Browser.of_new_project(strict, "strict")
        await browser.create_flag("f", EVERYBODY)
        for path in ("/api/frontend", "/api/frontend/all"):
            answers = [await browser.get(path) for _ in range(100)]
            assert (answers[-1].status, answers[-1].json["name"]) == (429, "RateLimitError")
            assert int(answers[-1].headers["retry-after"]) > 0
        assert (await browser.get("/api/frontend/features/f")).status == 200


async def test_other_mistakes_are_told_in_unleashs_form(browser: Browser) -> None:
    too_large = await browser.post("/api/frontend", raw=b" " * 2_000_000)
    assert (too_large.status, too_large.json["name"]) == (413, "ContentTooLargeError")
    wrong_method = await browser.get("/api/frontend/client/metrics")
    assert (wrong_method.status, wrong_method.json["name"]) == (405, "MethodNotAllowedError")
    nowhere = await browser.get("/api/frontend/none")
    assert (nowhere.status, nowhere.json["name"]) == (404, "NotFoundError")
