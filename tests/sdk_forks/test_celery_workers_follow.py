"""Celery's prefork pool: each of its processes sees what is toggled after it was forked."""

import sys
from pathlib import Path

import pytest

from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import PATIENCE, eventually
from sdk_forks.forked_programs import PROGRAMS, Program, Watch, assert_all_follow, environment

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Celery's prefork pool needs fork"),
    pytest.mark.xdist_group("sdk-forks-celery"),
]


@pytest.mark.parametrize("options", [[], ["--max-tasks-per-child", "15"]], ids=["prefork", "recycled"])
def test_pool_processes_follow(server: ScriptedServer, tmp_path: Path, options: list[str]) -> None:
    pytest.importorskip("celery", reason="Celery is not installed")
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    variables = environment(server.url, FORK_TEST_FOLDER=str(tmp_path))
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    worker_command = [sys.executable, "-m", "celery", "--app", "celery_tasks", "worker", "--pool", "prefork"]
    worker_command += ["--concurrency", "2", "-O", "fair", *quiet, *options]
    with (
        Program(worker_command, variables, cwd=tmp_path) as worker,
        Program([sys.executable, str(PROGRAMS / "celery_tasks.py")], variables, cwd=tmp_path) as asker,
    ):

        def look() -> list[tuple[int, bool]]:
            assert worker.alive, worker.errors()
            done = len(asker.lines)
            asker.say("go")
            eventually(lambda: len(asker.lines) > done, "a round of tasks", within=PATIENCE * 2)
            return [(answer["pid"], answer["enabled"]) for answer in asker.lines[-1]]

        watch = Watch(look)
        watch.until(2)

        def latest() -> dict[int, bool]:
            # Where processes are recycled, those of a former generation answer no more.
            return dict(look()) if options else watch()

        assert_all_follow(server, latest, 1 if options else 2, worker)
        if options:
            watch.until(4)
        assert "Traceback" not in worker.errors()
