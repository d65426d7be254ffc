"""Each process acknowledges what it has applied, and says goodbye, in its own name and in no other."""

import sys
from collections import Counter
from typing import Any

import pytest

from sdk_contract.documents import flag
from sdk_contract.exchange import Kind
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import eventually
from sdk_forks.forked_programs import PROGRAMS, Program, environment

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.xdist_group("sdk-forks-bare"),
]


def said(server: ScriptedServer, kind: Kind) -> list[dict[str, Any]]:
    """What was said of that kind, each by who it claims to be by."""
    requests = server.asked(kind)
    assert all(request.json()["instance"] == request.headers["fader-instance"] for request in requests)
    return [request.json() for request in requests]


def acknowledged(server: ScriptedServer, revision: int) -> list[str]:
    """Who has acknowledged a revision, each as often as it has."""
    return [ack["instance"] for ack in said(server, "ack") if ack["applied"] and ack["revision"] == revision]


def goodbyes(server: ScriptedServer) -> Counter[str]:
    return Counter(goodbye["instance"] for goodbye in said(server, "goodbye"))


def streaming(server: ScriptedServer) -> set[str]:
    return {request.headers["fader-instance"] for request in server.asked("stream")}


def process_of(instance: str) -> int:
    return int(instance.split(":")[1])


def test_two_children_and_their_parent_acknowledge_under_names_of_their_own(server: ScriptedServer) -> None:
    source = (
        "import os\n"
        "from reporting import be_ready, watch\n"
        "be_ready()\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0: watch('child')\n"
        "watch('parent')\n"
    )
    with Program([sys.executable, "-c", source], environment(server.url)) as program:
        eventually(lambda: len(program.reports()) == 3, "all three to watch")
        server.wait_for_streams(3)
        server.change(flag("toggled", True))
        eventually(lambda: len(acknowledged(server, 2)) >= 3, "all three to acknowledge")
        names = acknowledged(server, 2)
        assert len(names) == len(set(names)) == 3
        assert set(names) == streaming(server)
        assert {process_of(name) for name in names} == program.reports().keys()
        assert not goodbyes(server)


@pytest.mark.parametrize("ending", ["exit", "close"])
def test_every_process_that_ends_says_goodbye_once(server: ScriptedServer, ending: str) -> None:
    source = (
        "import os, sys\n"
        "from fader import flags\n"
        "from reporting import be_ready\n"
        "be_ready()\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        be_ready()\n"
        f"        {'flags.close(); os._exit(0)' if ending == 'close' else 'sys.exit(0)'}\n"
        "for _ in range(3): assert os.wait()[1] == 0\n"
    )
    with Program([sys.executable, "-c", source], environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    assert goodbyes(server) == Counter(streaming(server))
    assert len(goodbyes(server)) == 4


def test_children_that_end_without_exit_handlers_say_nothing_for_their_parent(server: ScriptedServer) -> None:
    source = (
        "import os, sys\n"
        "from reporting import be_ready, watch\n"
        "be_ready()\n"
        "for ending in range(4):\n"
        "    if os.fork() == 0: sys.exit(0) if ending % 2 else os._exit(0)\n"
        "for _ in range(4): assert os.wait()[1] == 0\n"
        "watch('parent')\n"
    )
    with Program([sys.executable, "-c", source], environment(server.url)) as program:
        eventually(lambda: program.roles()["parent"] == 1, "the parent to watch")
        server.change(flag("toggled", True))
        parent = server.asked("stream")[0].headers["fader-instance"]
        eventually(lambda: parent in acknowledged(server, 2), "the parent to acknowledge")
        assert parent not in goodbyes(server)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_say_goodbye(server: ScriptedServer, method: str) -> None:
    command = [sys.executable, str(PROGRAMS / "counting_multiprocessing.py"), method]
    with Program(command, environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    assert goodbyes(server) == Counter(streaming(server))
    assert len(goodbyes(server)) == 4


def test_a_client_that_goes_on_among_greenlets_ends_one_session_and_begins_another(server: ScriptedServer) -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    command = [sys.executable, "-W", "ignore", str(PROGRAMS / "counting_patched.py")]
    with Program(command, environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    before, after = (request.headers["fader-instance"] for request in server.asked("stream"))
    assert before != after
    assert [goodbye["instance"] for goodbye in said(server, "goodbye")] == [before, after]
