"""The examples for pipelines: what their formats allow, by the tools of the trade; and what their scripts do."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.programs import ROOT, output
from docs.test_pages import parse
from fader_cli.exits import ExitCode
from fader_cli.program import program
from processes import PATIENCE, ServerProcess, running_server
from reporting import Reporter

FOLDER = ROOT / "docs" / "how-to" / "ci"
GITHUB, GITLAB = FOLDER / "github-actions.yml", FOLDER / "gitlab-ci.yml"


def github_step(name: str) -> str:
    """The script of a step."""
    steps = yaml.safe_load(GITHUB.read_text("utf-8"))["jobs"]["ramp"]["steps"]
    script: str = next(step["run"] for step in steps if step["name"] == name)
    return script


def gitlab_jobs() -> dict[str, list[str]]:
    """The scripts of all jobs."""
    document = yaml.safe_load(GITLAB.read_text("utf-8"))
    return {name: job["script"] for name, job in document.items() if isinstance(job, dict) and "script" in job}


@pytest.mark.parametrize(("file", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")])
def test_they_are_what_their_formats_allow(file: Path, schema: str) -> None:
    output("check-jsonschema", "--builtin-schema", schema, file)


def test_they_are_good_yaml() -> None:
    output("yamllint", "--strict", "--config-file", ROOT / "deploy" / ".yamllint", FOLDER)


def test_their_commands_exist_with_their_options() -> None:
    lines = [line for script in gitlab_jobs().values() for line in script]
    lines += [github_step("Start"), github_step("Follow").splitlines()[1].partition("||")[0]]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line.replace("$STEPS", "1%,100%"))
        assert words[0] == "fader"
        parse(program, words[1:])


def test_what_is_typed_in_becomes_no_part_of_a_script() -> None:
    steps: list[dict[str, Any]] = yaml.safe_load(GITHUB.read_text("utf-8"))["jobs"]["ramp"]["steps"]
    assert not [step["name"] for step in steps if "${{" in step["run"]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("ci")) as server:
        yield server


@pytest.fixture(scope="module")
def reporter(server: ServerProcess) -> Iterator[Reporter]:
    with closing(Reporter(server)) as reporter:
        yield reporter


class Runner:
    """Runs scripts as a runner does, with the variables of the examples."""

    def __init__(self, server: ServerProcess, folder: Path, flag: str) -> None:
        self.summary = folder / "summary.md"
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FADER_URL": server.url,
            "FADER_TOKEN": server.admin_token,
            "FADER_CONFIG_DIR": str(folder),
            "FADER_ENVIRONMENT": "production",
            "FLAG": flag,
            "STEPS": "50%,100%",
            "REASON": "release 42",
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run one."""
        command = ["sh", "-e", "-c", script]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )


def test_a_job_fails_when_a_ramp_is_rolled_back(server: ServerProcess, reporter: Reporter, tmp_path: Path) -> None:
    runner, _ = Runner(server, tmp_path, "bad"), server.admin.create_flag("bad")
    assert runner.run(github_step("Start")).returncode == 0
    reporter.report("bad", (200, 60), (200, 2))
    assert runner.run(github_step("Follow")).returncode == ExitCode.ROLLED_BACK
    assert runner.run(github_step("Summarise")).returncode == 0
    assert "bad in production is ROLLED BACK" in runner.summary.read_text("utf-8")


def test_a_job_warns_when_a_ramp_is_held(server: ServerProcess, tmp_path: Path) -> None:
    runner, _ = Runner(server, tmp_path, "odd"), server.admin.create_flag("odd")
    assert runner.run(github_step("Start")).returncode == 0
    assert runner.run("fader rollout odd 5% --force").returncode == 0
    done = runner.run(github_step("Follow"))
    assert (done.returncode, "::warning::odd is held" in done.stdout) == (0, True), done
    allowed = yaml.safe_load(GITLAB.read_text("utf-8"))
    assert allowed["ramp"]["allow_failure"]["exit_codes"] == [ExitCode.HELD]
