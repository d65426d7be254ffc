"""Unleash's client API, as its SDKs ask for it."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest

from fader_server.api.unleash.documents import event_id
from fader_server.api.unleash.steering import Steering
from fader_server.errors import Unavailable
from in_process import ADMIN_TOKEN, Answer
from server.unleash.conftest import SPEC, Project

pytestmark = pytest.mark.anyio

PYTHON = {
    "unleash-appname": "shop",
    "unleash-instanceid": "the-same-everywhere",
    "unleash-connection-id": "11111111-2222",
    "unleash-sdk": "unleash-python-sdk:6.9.1",
}
ON = {"enabled": True}


def names(answer: Answer) -> list[str]:
    return [feature["name"] for feature in answer.json["features"]]


# Features.


async def test_features_are_what_unleash_sends(project: Project) -> None:
    await project.admin("POST", "/segments", {"key": "staff", "targeting_keys": ["ada"]})
    await project.flag("checkout", {"enabled": True, "rules": [{"segments": ["staff"]}]})
    answer = await project.get()

    [feature] = answer.json["features"]
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["version"] == 2
    assert (feature["name"], feature["enabled"], feature["project"]) == ("checkout", True, project.name)
    [segment] = answer.json["segments"]
    assert feature["strategies"][0]["segments"] == [segment["id"]]
    assert answer.json["query"] == {
        "project": [project.name],
        "environment": "production",
        "inlineSegmentConstraints": False,
    }
    revision = (await project.admin("GET", "/flags/checkout"))["environments"]["production"]["revision"]
    assert answer.json["meta"]["revisionId"] == revision
    assert answer.json["meta"]["etag"] == answer.headers["etag"]


async def test_old_sdks_get_segments_inlined(project: Project) -> None:
    await project.admin("POST", "/segments", {"key": "staff", "targeting_keys": ["ada"]})
    await project.flag("checkout", {"enabled": True, "rules": [{"segments": ["staff"]}]})
    new = await project.get()
    for spec in ("4.1.9", "", "nonsense"):
        old = await project.get(unleash_client_spec=spec)
        [feature] = old.json["features"]
        assert "segments" not in old.json
        assert old.json["query"]["inlineSegmentConstraints"] is True
        assert [each["values"] for each in feature["strategies"][0]["constraints"]] == [["ada"]]
        assert old.headers["etag"] != new.headers["etag"]


async def test_who_has_everything_is_told_so(project: Project) -> None:
    await project.flag("checkout")
    etag = (await project.get()).headers["etag"]
    same = await project.get(if_none_match=etag)
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert (await project.get(if_none_match=f"W/{etag}")).status == 304

    await project.configure("checkout", ON)
    newer = await project.get(if_none_match=etag)
    assert newer.status == 200
    assert newer.headers["etag"] != etag
    assert newer.json["features"][0]["enabled"] is True


async def test_nobody_is_sent_back_by_a_server_that_is_behind(project: Project) -> None:
    await project.flag("checkout")
    etag = (await project.get()).headers["etag"]
    epoch, _, rest = etag.partition("-")
    revision, _, marks = rest.partition(".")
    ahead, other = f"{epoch}-{int(revision) + 5}.{marks}", f'"another-{int(revision) + 5}.{marks}'

    assert (await project.get(if_none_match=ahead)).status == 304
    assert (await project.get(if_none_match=other)).status == 200, "the database was restored"


async def test_bytes_are_compressed_for_who_wants_that(project: Project) -> None:
    await project.flag("checkout")
    plain, packed = await project.get(), await project.get(accept_encoding="gzip, deflate")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["vary"] == "Authorization, Accept-Encoding, Unleash-Client-Spec"


async def test_some_features_are_asked_for_by_name_and_by_tag(project: Project) -> None:
    for key, tags in (("shop.a", ["team:red", "old"]), ("shop.b", ["team:blue"]), ("blog.c", ["team:red"])):
        await project.flag(key, tags=tags)
    everything = await project.get()

    assert names(await project.get(query="namePrefix=shop.")) == ["shop.a", "shop.b"]
    assert names(await project.get(query="tag=team%3Ared")) == ["blog.c", "shop.a"]
    assert names(await project.get(query="tag=team:blue&tag=simple:old")) == ["shop.a", "shop.b"]
    assert names(await project.get(query="tag=team:red&namePrefix=shop")) == ["shop.a"]
    assert names(await project.get(query="tag=none:such")) == []
    assert names(await project.get(query="project=another")) == names(everything), "the key decides"
    some = await project.get(query="namePrefix=shop.")
    assert some.headers["etag"] != everything.headers["etag"]
    assert some.json["query"]["namePrefix"] == "shop."
    assert (await project.get(query="namePrefix=shop.", if_none_match=some.headers["etag"])).status == 304
    assert (await project.get(query="namePrefix=blog.", if_none_match=some.headers["etag"])).status == 200


async def test_a_tag_that_is_taken_away_is_noticed(project: Project) -> None:
    await project.flag("shop", tags=["old"])
    before = await project.get(query="tag=simple:old")
    await project.admin("PATCH", "/flags/shop", {"tags": []})
    after = await project.get(query="tag=simple:old", if_none_match=before.headers["etag"])
    assert (after.status, names(after)) == (200, [])


async def test_one_feature(project: Project) -> None:
    await project.flag("checkout", ON)
    found = await project.get("features/checkout")
    assert found.json == (await project.get()).json["features"][0]
    missing = await project.get("features/nothing")
    assert missing.status == 404
    assert set(missing.json) == {"name", "message"}


# Who may ask.


async def test_who_may_not_ask_is_told_why(project: Project) -> None:
    body = {"name": "page", "environment": "production", "kind": "client"}
    client_key = (await project.admin("POST", "/keys", body))["secret"]
    strangers = [None, "default:production.no-such-key-at-all", "*:production.no-such-key-at-all"]
    asked = [("GET", "features"), ("GET", "features/checkout"), ("GET", "delta"), ("GET", "streaming")]
    asked += [("POST", "register"), ("POST", "metrics"), ("POST", "metrics/bulk")]
    for key, status in [*((key, 401) for key in strangers), (ADMIN_TOKEN, 403), (client_key, 403)]:
        headers = SPEC if key is None else SPEC | {"authorization": key}
        for method, path in asked:
            sent = {} if method == "POST" else None
            answer = await project.server.request(method, f"/api/client/{path}", sent, headers=headers)
            assert answer.status == status, answer
            assert answer.json["message"]
            assert set(answer.json) == {"name", "message"}


async def test_a_key_may_come_bare_or_as_a_bearer(project: Project) -> None:
    for authorization in (project.sdk_key, f"Bearer {project.sdk_key}", f"bearer {project.sdk_key}"):
        assert (await project.get(authorization=authorization)).status == 200


async def test_while_the_database_is_away_features_are_as_they_were(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    await project.flag("checkout", ON)
    before = await project.get()
    monkeypatch.setattr(project.server.state.distributor, "is_current", False)

    def away(*_: object, **__: object) -> NoReturn:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(project.server.state.admin.store, "read", away)
    monkeypatch.setattr(project.server.state.admin.store, "write", away)

    after = await project.get()
    assert after.status == 200
    assert after.body == before.body
    assert after.headers["fader-stale"] == "true"
    assert (await project.get(query="tag=a:b")).status == 503
    counted = await project.post("metrics", {"bucket": {"toggles": {"checkout": {"yes": 1}}}})
    assert counted.status == 503, "never 401 or 403: that would silence SDKs for good"


# Who is there.


async def test_who_polls_is_listed_with_its_revision(project: Project) -> None:
    await project.flag("checkout")
    named = {name.replace("-", "_"): value for name, value in PYTHON.items()}
    etag = (await project.get(**named)).headers["etag"]
    await project.configure("checkout", ON)
    await project.get(**named, if_none_match=etag)

    [client] = await project.clients()
    assert client["instance"] == "11111111-2222"
    assert (client["app"], client["sdk"], client["sdk_version"]) == ("shop", "unleash-python-sdk", "6.9.1")
    assert (client["transport"], client["state"]) == ("poll", "connected")
    assert client["revision"] == (await project.get()).json["meta"]["revisionId"]


async def test_sdks_that_name_themselves_only_when_they_register_are_known_nevertheless(project: Project) -> None:
    registration = {"appName": "shop", "instanceId": "web-1", "sdkVersion": "unleash-client-python:5.12.5"}
    await project.post("register", {**registration, "interval": 60, "started": 1.5, "strategies": ["default"]})
    await project.get(unleash_appname="shop", unleash_instanceid="web-1")
    await project.get(unleash_appname="blog", unleash_instanceid="web-1")

    listed = await project.clients()
    assert [(one["instance"], one["app"], one["sdk"], one["sdk_version"]) for one in listed] == [
        ("blog:web-1", "blog", "", ""),
        ("shop:web-1", "shop", "unleash-client-python", "5.12.5"),
    ]


async def test_what_an_sdk_says_of_itself_is_shown_without_control_characters(project: Project) -> None:
    await project.get(unleash_appname="a\x1b[31mb", unleash_connection_id="x" * 500)
    [client] = await project.clients()
    assert client["app"] == "a [31mb"
    assert client["instance"] == "x" * 128


# Registration and metrics.


async def test_registrations_are_taken_as_they_come(project: Project) -> None:
    for body in (
        {},
        {"appName": None, "instanceId": "a", "connectionId": "b", "sdkVersion": "x:1", "strategies": [], "started": 1},
        {"appName": "shop", "started": "2026-11-23T10:00:00.123456789Z", "interval": 60_000, "platformName": "node"},
    ):
        for path in ("register", "metrics"):
            answer = await project.post(path, body)
            assert (answer.status, answer.body) == (202, b"")


async def test_what_cannot_be_read_is_a_bad_request(project: Project) -> None:
    for raw in (b"{", b"[]", b"\xff", b"[" * 100_000):
        for path in ("register", "metrics", "metrics/bulk"):
            answer = await project.post(path, raw=raw)
            assert answer.status == 400
            assert answer.json["message"].startswith("The body")


AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.mark.parametrize(
    "stop",
    [
        AN_HOUR_AGO.strftime("%Y-%m-%dT%H:%M:%S.123456789Z"),
        AN_HOUR_AGO.strftime("%Y-%m-%dT%H:%M:%S"),
        int(AN_HOUR_AGO.timestamp()),
        *("3026-01-01T00:00:00Z", 1e300, "?", None),
    ],
    ids=["nanoseconds", "no zone", "a number", "in the future", "no time at all", "not a time", "nothing"],
)
async def test_metrics_count_as_usage(project: Project, stop: Any) -> None:
    await project.flag("checkout")
    toggles = {"checkout": {"yes": 3, "no": "odd", "variants": {"disabled": 3}}, "gone": {"yes": 1}, "odd": None}
    body = {"appName": "shop", "bucket": {"start": "?", "stop": stop, "toggles": toggles}, "impactMetrics": [{}]}
    assert (await project.post("metrics", body)).status == 202
    assert await project.usage("checkout") == {"on": 3}
    # Nothing tells a report that is sent again from another one.
    assert (await project.post("metrics", body)).status == 202
    assert await project.usage("checkout") == {"on": 6}


async def test_nothing_counted_is_taken_as_well(project: Project) -> None:
    for bucket in (None, {}, {"toggles": {}}, {"toggles": None}):
        assert (await project.post("metrics", {"bucket": bucket})).status == 202


async def test_a_proxy_reports_for_those_behind_it(project: Project) -> None:
    await project.flag("checkout")
    counted = {"featureName": "checkout", "appName": "shop", "timestamp": AN_HOUR_AGO.isoformat(), "yes": 2, "no": 1}
    body = {
        "applications": [{"appName": "shop", "instanceId": "i", "sdkVersion": "unleash-client-go:4"}],
        "metrics": [
            {**counted, "environment": "production"},
            {**counted, "environment": "staging"},
            {**counted, "environment": None, "variants": {}},
        ],
    }
    assert (await project.post("metrics/bulk", body)).status == 202
    assert await project.usage("checkout") == {"on": 4, "off": 2}
    await project.get(unleash_appname="shop", unleash_instanceid="i")
    [client] = await project.clients()
    assert client["sdk"] == "unleash-client-go"


async def test_a_flood_of_names_is_refused(project: Project) -> None:
    toggles = {f"flag-{number}": {"yes": 1} for number in range(20_001)}
    answer = await project.post("metrics", {"bucket": {"toggles": toggles}})
    assert answer.status == 413
    assert "20,000" in answer.json["message"]


# Delta.


async def test_delta_begins_with_everything_and_goes_on_with_what_has_changed(project: Project) -> None:
    await project.flag("a", ON)
    await project.flag("b")
    first = await project.get("delta")
    [hydration] = first.json["events"]
    assert hydration["type"] == "hydration"
    assert [feature["name"] for feature in hydration["features"]] == ["a", "b"]
    assert hydration["segments"] == []
    nothing = await project.get("delta", if_none_match=first.headers["etag"])
    assert (nothing.status, nothing.body) == (304, b"")

    await project.configure("b", ON)
    second = await project.get("delta", if_none_match=first.headers["etag"])
    [updated] = second.json["events"]
    assert updated["type"] == "feature-updated"
    assert updated["eventId"] > hydration["eventId"]
    assert (updated["feature"]["name"], updated["feature"]["enabled"]) == ("b", True)
    [hydration] = (await project.get("delta", if_none_match='"17"')).json["events"]
    assert hydration["type"] == "hydration", "nobody here knows what that is"


async def test_delta_takes_away_what_is_gone(project: Project) -> None:
    await project.flag("a")
    await project.flag("b")
    etag = (await project.get("delta")).headers["etag"]
    await project.admin("POST", "/flags/a/archive")
    await project.configure("b", ON)

    events = (await project.get("delta", if_none_match=etag)).json["events"]
    assert [event["type"] for event in events] == ["feature-removed", "feature-updated"]
    assert (events[0]["featureName"], events[0]["project"]) == ("a", project.name)
    [some] = (await project.get("delta", query="namePrefix=b", if_none_match=etag)).json["events"][1:]
    assert some["feature"]["name"] == "b"


async def test_delta_of_some_features_holds_no_others(project: Project) -> None:
    await project.flag("a", tags=["x:y"])
    await project.flag("b")
    [hydration] = (await project.get("delta", query="tag=x:y")).json["events"]
    assert [feature["name"] for feature in hydration["features"]] == ["a"]


def test_ids_of_events_stay_readable_for_all_sdks() -> None:
    assert (event_id(7), event_id(2**40)) == (7, 2**32 - 1)


# Asking the SDK for Node to stream.


def node(connection: str) -> dict[str, str]:
    return {"unleash_sdk": "unleash-node-sdk:6.12.1", "unleash_connection_id": connection}


async def test_node_is_asked_to_stream_once_it_has_everything(project: Project) -> None:
    await project.flag("checkout")
    first = await project.get(**node("one"))
    assert "fetch-mode" not in first.headers, "it would throw away the flags that it starts with"

    etag = first.headers["etag"]
    asked = await project.get(**node("one"), if_none_match=etag)
    assert (asked.status, asked.headers["fetch-mode"], asked.headers["etag"]) == (200, "streaming", etag)
    assert asked.body == first.body
    again = await project.get(**node("one"), if_none_match=etag)
    assert again.status == 304, "no stream got through to it: let it poll"
    other = await project.get(**node("two"), if_none_match=etag)
    assert other.headers["fetch-mode"] == "streaming"


async def test_others_are_not_asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    await project.flag("checkout")
    etag = (await project.get()).headers["etag"]
    for headers in ({"unleash_sdk": "unleash-python-sdk:6.9.1", "unleash_connection_id": "p"}, {}):
        answer = await project.get(**headers, if_none_match=etag)
        assert (answer.status, "fetch-mode" in answer.headers) == (304, False)
    monkeypatch.setattr(project.server.state.distributor, "is_closing", True)
    assert (await project.get(**node("one"), if_none_match=etag)).status == 304


def test_nobody_is_asked_where_that_is_switched_off_or_who_does_not_say_who_they_are() -> None:
    sdk = {b"unleash-sdk": b"unleash-node-sdk:6.12.1"}
    assert Steering(is_wanted=True, clock=float).is_due(sdk, "one")
    assert not Steering(is_wanted=False, clock=float).is_due(sdk, "one")
    assert not Steering(is_wanted=True, clock=float).is_due(sdk, "")


def test_who_is_back_to_polling_is_asked_again_after_a_while() -> None:
    now = 0.0
    steering = Steering(is_wanted=True, clock=lambda: now)
    sdk = {b"unleash-sdk": b"unleash-node-sdk:6.12.1"}
    steering.note("one")
    assert not steering.is_due(sdk, "one")
    now = 299.0
    assert not steering.is_due(sdk, "one")
    now = 300.0
    assert steering.is_due(sdk, "one")


async def test_everything_is_json_that_unleash_sdks_take(project: Project) -> None:
    """For one that they do not take they would say nothing, and keep what they have."""
    engine = pytest.importorskip("yggdrasil_engine.engine").UnleashEngine()
    await project.flag("a", ON)
    await project.flag("b", {"enabled": True, "rules": [{"rollout": {"percentage": 33.3}}]})
    assert not engine.take_state((await project.get()).body.decode())
    assert not engine.take_state((await project.get("delta")).body.decode())
    assert engine.is_enabled("a", {}).is_enabled
    assert json.loads(engine.get_state())["features"]
