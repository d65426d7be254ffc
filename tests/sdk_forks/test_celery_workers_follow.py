"""Celery's prefork pool: each of its processes sees what is toggled after it was forked."""

import sys
import uuid
from pathlib import Path

import pytest

from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import PATIENCE, eventually
from sdk_forks.forked_programs import PROGRAMS, Answers, Program, Watch, assert_all_follow, environment
from services.redis_server import RedisDatabases

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Celery's prefork pool needs fork"),
    pytest.mark.xdist_group("sdk-forks-celery"),
]


@pytest.mark.parametrize("options", [[], ["--max-tasks-per-child", "5"]], ids=["prefork", "recycled"])
def test_pool_processes_follow(
    server: ScriptedServer, redis_server: RedisDatabases, tmp_path: Path, options: list[str]
) -> None:
    pytest.importorskip("celery", reason="Celery is not installed")
    variables = environment(
        server.url,
        FORK_TEST_BROKER=redis_server.url,
        FORK_TEST_QUEUE=f"fork-test-{uuid.uuid4()}",
        FORK_TEST_MEETINGS=str(tmp_path),
    )
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    worker_command = [sys.executable, "-m", "celery", "--app", "celery_tasks", "worker", "--pool", "prefork"]
    worker_command += ["--concurrency", "2", "-O", "fair", *quiet, *options]
    with (
        Program(worker_command, variables, cwd=tmp_path) as worker,
        Program([sys.executable, str(PROGRAMS / "celery_tasks.py")], variables, cwd=tmp_path) as asker,
    ):

        def look(processes: int) -> Answers:
            assert worker.alive, worker.errors()
            done = len(asker.lines)
            asker.say(str(processes))
            eventually(lambda: len(asker.lines) > done, "a round of tasks", within=PATIENCE * 2)
            return {answer["pid"]: answer["enabled"] for answer in asker.lines[-1]}

        watch = Watch(look, 2)
        watch.until_all_answer()
        assert_all_follow(server, watch, 2, worker)
        if options:
            watch.until_known(4)
            assert_all_follow(server, watch, 2, worker)
        assert "Traceback" not in worker.errors()
