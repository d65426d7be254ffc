"""gunicorn and uvicorn with several workers, each of which sees what is toggled after it was forked."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest

from sdk_contract.certificates import make_certificate
from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import PATIENCE, eventually
from sdk_forks.forked_programs import Watch, WebProgram, assert_all_follow, environment, toggled_server

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.xdist_group("sdk-forks-gunicorn"),
]

WORKERS = 3


def available(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


UVICORN_WORKER = "uvicorn_worker" if available("uvicorn_worker") else "uvicorn.workers"
KINDS = {
    "sync": ("wsgi", ["--worker-class", "sync"], "gunicorn"),
    "gthread": ("wsgi", ["--worker-class", "gthread", "--threads", "2", "--worker-connections", "2"], "gunicorn"),
    "gevent": ("wsgi", ["--worker-class", "gevent"], "gevent"),
    "uvicorn": ("asgi", ["--worker-class", f"{UVICORN_WORKER}.UvicornWorker"], UVICORN_WORKER),
}


def gunicorn(app: str, *options: str) -> list[str]:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    common = [
        "--bind",
        "fd://{fd}",
        "--no-control-socket",
        "--log-level",
        "warning",
        "--graceful-timeout",
        "1",
    ]
    return [sys.executable, "-W", "ignore", "-m", "gunicorn", *common, *options, f"flag_app:{app}"]


@pytest.mark.parametrize("preload", [False, True], ids=["each worker loads", "preload"])
@pytest.mark.parametrize("kind", KINDS)
def test_workers_follow(server: ScriptedServer, kind: str, preload: bool) -> None:
    app, options, needs = KINDS[kind]
    if not available(needs):
        pytest.skip(f"{needs} is not installed")
    command = gunicorn(app, *options, "--workers", str(WORKERS), *(["--preload"] if preload else []))
    with WebProgram(command, environment(server.url)) as program:
        watch = Watch(program.look, WORKERS)
        watch.until_all_answer()
        assert_all_follow(server, watch, WORKERS, program)
        assert "Traceback" not in program.errors()


@pytest.mark.parametrize("preload", [False, True], ids=["each worker loads", "preload"])
@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_workers_follow_over_tls(tmp_path: Path, kind: str, preload: bool) -> None:
    app, options, needs = KINDS[kind]
    if not available(needs):
        pytest.skip(f"{needs} is not installed")
    certificate = make_certificate(tmp_path)
    command = gunicorn(app, *options, "--workers", "2", *(["--preload"] if preload else []))
    with toggled_server(tls=certificate.server_context()) as server:
        variables = environment(server.url, FADER_CA_FILE=str(certificate.path))
        with WebProgram(command, variables) as program:
            watch = Watch(program.look, 2)
            watch.until_all_answer()
            assert_all_follow(server, watch, 2, program)
            assert "Traceback" not in program.errors()


@pytest.mark.parametrize("preload", [False, True], ids=["each worker loads", "preload"])
def test_workers_that_are_recycled_follow(server: ScriptedServer, preload: bool) -> None:
    """Workers made long after the start, from a master whose own copy has been following all the while."""
    options = ["--workers", "2", "--max-requests", "4", *(["--preload"] if preload else [])]
    with WebProgram(gunicorn("wsgi", *options), environment(server.url)) as program:
        watch = Watch(program.look, 2)
        watch.until_all_answer()
        enabled = False
        for generation in (3, 5, 7):
            enabled = not enabled
            server.change(flag("toggled", enabled))
            watch.until_known(generation)
        assert_all_follow(server, watch, 2, program)
        assert "Traceback" not in program.errors()


def test_worker_that_dies_is_replaced_by_one_that_follows(server: ScriptedServer) -> None:
    command = gunicorn("wsgi", "--workers", "2", "--preload")
    with WebProgram(command, environment(server.url)) as program:
        watch = Watch(program.look, 2)
        watch.until_all_answer()
        server.change(flag("toggled", True))
        dead = set(watch.known)
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(watch().keys() - dead) == 2, "two new workers", within=PATIENCE * 2)
        assert_all_follow(server, watch, 2, program)


def test_workers_of_uvicorn_itself_follow(server: ScriptedServer) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    options = ["--fd", "{fd}", "--workers", "2", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", *options, "flag_app:asgi"]
    with WebProgram(command, environment(server.url)) as program:
        watch = Watch(program.look, 2)
        watch.until_all_answer()
        assert_all_follow(server, watch, 2, program)
