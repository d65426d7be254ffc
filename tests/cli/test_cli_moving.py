"""``import`` and ``export``: flags of other services, from files and into them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from command_line import Cli

STRATEGY = {
    "name": "flexibleRollout",
    "featureName": "checkout",
    "parameters": {"rollout": "50", "stickiness": "default", "groupId": "checkout"},
    "segments": [3],
}
EXPORT: dict[str, Any] = {
    "features": [{"name": "checkout", "type": "release", "impressionData": True}, {"name": "search"}],
    "featureStrategies": [STRATEGY],
    "featureEnvironments": [
        {"name": "checkout", "featureName": "checkout", "environment": "production", "enabled": True}
    ],
    "segments": [{"id": 3, "name": "Berlin"}],
}
SEGMENTS = {"segments": [{"id": 3, "constraints": [{"contextName": "city", "operator": "IN", "values": ["B"]}]}]}
INEXACT = {"features": [{"name": "exact", "enabled": True}, {"name": "own", "strategies": [{"name": "ourOwn"}]}]}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, document in (("export", EXPORT), ("segments", SEGMENTS), ("inexact", INEXACT)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document), "utf-8")
    return tmp_path


def test_an_export_and_its_segments(cli: Cli, files: Path) -> None:
    command = ("import", "unleash", str(files / "export.json"), "--segments", str(files / "segments.json"))
    said = cli.ok(*command, "--dry-run")
    assert "created    checkout" in said
    assert "nothing is changed yet" in said
    assert cli.json("list") == []
    said = cli.ok(*command, "-e", "staging")
    assert "created    segment Berlin" in said
    assert "impressionData: Fader sends no impression events." in said
    assert "3 created in staging (revision " in said
    assert cli.json("show", "checkout")["environments"]["staging"]["rules"][0]["segments"] == ["Berlin"]
    assert "3 unchanged in staging" in cli.ok(*command, "-e", "staging")
    assert cli.json("history", "checkout")[0]["reason"] == "Imported from unleash"


def test_a_refusal_keeps_all_out_unless_it_is_skipped(cli: Cli, files: Path) -> None:
    command = ("import", "unleash", str(files / "inexact.json"))
    refused = cli(*command)
    assert refused.code == 1
    assert "strategies[0].name: The strategy 'ourOwn' is not known" in refused.out
    assert refused.err == "fader: own is refused, so nothing is imported (--skip-refused goes on without)\n"
    assert cli("import", "unleash", str(files / "inexact.json"), "--dry-run").code == 1
    assert cli.json("list") == []
    assert "1 created, 1 refused in development" in cli.ok(*command, "--skip-refused")
    assert [one["key"] for one in cli.json("list")] == ["exact"]


def test_scripts_get_the_report_as_a_document(cli: Cli, files: Path) -> None:
    refused = cli("import", "unleash", str(files / "inexact.json"), "--json")
    report = json.loads(refused.out)
    assert [(one["key"], one["outcome"]) for one in report["flags"]] == [("exact", "created"), ("own", "refused")]
    assert "own is refused" in refused.error["message"]
    report = cli.json("import", "unleash", str(files / "inexact.json"), "--skip-refused", "--wait")
    assert "acknowledged" in report


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "bad.json is not JSON: "),
        (b"", "(it is empty)"),
        (b"[]", "bad.json holds no JSON object"),
        (b"{}", "has neither features nor events"),
        ('{"features": [{"name": "\u00e4"}]}'.encode("latin-1"), "bad.json is not JSON (JSON is UTF-8: save it so)"),
        ('{"features": []}'.encode("utf-8-sig"), "(save it as UTF-8 without a byte order mark)"),
        ('{"features": []}'.encode("utf-16"), "(save it as UTF-8 without a byte order mark)"),
        (b'{"features": ' + b"[" * 100_000, "bad.json is nested too deeply"),
        (b'{"features": "' + b"x" * 17_000_000 + b'"}', "larger than 16,777,216 bytes"),
    ],
    ids=lambda given: repr(given[:40]),
)
def test_a_file_of_something_else(cli: Cli, tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    refused = cli("import", "unleash", str(file))
    assert refused.code != 0
    assert complaint in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize("content", [{}, {"segments": 7}, {"segments": []}, {"items": "none"}], ids=repr)
def test_a_file_without_segments(cli: Cli, files: Path, content: dict[str, Any]) -> None:
    (files / "bad.json").write_text(json.dumps(content), "utf-8")
    refused = cli("import", "unleash", str(files / "export.json"), "--segments", str(files / "bad.json"))
    complaint = "bad.json has no segments (they are what `segments` or `items` lists)"
    assert (refused.code, refused.err) == (2, f"fader: {complaint}\n")


def test_segments_whose_ids_are_none_are_not_taken_for_others(cli: Cli, files: Path) -> None:
    odd = {"segments": [{"id": [3]}, 5, {"name": "without"}, *SEGMENTS["segments"]]}
    (files / "odd.json").write_text(json.dumps(odd), "utf-8")
    command = ("import", "unleash", str(files / "export.json"), "--segments", str(files / "odd.json"))
    assert "created    segment Berlin" in cli.ok(*command)


def test_a_document_from_standard_input(cli: Cli) -> None:
    done = cli.program(
        "import", "unleash", "-", "-e", "production", stdin=json.dumps({"features": [{"name": "piped"}]})
    )
    assert "1 created in production" in done.out, done


def test_the_how_to_page(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documents that it shows, with all commands on it, in its order."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).resolve().parents[2] / "docs/how-to/move-to-fader.md").read_text("utf-8")
    documents = re.findall(r"`(\w+\.json)`\n\n```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(documents) == page.count("```json")
    for name, document in documents:
        Path(name).write_text(document, "utf-8")
    said = run(cli, page, "From Unleash")
    assert "new-checkout" in said[0]
    assert cli.json("show", "new-checkout")["environments"]["production"]["rules"][0]["rollout"]["percentage"] == 25.0

    settings = {"on": True, "offVariation": 1, "fallthrough": {"variation": 0}, "rules": [IN_BERLIN]}
    from_launchdarkly = {"items": [LAUNCHDARKLY["items"][0] | {"environments": {"production": settings}}]}
    # Of another name than the segment that came from Unleash.
    Path("flags.json").write_text(json.dumps(from_launchdarkly).replace("berlin", "in-town"), "utf-8")
    Path("segments.json").write_text(json.dumps({"items": [{"key": "in-town", "included": ["ada"]}]}), "utf-8")
    assert "2 created in production" in run(cli, page, "From LaunchDarkly")[1]

    welcome = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    Path("flags.json").write_text(json.dumps({"flags": {"welcome": welcome}}), "utf-8")
    assert "1 created in production" in run(cli, page, "From flagd")[0]

    cli.ok("off", "new-checkout", "-e", "production")  # whose share flagd would draw anew
    run(cli, page, "And out again")
    assert Path("segments.json").stat().st_size > 0
    assert "new-checkout" in json.loads(Path("flags.json").read_text("utf-8"))["flags"]


def run(cli: Cli, page: str, section: str) -> list[str]:
    """What the commands of a section of the page say."""
    text = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True)[1:] for block in blocks for line in block.splitlines()]
    assert commands
    return [cli.ok(*words) for words in commands]


LAUNCHDARKLY = {"items": [{"key": "checkout", "variations": [{"value": True}, {"value": False}], "environments": {}}]}
SHARES = {"rollout": {"variations": [{"variation": 0, "weight": 25_000}, {"variation": 1, "weight": 75_000}]}}
IN_BERLIN = {"clauses": [{"op": "segmentMatch", "values": ["berlin"]}], "variation": 0}


def test_from_launchdarkly(cli: Cli, tmp_path: Path) -> None:
    settings = {"on": True, "offVariation": 1, "fallthrough": SHARES, "rules": [IN_BERLIN]}
    document = {"items": [LAUNCHDARKLY["items"][0] | {"environments": {"test": settings}}]}
    flags, segments = tmp_path / "flags.json", tmp_path / "segments.json"
    flags.write_text(json.dumps(document), "utf-8")
    segments.write_text(json.dumps({"items": [{"key": "berlin", "included": ["ada"]}]}), "utf-8")
    command = ("import", "launchdarkly", str(flags), "--segments", str(segments))
    refused = cli(*command)
    assert refused.code == 1
    assert "environments.test.fallthrough.rollout: Fader draws by another hash" in refused.out
    assert 'Accept "redrawn" to let as many in, who are others.' in refused.out
    assert "2 created in development" in cli.ok(*command, "--accept", "redrawn")
    rules = cli.json("show", "checkout")["environments"]["development"]["rules"]
    assert [one.get("segments") or one["rollout"]["percentage"] for one in rules] == [["berlin"], 25.0]
    assert "2 unchanged in development" in cli.ok(*command, "--accept", "redrawn")


def test_from_flagd(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    colour = {"state": "ENABLED", "variants": {"red": "#f00", "blue": "#00f"}, "defaultVariant": "red"}
    file.write_text(json.dumps({"flags": {"colour": colour}}), "utf-8")
    assert "1 created in development" in cli.ok("import", "flagd", str(file))
    assert "1 unchanged in development" in cli.ok("import", "flagd", str(file))


def make_flags(cli: Cli) -> None:
    """In production: a flag for Berlin and half of all others, one with variants, and one that needs another."""
    cli.ok("segment", "create", "berlin", "--if", "city is Berlin")
    cli.ok("create", "checkout", "--tag", "team:shop", "-d", "One page")
    cli.ok("rule", "add", "checkout", "--segment", "berlin", "-e", "production")
    cli.ok("on", "checkout", "-e", "production")
    cli.ok("create", "colour", "--type", "string", "--variant", "red=#f00", "--variant", "off=", "--off-variant", "off")
    cli.ok("on", "colour", "-e", "production")


def test_out_for_unleash_and_back_again(cli: Cli, tmp_path: Path) -> None:
    make_flags(cli)
    file = tmp_path / "export.json"
    command = ("export", "--format", "unleash", "-e", "production", "-o", str(file))
    said = cli.ok(*command)
    assert "2 flags of production in " in said
    assert "segments are only named" in said
    segments = tmp_path / "segments.json"
    assert "segments are only named" not in cli.ok(*command, "--segments", str(segments))
    assert json.loads(segments.read_text("utf-8"))["segments"][0]["constraints"][0]["values"] == ["Berlin"]
    document = json.loads(file.read_text("utf-8"))
    assert document["featureTags"] == [{"featureName": "checkout", "tagType": "team", "tagValue": "shop"}]
    assert [segment["name"] for segment in document["segments"]] == ["berlin"]
    assert document["contextFields"] == [{"name": "city", "stickiness": False}]
    report = cli.json("import", "unleash", str(file), "--segments", str(segments), "-e", "production")
    outcomes = {one["key"]: one["outcome"] for one in (*report["flags"], *report["segments"])}
    assert (outcomes["checkout"], outcomes["berlin"]) == ("unchanged", "unchanged")
    assert outcomes["colour"] == "updated"  # on for everybody without a rule, and now by one
    assert cli.json("show", "colour")["variants"][1] == {"name": "off", "value": ""}


def test_out_for_flagd_and_read_by_its_provider(cli: Cli, tmp_path: Path) -> None:
    make_flags(cli)
    file = tmp_path / "flags.json"
    cli.ok("export", "--format", "flagd", "-e", "production", "-o", str(file))
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file))
    try:
        provider.initialize(EvaluationContext())
        for city in ("Berlin", "Bonn"):
            context = EvaluationContext("ada", {"city": city})
            enabled = provider.resolve_boolean_details("checkout", False, context).value
            explained = cli.json("explain", "checkout", "-e", "production", "-u", "ada", "-a", f"city={city}")
            assert enabled is explained["enabled"] is (city == "Berlin")
        assert provider.resolve_string_details("colour", "", EvaluationContext("ada")).value == "#f00"
    finally:
        provider.shutdown()


def test_what_cannot_be_said_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    make_flags(cli)
    cli.ok("create", "half")
    cli.ok("rollout", "half", "50%", "-e", "production")
    cli.ok("on", "half", "-e", "production")
    cli.ok("rule", "add", "colour", "-e", "production", "--if", "city is Bonn", "--serve", "off")
    file = tmp_path / "flags.json"
    command = ("export", "--format", "flagd", "-e", "production", "-o", str(file))
    refused = cli(*command)
    assert refused.code == 1
    assert "rules[0].rollout: flagd draws by another hash" in refused.err
    assert refused.err.endswith("fader: half is refused, so nothing is exported (--skip-refused goes on without)\n")
    assert not file.exists()
    cli.ok(*command, "--skip-refused")
    assert sorted(json.loads(file.read_text("utf-8"))["flags"]) == ["checkout", "colour"]
    cli.ok(*command, "--accept", "redrawn", "--accept", "disputed")
    assert sorted(json.loads(file.read_text("utf-8"))["flags"]) == ["checkout", "colour", "half"]


def test_scripts_get_the_document_with_the_report(cli: Cli) -> None:
    make_flags(cli)
    document = json.loads(cli("export", "--format", "flagd", "-e", "production").out)
    assert document["metadata"]["flagSetId"].endswith("/production")
    report = cli.json("export", "--format", "flagd", "-e", "production")
    assert report["document"] == document
    assert {one["outcome"] for one in report["flags"]} == {"exported"}
