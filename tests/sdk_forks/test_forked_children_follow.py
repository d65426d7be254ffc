"""Every way in which Python makes processes: each of them sees what is toggled afterwards."""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from sdk_contract.certificates import make_certificate
from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import PATIENCE, eventually
from sdk_forks.forked_programs import PROGRAMS, Program, assert_all_follow, environment, toggled_server

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.xdist_group("sdk-forks-bare"),
]

SCENARIOS = [
    "plain_fork",
    "fork_before_any_client",
    "twenty_children_in_a_loop",
    "double_fork",
    "three_generations",
    "fork_in_a_thread",
    "fork_while_threads_evaluate",
    "fork_while_the_client_starts",
    "fork_while_an_import_is_going_on",
    "fork_while_a_log_call_is_going_on",
    "fork_while_another_thread_holds_a_lock_of_the_sdk",
    "multiprocessing_fork",
    "multiprocessing_forkserver",
    "multiprocessing_spawn",
    "pool_of_processes",
    "subprocess_with_the_same_environment",
    "children_of_a_closed_client",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_children_follow(server: ScriptedServer, scenario: str) -> None:
    command = [sys.executable, str(PROGRAMS / "fork_scenarios.py"), scenario]
    with Program(command, environment(server.url)) as program:
        processes = eventually(program.processes, f"{scenario} to make its children", within=PATIENCE * 2)
        eventually(lambda: len(program.reports()) >= processes, f"{processes} processes to answer at all")
        assert_all_follow(server, program.reports, processes, program)
        assert "Traceback" not in program.errors()
        # Each process is a client of its own: nobody reads from an inherited connection.
        instances = {request.headers["fader-instance"] for request in server.asked("stream")}
        assert len(instances) >= processes


@pytest.mark.parametrize(
    "scenario", ["plain_fork", "twenty_children_in_a_loop", "fork_while_the_client_starts", "three_generations"]
)
def test_children_follow_over_tls(tmp_path: Path, scenario: str) -> None:
    """The state of an encrypted connection is in the process: two that go on with it would each break it."""
    certificate = make_certificate(tmp_path)
    command = [sys.executable, str(PROGRAMS / "fork_scenarios.py"), scenario]
    with toggled_server(tls=certificate.server_context()) as server:
        variables = environment(server.url, FADER_CA_FILE=str(certificate.path))
        with Program(command, variables) as program:
            processes = eventually(program.processes, f"{scenario} to make its children", within=PATIENCE * 2)
            eventually(lambda: len(program.reports()) >= processes, f"{processes} processes to answer at all")
            assert_all_follow(server, program.reports, processes, program)
            asked = Counter(request.headers["fader-instance"] for request in server.asked("stream"))
            assert asked[server.asked("stream")[0].headers["fader-instance"]] == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "scenario",
    [
        "patched before everything",
        "patched after the client has started",
        "patched in the child",
        "imported and patched after the client has started",
        "imported and patched in the child",
    ],
)
def test_children_under_gevent_follow(tmp_path: Path, scenario: str, tls: bool) -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    certificate = make_certificate(tmp_path) if tls else None
    with toggled_server(tls=certificate.server_context() if certificate else None) as server:
        command = [sys.executable, "-W", "ignore", str(PROGRAMS / "gevent_scenarios.py"), scenario]
        variables = environment(server.url, **({"FADER_CA_FILE": str(certificate.path)} if certificate else {}))
        with Program(command, variables) as program:
            eventually(lambda: len(program.reports()) == 2, "both processes to answer at all")
            assert_all_follow(server, program.reports, 2, program)
            # A real thread that goes on through the patching can keep the process from ever going on itself.
            assert [line["threads"] for line in program.lines if "threads" in line] == [1]


def test_forking_does_not_disturb_the_stream_of_the_parent(server: ScriptedServer) -> None:
    command = [sys.executable, str(PROGRAMS / "fork_scenarios.py"), "twenty_children_in_a_loop"]
    with Program(command, environment(server.url)) as program:
        eventually(lambda: len(program.reports()) == 21, "all to answer", within=PATIENCE * 2)
        server.wait_for_streams(21)
        parent = server.asked("stream")[0].headers["fader-instance"]
        assert_all_follow(server, program.reports, 21, program)
        assert [request.headers["fader-instance"] for request in server.asked("stream")].count(parent) == 1


def test_stream_of_a_parent_that_is_killed_ends_although_its_children_live(server: ScriptedServer) -> None:
    """A child that keeps the inherited connection open would leave the server a stream that nobody reads."""
    source = "import os\nfrom reporting import be_ready, watch\nbe_ready()\nwatch('parent' if os.fork() else 'child')\n"
    with Program([sys.executable, "-c", source], environment(server.url)) as program:
        eventually(lambda: len(program.reports()) == 2, "both to watch")
        server.wait_for_streams(2)
        os.kill(next(line["pid"] for line in program.lines if line["role"] == "parent"), signal.SIGKILL)
        server.wait_for_streams(1)
        server.change(flag("toggled", True))
        eventually(lambda: list(program.reports().values()).count(True) == 1, "the child to follow")


def test_children_that_end_do_not_end_the_stream_of_the_parent(server: ScriptedServer) -> None:
    """Closing an inherited connection properly, as exit handlers do, would say goodbye in the parent's name.
    Closing an inherited connection properly, as exit handlers do, would say goodbye in the parent's name."""
    source = (
        "import os, sys\n"
        "from reporting import be_ready, watch\n"
        "be_ready()\n"
        "for ending in range(10):\n"
        "    if os.fork() == 0: sys.exit(0) if ending % 2 else os._exit(0)\n"
        "for _ in range(10): assert os.wait()[1] == 0\n"
        "watch('parent')\n"
    )
    with Program([sys.executable, "-c", source], environment(server.url)) as program:
        eventually(lambda: program.roles()["parent"] == 1, "the parent to watch")
        assert_all_follow(server, program.reports, 1, program)
        parent = server.asked("stream")[0].headers["fader-instance"]
        assert [request.headers["fader-instance"] for request in server.asked("stream")].count(parent) == 1
