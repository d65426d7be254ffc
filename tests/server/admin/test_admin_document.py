"""The OpenAPI document: complete, and true of the answers that it describes."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from admin_server import AdminClient, Answer


@pytest.fixture(scope="module")
def document(admin: AdminClient) -> dict[str, Any]:
    answer = admin.as_token(None).get("/openapi.json")
    assert answer.status == 200
    found: dict[str, Any] = answer.body
    return found


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert document["openapi"].startswith("3.1")
    assert len(operations) == len({one["operationId"] for _, _, one in operations}) > 35
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, one in operations:
        assert one["summary"], path
        assert "Needs the role" in one["description"], path
        assert set(one["tags"]) <= tags, path
        assert one["security"] == [{"admin_token": []}], path
        expected = {"401", "403", "422", "500", "503"}
        expected |= {"404"} if "{" in path else set()
        expected |= {"400", "413", "415"} if "requestBody" in one else set()
        assert expected <= set(one["responses"]), (path, method)
        for status, response in one["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]


def test_bodies_have_no_other_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path, _, one in _operations(document):
        content = one.get("requestBody", {}).get("content", {})
        if content and "text/plain" not in content:
            body = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert schemas[body]["additionalProperties"] is False, path
            assert schemas[body]["description"], path
    optional = {
        one["operationId"] for _, _, one in _operations(document) if one.get("requestBody", {}).get("required") is False
    }
    assert optional == {
        "archive_flag", "unarchive_flag", "switch_on", "switch_off", "undo",
        "pause_ramp", "resume_ramp", "advance_ramp", "approve_ramp", "abort_ramp",
    }  # fmt: skip


def test_there_is_no_page_for_browsers_beside_it(admin: AdminClient) -> None:
    for path in ("/openapi.json/x", "/openapi.json/openapi.json", "/nothing", ""):
        missing = admin.get(path)
        assert missing.status == 404
        assert missing.headers["Content-Type"] == "application/problem+json"


def test_each_path_says_which_methods_it_has(admin: AdminClient, document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        concrete = re.sub(r"\{\w+\}", "x", path.removeprefix("/api/v1"))
        documented = {method.upper() for method in methods}
        asked = admin.as_token(None).send("OPTIONS", concrete)
        assert set(asked.headers["Allow"].split(", ")) == documented | {"OPTIONS"}
        refused = admin.send("TRACE", concrete)
        assert refused.status == 405
        assert set(refused.headers["Allow"].split(", ")) == documented | {"OPTIONS"}
        assert refused.body["type"] == "urn:fader:problem:method-not-allowed"


class Documented:
    """Sends requests, and holds each answer against the document."""

    def __init__(self, admin: AdminClient, document: dict[str, Any]) -> None:
        self._admin = admin
        self._document = document
        self.seen: set[str] = set()

    def __call__(self, method: str, path: str, body: Any = None, *, status: int) -> Answer:
        if isinstance(body, bytes):
            answer = self._admin.send(method, path, raw=body, headers={"Content-Type": "text/plain"})
        else:
            answer = self._admin.send(method, path, body)
        assert answer.status == status, (method, path, answer)
        operation = self._operation(method, f"/api/v1{path.partition('?')[0]}")
        self.seen.add(operation["operationId"])
        content = operation["responses"][str(answer.status)].get("content", {})
        if answer.text:
            media_type = answer.headers["Content-Type"].partition(";")[0]
            schema = content[media_type]["schema"] | {"components": self._document["components"]}
            jsonschema_rs.validator_for(json.dumps(schema)).validate(answer.body)
        return answer

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        for template, methods in self._document["paths"].items():
            if method.lower() in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                found: dict[str, Any] = methods[method.lower()]
                return found
        raise AssertionError(f"{method} {path} is not in the document")


def test_answers_are_as_the_document_says(admin: AdminClient, document: dict[str, Any], project: str) -> None:
    call = Documented(admin, document)
    base = f"/projects/{project}"
    flags, place = f"{base}/flags", f"{base}/flags/a/environments/production"
    call("GET", "/whoami", status=200)
    call("POST", "/projects", {"key": f"{project}-2"}, status=201)
    call("POST", "/projects", {"key": f"{project}-2"}, status=409)
    call("PATCH", f"{base}-2", {"description": "x"}, status=200)
    call("GET", f"{base}-2", status=200)
    call("DELETE", f"{base}-2", status=204)
    call("GET", "/projects?limit=2", status=200)
    call("POST", f"{base}/environments", {"key": "canary"}, status=201)
    call("GET", f"{base}/environments", status=200)
    call("GET", f"{base}/environments/canary", status=200)
    call("DELETE", f"{base}/environments/canary", status=204)
    call("GET", f"{base}/environments/canary", status=404)
    call("POST", f"{base}/segments", {"key": "s", "targeting_keys": ["u"]}, status=201)
    call(
        "PUT",
        f"{base}/segments/s",
        {"constraints": [{"attribute": "n", "operator": "in", "values": [1, "a", True, 1.5]}]},
        status=200,
    )
    call("PUT", f"{base}/segments/s/members", b"ada\ngrace\n", status=200)
    call("POST", f"{base}/segments/s/members", {"add": ["linus"], "remove": ["ada"]}, status=200)
    call("POST", f"{base}/segments/s/members", {"add": [""]}, status=422)
    call("GET", f"{base}/segments/s/members?limit=1", status=200)
    call("GET", f"{base}/segments", status=200)
    call("GET", f"{base}/segments/s", status=200)
    variants = [{"name": "x", "value": {"a": [1]}}, {"name": "y"}]
    call("POST", flags, {"key": "a", "type": "object", "variants": variants, "off_variant": "y"}, status=201)
    call("POST", flags, {"key": "a b"}, status=422)
    call("POST", flags, {"key": "b"}, status=201)
    call("GET", flags, status=200)
    call("GET", f"{flags}/a", status=200)
    call("GET", f"{flags}/aa", status=404)
    call("PATCH", f"{flags}/a", {"tags": ["t"]}, status=200)
    call("GET", f"{flags}/a/usage", status=200)
    foreign = {"features": [{"name": "c"}, {"name": "d", "strategies": [{"name": "ours"}], "impressionData": True}]}
    imported = {"format": "unleash", "environment": "production", "document": foreign}
    call("POST", f"{base}/import", imported, status=422)
    call("POST", f"{base}/import", imported | {"skip_refused": True}, status=200)
    call("GET", f"{base}/environments/production/export?format=flagd", status=200)
    call("GET", f"{base}/environments/production/export?format=unleash&accept=redrawn&accept=disputed", status=200)
    call("GET", f"{base}/environments/nowhere/export?format=flagd", status=404)
    call("POST", f"{place}/on", status=200)
    call("POST", f"{place}/rollout", {"percentage": 12.5, "by": "account"}, status=200)
    call("POST", f"{place}/rules", {"id": "r", "segments": ["s"], "variant": "x"}, status=201)
    call("DELETE", f"{base}/segments/s", status=409)
    call("PUT", f"{place}/rules/r", {"split": {"variants": [{"variant": "x", "weight": 1}]}}, status=200)
    call("POST", f"{place}/explain", {"context": {"targeting_key": "u", "account": 7}}, status=200)
    call("GET", f"{place}/compatibility", status=200)
    call("DELETE", f"{place}/rules/r", status=200)
    call("POST", f"{place}/undo", status=200)
    call("POST", f"{place}/off", status=200)
    rules = [{"constraints": [{"attribute": "n", "operator": "<", "values": [5], "inverted": True}]}]
    call("PUT", place, {"enabled": True, "rules": rules, "prerequisites": [{"flag": "b"}]}, status=200)
    call("DELETE", f"{base}/segments/s", status=204)
    call("POST", f"{flags}/b/archive", status=409)
    plan = {"steps": [{"percentage": 1}, {"percentage": 100}], "guards": [{"id": "g", "metric": "m"}]}
    call("POST", f"{place}/ramp/plan", plan | {"traffic": {"users_per_hour": 60_000, "failing": 0.01}}, status=200)
    call("POST", f"{place}/ramp", {"steps": []}, status=422)
    call("POST", f"{place}/ramp", plan, status=201)
    call("POST", f"{place}/ramp", plan, status=409)
    call("POST", f"{place}/ramp/pause", status=200)
    call("POST", f"{place}/ramp/resume", status=200)
    call("POST", f"{place}/ramp/approve", status=200)
    call("POST", f"{place}/ramp/advance", status=200)
    call("GET", f"{place}/ramp", status=200)
    call("GET", f"{base}/ramps", status=200)
    call("POST", f"{place}/ramp/abort", status=200)
    call("POST", f"{place}/ramp/abort", {"off": True}, status=404)
    hook = call("POST", f"{place}/hooks", {"name": "h"}, status=201).body
    call("GET", f"{place}/hooks?limit=1", status=200)
    call("DELETE", f"{place}/hooks/{hook['id']}", status=204)
    call("POST", f"{flags}/a/archive", status=200)
    call("POST", f"{flags}/a/unarchive", status=200)
    call("POST", f"{flags}/a/archive", status=200)
    call("DELETE", f"{flags}/a", status=204)
    call("GET", f"{base}/changes?limit=500", status=200)
    call("GET", f"{base}/environments/production/acknowledgements", status=200)
    call("GET", f"{base}/environments/production/acknowledgements?revision=99999", status=404)
    call("GET", f"{base}/environments/production/clients?state=lost", status=200)
    key = call("POST", f"{base}/keys", {"name": "k", "environment": "production"}, status=201).body
    call("GET", f"{base}/keys", status=200)
    call("DELETE", f"{base}/keys/{key['id']}", status=204)
    token = call("POST", "/tokens", {"name": "t", "role": "viewer"}, status=201).body
    call("GET", "/tokens", status=200)
    call("DELETE", f"/tokens/{token['id']}", status=204)
    documented = {one["operationId"] for _, _, one in _operations(document)}
    assert documented - call.seen == {"stream_changes"}
