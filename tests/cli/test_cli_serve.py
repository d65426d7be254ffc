"""``serve`` and ``demo``: a server with nothing to configure."""

import os
import re
import signal
import socket
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import urllib3

from command_line import Cli
from processes import PATIENCE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


class Served:
    """A server that ``fader serve`` runs, and what it said at its start."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.welcome = ""

    def read_welcome(self) -> None:
        assert self.process.stdout is not None
        while "fader explain" not in self.welcome:
            line = self.process.stdout.readline()
            assert line, (self.welcome, self.process.communicate())
            self.welcome += line

    def export(self, name: str) -> str:
        found = re.search(rf"^ *export {name}=(\S+)$", self.welcome, re.MULTILINE)
        assert found, self.welcome
        return found[1]

    def ends_by(self, number: signal.Signals) -> None:
        """End it by a signal to ``fader`` alone, and make sure that its server has ended too, and in order."""
        (server,) = children(self.process.pid)
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0
        assert not psutil.pid_exists(server)


@contextmanager
def served(cli: Cli, folder: Path, *options: str, **environment: str) -> Iterator[Served]:
    port = free_port()
    database = str(folder / "data" / "fader.db")
    process = cli.start("serve", "--port", str(port), "--db", database, *options, **environment)
    server = Served(process, port)
    try:
        server.read_welcome()
        yield server
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()


def test_serve_with_several_processes(unsigned: Cli, tmp_path: Path) -> None:
    with served(unsigned, tmp_path, "--workers", "2") as server:
        assert urllib3.request("GET", f"{server.url}/health/ready").json()["worker"] in (1, 2)
        server.ends_by(signal.SIGINT)


def test_serve_needs_nothing_and_remembers_everything(unsigned: Cli, settings: Path, tmp_path: Path) -> None:
    # As narrow as a terminal can be: what is to be copied must be whole all the same.
    with served(unsigned, tmp_path, COLUMNS="40") as first:
        assert first.export("FADER_URL") == first.url
        key = first.export("FADER_SDK_KEY")
        answer = urllib3.request("GET", f"{first.url}/sdk/v1/snapshot", headers={"Authorization": f"Bearer {key}"})
        assert answer.status == 200
        assert answer.json()["environment"] == "development"
        for command in re.findall(r"^ *fader (.+)$", first.welcome, re.MULTILINE):
            unsigned.ok(*command.split())
        assert "is ON 20 % in development" in unsigned.ok("rollout", "new-checkout", "20%")
        first.ends_by(signal.SIGINT)
    for name in ("config.toml", "local-server.json"):
        assert stat.S_IMODE((settings / name).stat().st_mode) == 0o600
    assert tomllib.loads((settings / "config.toml").read_text())["current"] == "local"
    with served(unsigned, tmp_path) as second:
        assert second.export("FADER_SDK_KEY") == key
        assert [flag["key"] for flag in unsigned.json("list")] == ["new-checkout"]
        second.ends_by(signal.SIGTERM)


def test_serve_leaves_the_current_profile_alone_and_ends_with_its_server(
    unsigned: Cli, settings: Path, tmp_path: Path
) -> None:
    settings.mkdir()
    (settings / "config.toml").write_text(
        'current = "work"\n[profiles.work]\nurl = "http://flags.example.org"\ntoken = "x"\n'
        '[profiles.local]\nurl = "http://127.0.0.1:1"\ntoken = "old"\nenvironment = "staging"\n'
    )
    with served(unsigned, tmp_path) as server:
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "\n"
        assert "fader profile use local" in server.process.stdout.readline()
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGKILL)
        assert server.process.wait(PATIENCE) != 0
    found = tomllib.loads((settings / "config.toml").read_text())
    assert found["current"] == "work"
    assert found["profiles"]["local"]["url"] == server.url
    assert found["profiles"]["local"]["environment"] == "staging", "chosen by the user"


@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_port_that_is_taken(unsigned: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("FADER_PORT", str(free_port() if named_by == "option" else port))
        option = ["--port", str(port)] if named_by == "option" else []
        done = unsigned("serve", *option, "--db", str(tmp_path / "fader.db"))
    assert done.code != 0
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert f"--port {port + 1}" in done.err
    assert done.err.count("\n") == 1


def test_a_database_that_cannot_be_made(unsigned: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = unsigned("serve", "--port", str(free_port()), "--db", str(tmp_path / "file" / "fader.db"))
    assert done.code == 2
    assert "--db" in done.err


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_without_the_server_it_names_the_extra(unsigned: Cli, command: str) -> None:
    program = (
        "import importlib.util as util, sys; find = util.find_spec;"
        "util.find_spec = lambda name, *more: None if name == 'litestar' else find(name, *more);"
        f"from fader_cli.program import main; sys.exit(main([{command!r}]))"
    )
    done = unsigned.python(program)
    assert done.code == 1
    assert done.err == "fader: the server is not installed (pip install 'fader[server]')\n"


def test_the_demo_in_plain_lines(unsigned: Cli, settings: Path, tmp_path: Path) -> None:
    done = unsigned.program("demo", "--speed", "50", TMPDIR=str(tmp_path))
    assert done.code == 0, done
    assert "\x1b" not in done.out
    seen = [int(number) for number in re.findall(r"(\d+) of 480 users see it", done.out)]
    assert seen == [*sorted(seen[:-1]), 0]
    assert seen[-2] == 480
    assert len(seen) == 5
    assert re.findall(r"the same (\d+) among them", done.out) == [str(number) for number in seen[:3]]
    assert re.search(r"turned back by the ramp at 10 %, \d+ s after it began", done.out)
    assert re.search(r"payment: \d+ of \d+ users with the feature failed, and 2 of \d+ without", done.out)
    assert "applied by 1 of 1 SDK processes" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert not list(tmp_path.glob("fader-demo-*"))
    assert not settings.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_broken_off_tidies_up(unsigned: Cli, tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = unsigned.start("demo", TMPDIR=str(temporary))
    try:
        assert process.stdout is not None
        process.stdout.readline()
        (server,) = children(process.pid)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip() == ""
    assert not psutil.pid_exists(server)
    assert not list(temporary.glob("fader-demo-*"))


def test_damaged_secrets_are_named(unsigned: Cli, settings: Path, tmp_path: Path) -> None:
    settings.mkdir()
    (settings / "local-server.json").write_text("{")
    done = unsigned("serve", "--port", str(free_port()), "--db", str(tmp_path / "fader.db"))
    assert done.code == 1
    assert "local-server.json" in done.err
