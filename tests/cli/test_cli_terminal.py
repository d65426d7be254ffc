"""What only a terminal shows: questions, colours, its width; and what a shell asks for with the tab key."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing
from fcntl import ioctl

import pytest

from command_line import Cli
from processes import PATIENCE, ServerProcess
from raw_client import RawClient
from reporting import Reporter

Terminal = Callable[..., tuple[int, str]]


@pytest.fixture
def terminal() -> Terminal:
    """Runs a command in a terminal of 80 columns: what it is answered, each answer after its question appears."""

    def run(*arguments: str, answers: dict[str, str] | None = None, **environment: str) -> tuple[int, str]:
        ours, its = pty.openpty()
        ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "fader_cli", *arguments],
            env={**os.environ, "TERM": "xterm-256color", **environment},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C can be pressed there
        )
        os.close(its)
        left, said, deadline = dict(answers or {}), b"", time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                if select.select([ours], [], [], 0.1)[0]:
                    try:
                        part = os.read(ours, 65_536)
                    except OSError:  # how Linux tells that the other side is closed
                        break
                    if not part:
                        break
                    said += part
                for question in [question for question in left if question.encode() in said]:
                    os.write(ours, left.pop(question).encode())
            return process.wait(PATIENCE), said.decode().replace("\r\n", "\n")
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    return run


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize(("answer", "code", "is_archived"), [("y\n", 0, True), ("n\n", 130, False), ("\n", 130, False)])
def test_it_asks_before_it_destroys(cli: Cli, terminal: Terminal, answer: str, code: int, is_archived: bool) -> None:
    cli.ok("create", "a")
    done, said = terminal("archive", "a", answers={"[y/N]": answer})
    assert "Archive a in all environments?" in said
    assert done == code
    assert (cli.json("show", "a")["archived_at"] is not None) is is_archived


def test_switching_off_never_asks(cli: Cli, terminal: Terminal) -> None:
    cli.ok("create", "a")
    cli.ok("on", "a", "-e", "production")
    assert terminal("off", "a", "-e", "production")[0] == 0


def test_a_token_is_asked_for_and_not_shown(unsigned: Cli, server: ServerProcess, terminal: Terminal) -> None:
    code, said = terminal("login", server.url, answers={"Admin token": f"{server.admin_token}\n"})
    assert code == 0
    assert server.admin_token not in said
    unsigned.ok("whoami")


def test_colours_are_for_terminals_that_want_them(cli: Cli, terminal: Terminal) -> None:
    cli.ok("create", "a")
    assert "\x1b[1;32m" in terminal("on", "a")[1]
    assert "\x1b[1;32m" not in terminal("show", "a", NO_COLOR="1")[1]
    assert "\x1b" not in cli.program("list").out


def test_all_fits_into_80_columns(cli: Cli, terminal: Terminal) -> None:
    key = "a-rather-long-name-of-a-flag"
    cli.ok("create", key, "-d", "A description that goes on for so long that it cannot stand on a line " * 2)
    cli.ok("rule", "add", key, "--if", f"country in {', '.join(f'C{number}' for number in range(40))}", "-d", "Many")
    cli.ok("on", key, "--at", "12.345%", "--reason", "a reason that takes its time to come to the point, " * 2)
    for command in (
        ("list",),
        ("show", key),
        ("history",),
        ("explain", key, "-u", "ada"),
        ("key", "list"),
        ("token", "list"),
        ("--help",),
        ("rule", "add", "--help"),
    ):
        code, said = terminal(*command)
        assert code == 0
        too_long = [line for line in plain(said).splitlines() if len(line) > 80]
        assert not too_long, command


def test_into_a_pipe_a_line_stays_a_line(cli: Cli) -> None:
    cli.ok("create", "a", "-d", "word " * 40)
    assert len(cli.program("list").out.splitlines()) == 2


def test_the_demo_draws_its_users(unsigned: Cli, terminal: Terminal) -> None:
    code, said = terminal("demo", "--speed", "20")
    assert code == 0
    assert "●●●●●●●●●●" in plain(said)
    assert "480 users of a shop" in plain(said)
    assert "\x1b[?25h" in said, "the cursor is shown again"


def complete(cli: Cli, *words: str, **environment: str) -> list[str]:
    done = cli.program(
        COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1), _FADER_COMPLETE="bash_complete", **environment
    )
    assert done.code == 0, done
    assert done.err == ""
    return [line.partition(",")[2] for line in done.out.splitlines() if line]


def test_the_tab_key_knows_the_server(cli: Cli, project: str) -> None:
    for key in ("new-checkout", "new-search", "old"):
        cli.ok("create", key)
    cli.ok("segment", "create", "beta")
    assert complete(cli, "fader", "hist") == ["history"]
    assert complete(cli, "fader", "off", "new") == ["new-checkout", "new-search"]
    assert complete(cli, "fader", "off", "old", "-e", "") == ["development", "production", "staging"]
    assert complete(cli, "fader", "segment", "show", "") == ["beta"]
    assert complete(cli, "fader", "history", "--segment", "b") == ["beta"]
    assert complete(cli, "fader", "rule", "add", "old", "--segment", "b") == ["beta"]
    assert complete(cli, "fader", "env", "delete", "st") == ["staging"]
    assert complete(cli, "fader", "off", "-p", project) == [project]
    assert complete(cli, "fader", "off", "--profile", "t") == ["test"]
    assert complete(cli, "fader", "profile", "use", "t") == ["test"]


def test_the_tab_key_is_silent_when_there_is_no_answer(unsigned: Cli) -> None:
    assert complete(unsigned, "fader", "off", "") == []
    assert complete(unsigned, "fader", "off", "", FADER_URL="http://127.0.0.1:9", FADER_TOKEN="x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(unsigned: Cli, shell: str) -> None:
    assert "_FADER_COMPLETE" in unsigned.ok("completion", shell)
    assert unsigned("completion", "tcsh").code == 2


def test_waiting_shows_how_far_it_has_come(cli: Cli, terminal: Terminal, server: ServerProcess, project: str) -> None:
    cli.ok("create", "a")
    made = server.admin.ok("POST", f"/projects/{project}/keys", {"name": "sdk", "environment": "production"})
    with closing(RawClient(server, made["secret"], app="batch", host="job-3").stream):
        code, said = terminal("on", "a", "-e", "production", "--wait", "--timeout", "1")
    assert code == 7
    text = plain(said)
    assert "a is ON in production" in text
    assert re.search(r"applied by +0 / 1 SDKs", text)
    assert "1 has not confirmed: batch@job-3 (silent for" in text


def test_watching_is_one_screen_that_leaves_the_terminal_as_it_was(
    cli: Cli, terminal: Terminal, server: ServerProcess, project: str
) -> None:
    cli.ok("create", "a")
    made = server.admin.ok("POST", f"/projects/{project}/keys", {"name": "sdk", "environment": "production"})
    client = RawClient(server, made["secret"], host="web-17")
    cli.ok("on", "a", "-e", "production")
    with closing(client.stream):
        code, said = terminal("watch", "-e", "production", answers={"0 / 1 SDKs": "\x03"})
    assert code == 130
    entered, left = said.index("\x1b[?1049h"), said.index("\x1b[?1049l")
    shown = plain(said[entered:left])
    assert f"production of {project}" in shown
    assert re.search(r"production +revision \d+ .* 0 / 1 SDKs +1 waiting", shown)
    assert plain(said[left:]).strip() == ""


def test_watching_shows_also_where_nobody_is(cli: Cli, terminal: Terminal) -> None:
    code, said = terminal("watch", answers={"staging": "\x03"})
    assert code == 130
    for environment in ("development", "staging", "production"):
        assert re.search(rf"{environment} +revision 1 +no SDK is connected", plain(said))


def test_following_a_ramp_draws_its_evidence(cli: Cli, terminal: Terminal, server: ServerProcess, project: str) -> None:
    cli.ok("create", "a")
    cli.ok("ramp", "a", "50%,100%", "-e", "production", "-g", "a-rather-long-name-of-a-guard:latency=800ms:margin=5%")
    made = server.admin.ok("POST", f"/projects/{project}/keys", {"name": "sdk", "environment": "production"})
    reporter = Reporter(server, sdk_key=made["secret"])
    code, said = terminal("ramp", "status", "a", "-e", "production", "--follow", answers={"not the ramp": "\x03"})
    assert code == 130
    assert "with the feature" in plain(said)
    assert "\x1b[?25h" in said, "the cursor is shown again"
    reporter.report("a", (200, 60), (200, 2))
    reporter.close()
    code, said = terminal("ramp", "status", "a", "-e", "production", "--follow")
    assert code == 8
    last = plain(said[said.rindex("started by") :])
    assert re.search(r" 1:1 ┤.*[⠁-⣿]", last)
    assert re.search(r" 20:1 ┤.*┈", last)
    assert "step 1" in last
    code, said = terminal("ramp", "status", "a", "-e", "production", NO_COLOR="1")
    assert code == 0
    assert not [line for line in plain(said).splitlines() if len(line) > 80]
    assert "ROLLED BACK" in said
