"""What goes wrong: exit codes that scripts can trust, one line that says what to do, never a traceback."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest

from command_line import Cli
from fader_cli import exits, program
from fader_cli.api import Api
from fader_cli.exits import ExitCode
from processes import ServerProcess

WITHOUT_JSON = {"serve", "demo", "completion"}
"""Commands whose result is no document."""


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield (*path, name), command
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


ALL = dict(commands(program.program))


def test_the_exit_codes_are_those_that_were_promised() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "NOT_ALLOWED": 4,
        "CONFLICT": 5,
        "UNREACHABLE": 6,
        "NOT_APPLIED": 7,
        "ROLLED_BACK": 8,
        "HELD": 9,
        "ABORTED": 10,
        "INTERRUPTED": 130,
    }
    assert set(exits.MEANINGS) == set(ExitCode)


def test_help_tells_the_exit_codes_and_all_commands(unsigned: Cli) -> None:
    said = unsigned.ok("--help")
    for code, meaning in exits.MEANINGS.items():
        assert f"{code.value}  {meaning}" in said
    for path in ALL:
        if len(path) == 1:
            assert f"\n  {path[0]} " in said


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_helps(unsigned: Cli, path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.get_short_help_str(64)
    assert not command.get_short_help_str(64).endswith("..."), "it must fit beside its name"
    said = unsigned.ok(*path, "--help")
    assert f"fader {' '.join(path)}" in said
    assert all(len(line) <= 100 for line in said.splitlines())
    assert unsigned.ok(*path, "-h") == said


@pytest.mark.parametrize("path", [path for path, one in ALL.items() if not isinstance(one, click.Group)], ids=" ".join)
def test_every_command_has_json_and_describes_its_options(path: tuple[str, ...]) -> None:
    options = [one for one in ALL[path].params if isinstance(one, click.Option)]
    assert any("--json" in one.opts for one in options) or path[0] in WITHOUT_JSON


def test_without_a_command_it_helps(unsigned: Cli) -> None:
    done = unsigned()
    assert done.code == 2
    assert done.err.startswith("Usage: fader")
    assert unsigned("rule").err.startswith("Usage: fader rule")


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("lst",), "did you mean list?"),
        (("rule", "ad"), "did you mean add?"),
        (("xyzzy",), "see `fader --help`"),
        (("on",), "see `fader on --help`"),
        (("list", "--serch", "x"), "--search"),
        (("list", "too", "many"), "see `fader list --help`"),
        (("history", "-n", "many"), "'many'"),
    ],
)
def test_a_wrong_command_line(unsigned: Cli, arguments: tuple[str, ...], mend: str) -> None:
    done = unsigned(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("fader: ")
    assert mend in done.err
    assert done.err.count("\n") == 1
    error = unsigned(*arguments, "--json").error
    assert error["exit_code"] == 2
    assert error["message"]


def test_nobody_is_signed_in(unsigned: Cli) -> None:
    done = unsigned("list")
    assert done.code == 4
    assert "fader login" in done.err


def test_a_problem_of_the_server_is_passed_on_as_a_document(cli: Cli) -> None:
    error = cli("show", "nope", "--json").error
    assert error["exit_code"] == 3
    assert error["problem"]["type"] == "urn:fader:problem:not-found"
    assert error["problem"]["status"] == 404
    assert error["hint"] == "see `fader list`"


@pytest.mark.parametrize("token", ["fader_\n", "fader_…", "two words"])
def test_a_token_that_cannot_be_one(unsigned: Cli, server: ServerProcess, token: str) -> None:
    done = unsigned("list", "--url", server.url, "--token", token)
    assert done.code == 4
    assert done.err.count("\n") == 1


def test_a_server_that_cannot_be_reached(unsigned: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = unsigned("list", "--url", url, "--token", "x")
    assert done.code == 6
    assert f"cannot reach {url}: nothing listens there" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("url", ["http://no.invalid", "https://{here}", "foo", "http://[::1", "http://127.0.0.1:99999"])
def test_an_address_that_leads_nowhere(unsigned: Cli, server: ServerProcess, url: str) -> None:
    done = unsigned("list", "--url", url.format(here=server.url.removeprefix("http://")), "--token", "x")
    assert done.code in (ExitCode.UNREACHABLE, ExitCode.USAGE)
    assert done.err.startswith("fader: ")
    assert done.err.count("\n") == 1
    assert "nobody foresaw" not in done.err


class Stranger(BaseHTTPRequestHandler):
    """Something that is no Fader server."""

    answer: tuple[int, bytes] = (200, b"")

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>", 6),
        (200, b"", 6),
        (200, b"[]", 6),
        (200, b'{"items": 3}', 6),
        (302, b"", 1),
        (404, b"<html>", 3),
        (500, b'{"title": "x"}', 1),
        (502, b"Bad Gateway", 6),
        (503, b'{"detail": "Busy.", "status": 503}', 6),
    ],
)
def test_a_stranger_answers(
    unsigned: Cli, stranger: str, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, code: int
) -> None:
    monkeypatch.setattr(Stranger, "answer", (status, body))
    done = unsigned("list", "--url", stranger, "--token", "x")
    assert done.code == code, done
    assert done.err.startswith("fader: ")
    assert done.err.count("\n") == 1
    assert "nobody foresaw" not in done.err


def test_what_nobody_foresaw_is_one_line_too(unsigned: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(Api, "get", fail)
    done = unsigned("list", "--url", "http://127.0.0.1:9", "--token", "x")
    assert done.code == 1
    assert "nobody foresaw: RuntimeError: first line" in done.err
    assert done.err.count("\n") == 1


def test_a_reader_who_goes_is_no_error(cli: Cli) -> None:
    cli.ok("create", "a")
    command = f"{sys.executable} -m fader_cli list | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full here")
def test_a_full_disk_is_said_in_a_line(cli: Cli) -> None:
    cli.ok("create", "a")
    command = f"{sys.executable} -m fader_cli list --json > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("missing", ["click", "rich", "platformdirs", "tomli_w"])
def test_without_its_extra_it_names_the_extra(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from fader_cli.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "fader: the command line is not installed (pip install 'fader[cli]')\n"


def test_its_version(unsigned: Cli) -> None:
    assert unsigned.ok("--version").startswith("fader ")
