"""The whole way once: an operator's command, the real server, a pre-fork web server, and each of its workers."""

import os
import signal
import sys
from pathlib import Path

import pytest

from processes import running_server
from sdk_contract.waiting import PATIENCE, eventually
from sdk_forks.forked_programs import PROGRAMS, Program, Watch, WebProgram, environment

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.xdist_group("sdk-forks-real"),
]


def test_workers_of_gunicorn_follow_across_a_restart_of_the_server(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    command = [sys.executable, "-m", "gunicorn", "--bind", "fd://{fd}", "--no-control-socket", "--workers", "3"]
    command += ["--preload", "--log-level", "warning", "--graceful-timeout", "1", "flag_app:wsgi"]
    with running_server(tmp_path) as server:
        server.admin.create_flag("toggled")
        variables = environment(server.url, FADER_SDK_KEY=server.sdk_key("production"))
        with WebProgram(command, variables) as program:
            watch = Watch(program.look, 3)
            watch.until_all_answer()

            def all_are(enabled: bool) -> bool:
                return list(watch().values()) == [enabled] * 3

            assert all_are(False)

            server.admin.verb("toggled", "on")
            eventually(lambda: all_are(True), "all workers to see it on")
            server.kill()
            assert all_are(True)
            server.start()
            server.admin.verb("toggled", "off")
            eventually(lambda: all_are(False), "all workers to see it off", within=PATIENCE * 3)
            assert "Traceback" not in program.errors()


def test_forked_children_follow_and_are_counted_by_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        for key in ("of-parent", "of-child-0", "of-child-1", "of-child-2"):
            server.admin.create_flag(key)
        variables = environment(server.url, FADER_SDK_KEY=server.sdk_key("production"))
        command = [sys.executable, str(PROGRAMS / "counting_forks.py"), "exit"]
        with Program(command, variables) as program:
            assert program.wait() == 0, program.errors()

        def counted(key: str) -> int:
            usage = server.admin.ok("GET", f"/projects/default/flags/{key}/usage?environment=production")
            return sum(item["count"] for item in usage["items"])

        eventually(lambda: counted("of-parent") == 17, "17 evaluations of the parent")
        for number in range(3):
            eventually(lambda key=f"of-child-{number}": counted(key) == 5, "5 of each child")  # type: ignore[misc]


def test_the_server_knows_which_processes_have_a_change_and_which_have_left(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys\n"
        "from reporting import be_ready, watch\n"
        "be_ready()\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "watch('child' if os.fork() == 0 or os.fork() == 0 else 'parent')\n"
    )
    with running_server(tmp_path) as server:
        server.admin.create_flag("toggled")
        variables = environment(server.url, FADER_SDK_KEY=server.sdk_key("production"))
        with Program([sys.executable, "-c", source], variables) as program:

            def counts() -> tuple[int, int, int]:
                """Of the newest revision: how many are waited for, have it, and are lost."""
                document = server.admin.ok("GET", "/projects/default/environments/production/acknowledgements")
                return document["clients"], document["applied"], document["lost"]

            eventually(lambda: len(program.reports()) == 3, "all three to watch")
            server.admin.verb("toggled", "on")
            eventually(lambda: counts() == (3, 3, 0), "all three to have acknowledged")
            child = next(line["pid"] for line in program.lines if line["role"] == "child")
            os.kill(child, signal.SIGKILL)
            server.admin.verb("toggled", "off")
            eventually(lambda: counts() == (3, 2, 1), "the one that was killed to be missed")
            program.end()
            eventually(lambda: counts() == (2, 1, 1), "the one that said goodbye to be waited for no longer")
