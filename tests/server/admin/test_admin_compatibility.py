"""What is said of a flag that Unleash's SDKs see otherwise: when it is written, and when it is asked for."""

from typing import Any

import pytest

from admin_server import AdminClient

WHERE = "environments/production"
PRO = {"attribute": "plan", "operator": "in", "values": ["pro"]}
LATER = {"attribute": "ordered_at", "operator": "after", "values": ["2026-11-23T10:00:00Z"]}
NOBODY = {
    "clients": "unleash",
    "field": "rules[0].rollout.percentage",
    "message": (
        "Unleash SDKs let nobody in by this rule: they compare whole percents, and 0.5 % is rounded down to 0 %."
    ),
}


@pytest.fixture
def flags(admin: AdminClient, project: str) -> str:
    for key in ("checkout", "search"):
        assert admin.post(f"/projects/{project}/flags", {"key": key}).status == 201
    return f"/projects/{project}/flags"


def configured(admin: AdminClient, flag: str, *rules: dict[str, Any], **fields: Any) -> list[dict[str, str]]:
    answer = admin.put(f"{flag}/{WHERE}", {"enabled": True, "rules": rules} | fields)
    assert answer.status == 200, answer
    warnings: list[dict[str, str]] = answer.body["warnings"]
    return warnings


def test_a_write_that_all_see_alike_warns_of_nothing(admin: AdminClient, flags: str) -> None:
    assert admin.post(f"{flags}/checkout/{WHERE}/on", {"percentage": 5}).body["warnings"] == []


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_write_warns_of_what_unleashs_sdks_see_otherwise(admin: AdminClient, flags: str, query: str) -> None:
    answer = admin.post(f"{flags}/checkout/{WHERE}/on{query}", {"percentage": 0.5})
    assert (answer.status, answer.body["warnings"]) == (200, [NOBODY])


def test_switching_off_warns_of_nothing(admin: AdminClient, flags: str) -> None:
    admin.post(f"{flags}/checkout/{WHERE}/on", {"percentage": 0.5})
    assert admin.post(f"{flags}/checkout/{WHERE}/off").body["warnings"] == []


def test_it_warns_of_what_is_in_segments_and_flags_that_are_named(admin: AdminClient, project: str, flags: str) -> None:
    assert admin.post(f"/projects/{project}/segments", {"key": "late", "constraints": [LATER]}).status == 201
    [warning] = configured(admin, f"{flags}/checkout", {"segments": ["late"]})
    assert warning["field"] == "rules[0].segments[0]"
    [warning] = configured(admin, f"{flags}/search", prerequisites=[{"flag": "checkout"}])
    assert warning["field"] == "prerequisites[0]"


def test_a_chain_of_flags_is_warned_of(admin: AdminClient, flags: str) -> None:
    assert admin.post(flags, {"key": "third"}).status == 201
    configured(admin, f"{flags}/checkout", {"constraints": [PRO]})
    assert configured(admin, f"{flags}/search", {"constraints": [PRO]}, prerequisites=[{"flag": "checkout"}]) == []
    [warning] = configured(admin, f"{flags}/third", prerequisites=[{"flag": "search"}])
    assert "one level only" in warning["message"]


def test_compatibility_says_what_unleashs_sdks_are_sent(admin: AdminClient, project: str, flags: str) -> None:
    assert admin.post(f"/projects/{project}/segments", {"key": "pros", "constraints": [PRO]}).status == 201
    configured(admin, f"{flags}/checkout", {"segments": ["pros"], "rollout": {"percentage": 12.5}})
    seen = admin.get(f"{flags}/checkout/{WHERE}/compatibility").body
    assert (seen["flag"], seen["environment"], seen["exact"]) == ("checkout", "production", False)
    assert [warning["field"] for warning in seen["warnings"]] == ["rules[0].rollout.percentage"]
    [strategy] = seen["feature"]["strategies"]
    assert strategy["parameters"]["rollout"] == "12"
    assert [asked["contextName"] for asked in strategy["constraints"]] == ["plan"]


def test_compatibility_of_what_is_not_there_is_not_found(admin: AdminClient, flags: str) -> None:
    assert admin.get(f"{flags}/nothing/{WHERE}/compatibility").status == 404
    assert admin.get(f"{flags}/checkout/environments/nowhere/compatibility").status == 404
