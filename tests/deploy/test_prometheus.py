"""The alert rules and the dashboard, loaded into a real Prometheus that scrapes a real server: every expression can be
evaluated, and no metric is named that does not exist."""

import itertools
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from scraping import scrape
from services.prometheus import Prometheus, prometheus_program, running_prometheus

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
ALERTS = FOLDER / "alerts.yml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]
}
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "fader.json").read_text("utf-8"))
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}

# Nothing of these happens to a healthy server, and their other label is not known before.
RARE = {"fader_environment_epoch_changes_total", "fader_admission_refused_total"}


def expressions() -> Iterator[str]:
    """All of the rules and of the dashboard, with its variables filled in as Grafana does."""
    for rule in RULES.values():
        yield rule["expr"]
    for panel in PANELS.values():
        for target in panel["targets"]:
            yield filled_in(target["expr"])


def filled_in(expression: str) -> str:
    values = {"__rate_interval": "1m", "job": "fader"} | dict.fromkeys(("instance", "project", "environment"), ".*")
    filled = re.sub(r"\$(\w+)", lambda match: values[match[1]], expression)
    assert "$" not in filled, filled
    return filled


def metrics_of(expression: str) -> set[str]:
    """The names of metrics in an expression: what is left when all else that PromQL knows is taken away."""
    rest = re.sub(r'"[^"]*"', "", expression)
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", rest)
    rest = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", rest)
    rest = re.sub(r"\boffset\s+\w+", " ", rest)
    words = set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", rest))
    return words - {"and", "or", "unless", "bool", "by", "without", "on", "ignoring"}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up == 0", {"up"}),
        (
            'sum by (job, le) (rate(a_bucket{le="0.5",x=~"y|z"}[5m])) / on (job) group_right () b > 1e3',
            {"a_bucket", "b"},
        ),
        ("max (a offset 15m) unless b or vector(0)", {"a", "b"}),
        ("60 * time() - a{b='c'}", {"a"}),
    ],
)
def test_names_of_metrics_are_found(expression: str, names: set[str]) -> None:
    assert metrics_of(expression) == names


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server to which something of everything has happened."""
    with running_server(tmp_path_factory.mktemp("server")) as server:
        server.admin.create_flag("new-checkout")
        with closing(RawStream(server)) as stream:
            stream.event()
            server.admin.verb("new-checkout", "on")
            stream.event()
        for key in (server.sdk_key(), "default:production.nobody-knows-this"):
            urllib3.request("GET", f"{server.url}/sdk/v1/snapshot", headers={"Authorization": key}, timeout=PATIENCE)
        yield server


@pytest.fixture(scope="module")
def prometheus(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Set up as the example says, in more of a hurry."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    configuration["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), "200ms")
    assert configuration["rule_files"] == ["alerts.yml"]
    configuration["rule_files"] = [str(ALERTS)]
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"]}]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), configuration) as prometheus:
        # Two scrapes: rates need them.
        wait_for(lambda: prometheus.query("count_over_time(fader_build_info[1m]) >= 2"), "the server to be scraped")
        yield prometheus


def test_the_example_and_the_rules_are_well_formed() -> None:
    checked = subprocess.run(
        [prometheus_program("promtool"), "check", "config", FOLDER / "prometheus.yml"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_the_rules_pass_their_own_tests() -> None:
    ran = subprocess.run(
        [prometheus_program("promtool"), "test", "rules", FOLDER / "alerts_test.yml"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_rule_is_tested_to_fire_and_to_keep_quiet() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == RULES.keys()
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == RULES.keys()


def test_every_rule_says_how_bad_it_is_and_where_to_read_on() -> None:
    page = (ROOT / "docs" / "how-to" / "monitor.md").read_text("utf-8")
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["runbook"] == f"docs/how-to/monitor.md#{name.lower()}"
        assert f"\n### {name}\n" in page
    assert set(re.findall(r"^### (Fader\w+)$", page, re.MULTILINE)) == RULES.keys()


def test_no_metric_is_named_that_a_server_does_not_have(server: ServerProcess, prometheus: Prometheus) -> None:
    told = scrape(server)
    known = {"up"} | {sample.name for family in told.families.values() for sample in family.samples}
    known |= {f"{family.name}_total" for family in told.families.values() if family.type == "counter"}
    queries = [variable["query"]["query"] for variable in VARIABLES.values() if variable["type"] == "query"]
    asked = [re.sub(r"^label_values\((.*), \w+\)$", r"\1", filled_in(query)) for query in queries]
    named = set().union(*(metrics_of(expression) for expression in (*expressions(), *asked)))
    assert named <= known
    assert len(named) > 20
    for name in named - RARE:
        assert prometheus.query(f"count({name})"), f"{name} has no series in Prometheus"


def test_every_expression_can_be_evaluated(prometheus: Prometheus) -> None:
    for expression in expressions():
        prometheus.query(expression)


def test_the_dashboard_shows_something_of_a_server_at_work(prometheus: Prometheus) -> None:
    quiet = {
        title
        for title, panel in PANELS.items()
        if not any(prometheus.query(filled_in(target["expr"])) for target in panel["targets"])
    }
    assert quiet <= {"New epochs", "Refused to protect the server"}


def test_prometheus_evaluates_the_rules_and_a_healthy_server_raises_none(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]]:
        rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else []

    rules = wait_for(evaluated, "all rules to be evaluated")
    assert {rule["name"] for rule in rules} == RULES.keys()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    alerts = prometheus.api("alerts")["alerts"]
    assert [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"] == []


def test_prometheus_can_show_the_servers_token(tmp_path: Path) -> None:
    token = secrets.token_hex(20)
    (tmp_path / "token").write_text(token)
    with running_server(tmp_path / "server", FADER_METRICS_TOKEN=token) as server:
        job = {
            "job_name": "fader",
            "authorization": {"credentials_file": str(tmp_path / "token")},
            "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}],
        }
        (tmp_path / "prometheus").mkdir()
        configuration = {"global": {"scrape_interval": "200ms"}, "scrape_configs": [job]}
        with running_prometheus(tmp_path / "prometheus", configuration) as prometheus:
            wait_for(lambda: prometheus.query('up{job="fader"} == 1'), "the server to be scraped")


def test_panels_have_their_own_places() -> None:
    taken: dict[tuple[int, int], str] = {}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        across, down = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(across, down):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]


@pytest.mark.parametrize("title", PANELS)
def test_panels_ask_the_chosen_prometheus_about_the_chosen_nodes(title: str) -> None:
    panel = PANELS[title]
    assert panel["description"].endswith(".")
    assert "unit" in panel["fieldConfig"]["defaults"] or panel["type"] in {"table", "heatmap"}
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert 'job="$job",instance=~"$instance"' in target["expr"]
    assert VARIABLES["datasource"]["query"] == "prometheus"
