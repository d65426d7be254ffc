"""Explanations through the admin API. What they say in detail is the evaluator's, and tested with it."""

import pytest

from admin_server import AdminClient


@pytest.fixture
def explained(admin: AdminClient, project: str) -> str:
    flags = f"/projects/{project}/flags"
    admin.post(flags, {"key": "a"})
    place = f"{flags}/a/environments/production"
    germans = {"constraints": [{"attribute": "country", "operator": "in", "values": ["DE"]}], "id": "germans"}
    admin.put(place, {"enabled": True, "rules": [germans, {"id": "half", "rollout": {"percentage": 0}}]})
    return f"{place}/explain"


def test_the_deciding_rule_is_named(admin: AdminClient, explained: str) -> None:
    told = admin.post(explained, {"context": {"targeting_key": "user-42", "country": "DE"}}).body
    assert (told["enabled"], told["rule"], told["reason"]) == (True, "germans", "TARGETING_MATCH")
    assert [rule["evaluated"] for rule in told["rules"]] == [True, False]


def test_a_context_that_nothing_lets_in(admin: AdminClient, explained: str) -> None:
    told = admin.post(explained, {"context": {"targeting_key": "user-42", "country": ["FR", 1], "vip": None}}).body
    assert (told["enabled"], told["variant"], told["reason"]) == (False, "off", "DEFAULT")
    assert admin.post(explained, {}).body["enabled"] is False


@pytest.mark.parametrize("value", [{"a": 1}, [[1]]])
def test_attributes_are_scalars_or_lists_of_them(admin: AdminClient, explained: str, value: object) -> None:
    assert admin.post(explained, {"context": {"x": value}}).status == 422


def test_the_other_well_known_names_are_attributes_like_any(admin: AdminClient, explained: str) -> None:
    told = admin.post(explained, {"context": {"self": "x", "flag": "y", "current_time": "2026-01-01T00:00:00Z"}})
    assert told.status == 200


def test_what_is_not_there_cannot_be_explained(admin: AdminClient, explained: str) -> None:
    assert admin.post(explained.replace("/a/", "/b/"), {}).status == 404
    assert admin.post(explained.replace("production", "nowhere"), {}).status == 404
