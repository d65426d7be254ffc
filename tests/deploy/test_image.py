"""What the Dockerfile promises, which no linter knows: that it fits the code beside it."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploy.dockerfile import Stage, commands, read_dockerfile
from deploy.programs import ROOT
from fader_server.__main__ import USAGE
from fader_server.settings import SETTINGS

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONSTRAINTS = (ROOT / "requirements/constraints.txt").read_text("utf-8")

BUILD, IMAGE = read_dockerfile()


@pytest.mark.parametrize("stage", [BUILD, IMAGE], ids=["build", "image"])
def test_its_python_is_one_that_the_project_supports(stage: Stage) -> None:
    version = re.fullmatch(r"python:(\d+\.\d+)-slim-[a-z]+", stage.base)
    assert version
    assert f"Programming Language :: Python :: {version.group(1)}" in PROJECT["project"]["classifiers"]
    assert stage.base == BUILD.base, "bytecode and wheels are of the Python that made them"


def test_the_context_is_what_is_copied_and_nothing_else() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    assert let_through == {source for sources, _ in BUILD.copied for source in sources}
    assert all((ROOT / source).exists() for source in let_through)
    assert "**/__pycache__" in ignored
    assert not IMAGE.copied, "the image takes nothing but what was built"


def test_what_is_installed_is_pinned_down_to_what_builds_it() -> None:
    installs = [line for run in BUILD.values("RUN") for line in commands(run).split("&&") if " install " in line]
    assert installs
    assert all("--constraint requirements/constraints.txt" in line for line in installs)
    assert "--build-constraint requirements/constraints.txt" in installs[-1]
    for requirement in PROJECT["build-system"]["requires"]:
        assert re.search(rf"^{re.escape(requirement)}==", CONSTRAINTS, re.MULTILINE), requirement


def test_it_runs_as_a_number_that_is_not_roots() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", IMAGE.value("USER"))


def test_it_runs_a_command_that_exists() -> None:
    (name,) = json.loads(IMAGE.value("ENTRYPOINT"))
    (command,) = json.loads(IMAGE.value("CMD"))
    assert name in PROJECT["project"]["scripts"]
    assert f"{name} {command}" in USAGE


def test_its_port_is_the_servers() -> None:
    port = DEFAULTS["FADER_PORT"]
    assert IMAGE.value("EXPOSE") == port
    assert f"'FADER_PORT', '{port}'" in " ".join(IMAGE.health_check)


def test_it_is_asked_whether_it_lives_and_told_to_end_as_the_server_expects() -> None:
    assert "'/health/live'" in " ".join(IMAGE.health_check)
    assert IMAGE.value("STOPSIGNAL") == "SIGTERM"


def test_it_sets_nothing_that_is_no_setting_and_nothing_that_a_secret_file_may_set() -> None:
    for name in BUILD.environment.keys() | IMAGE.environment.keys():
        assert name in DEFAULTS or not name.startswith("FADER_")
    secret = {setting.name for setting in SETTINGS if setting.is_secret}
    assert not secret & (BUILD.environment.keys() | IMAGE.environment.keys())


def test_what_is_copied_from_the_build_is_where_the_build_put_it() -> None:
    flag, source, destination = shlex.split(IMAGE.value("COPY"))
    assert flag == "--from=build"
    assert source == destination, "scripts name the interpreter beside them by its path"
    assert f"venv --without-pip {source} " in BUILD.value("RUN")
    assert IMAGE.environment["PATH"].split(":")[0] == str(Path(source) / "bin")
