"""Evaluations are counted by the process that made them, and once."""

import sys
from collections import Counter

import pytest

from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_forks.forked_programs import PROGRAMS, Program, environment

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.xdist_group("sdk-forks-bare"),
]


def counted(server: ScriptedServer) -> dict[str, Counter[str]]:
    """Per flag: how often it was evaluated according to which instance."""
    posts = {request.json()["id"]: request.json() for request in server.asked("usage")}
    totals: dict[str, Counter[str]] = {}
    for post in posts.values():
        known = {key: sum(variants.values()) for key, variants in post["flags"].items()}
        for key, count in (known | post["unknown"]).items():
            totals.setdefault(key, Counter())[post["instance"]] += count
    return totals


@pytest.fixture(params=[True, False], ids=["known flags", "unknown flags"], autouse=True)
def known(request: pytest.FixtureRequest, server: ScriptedServer) -> None:
    """Evaluations of flags and of keys that no flag has are counted apart, so both have to be right."""
    if request.param:
        for key in ("of-parent", "of-child-0", "of-child-1", "of-child-2"):
            server.world.flags[key] = flag(key)


@pytest.mark.parametrize("ending", ["exit", "close"])
def test_counts_of_parent_and_children_are_sent_once_each(server: ScriptedServer, ending: str) -> None:
    command = [sys.executable, str(PROGRAMS / "counting_forks.py"), ending]
    with Program(command, environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    totals = counted(server)
    assert {key: sum(counts.values()) for key, counts in totals.items()} == {
        "of-parent": 17,
        "of-child-0": 5,
        "of-child-1": 5,
        "of-child-2": 5,
    }
    instances = [instance for counts in totals.values() for instance in counts]
    assert len(instances) == len(set(instances)) == 4


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_counts_of_children_of_multiprocessing_are_sent(server: ScriptedServer, method: str) -> None:
    command = [sys.executable, str(PROGRAMS / "counting_multiprocessing.py"), method]
    with Program(command, environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    totals = counted(server)
    assert {key: sum(counts.values()) for key, counts in totals.items()} == {
        "of-parent": 17,
        "of-child-0": 5,
        "of-child-1": 5,
        "of-child-2": 5,
    }


def test_children_killed_without_exit_handlers_send_nothing_of_their_parent(server: ScriptedServer) -> None:
    command = [sys.executable, str(PROGRAMS / "counting_forks.py"), "no exit handlers"]
    with Program(command, environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    totals = counted(server)
    assert sum(totals["of-parent"].values()) == 17
    assert len(totals["of-parent"]) == 1


def test_counts_of_a_client_that_goes_on_among_greenlets_are_sent_once(server: ScriptedServer) -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    with Program(
        [sys.executable, "-W", "ignore", str(PROGRAMS / "counting_patched.py")], environment(server.url)
    ) as program:
        assert program.wait() == 0, program.errors()
        assert "Traceback" not in program.errors()
    # By the one that had a real thread, and by the one that is a greenlet.
    assert sorted(counted(server)["of-parent"].values()) == [7, 10]
