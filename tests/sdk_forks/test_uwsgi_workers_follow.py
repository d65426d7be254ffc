"""uWSGI, which forks in C and runs Python's fork hooks and threads only when it is told to."""

import shutil
import sys
from pathlib import Path

import pytest

from sdk_contract.scripted_server import ScriptedServer
from sdk_forks.forked_programs import BIN, PROGRAMS, Watch, WebProgram, assert_all_follow, environment

UWSGI = shutil.which("uwsgi", path=str(BIN)) or shutil.which("uwsgi")

pytestmark = [
    pytest.mark.skipif(UWSGI is None, reason="uWSGI is not installed: it needs a C compiler to build"),
    pytest.mark.xdist_group("sdk-forks-uwsgi"),
]

MODES = {
    "fork after loading": [],
    "lazy apps": ["--lazy-apps"],
    "threads in workers": ["--threads", "2"],
    "fork hooks of Python": ["--py-call-osafterfork"],
    "recycled workers": ["--max-requests", "5"],
}


def uwsgi(*options: str) -> list[str]:
    common = [
        "--http-socket",
        "fd://{fd}",
        "--master",
        "--processes",
        "3",
        "--die-on-term",
        "--disable-logging",
    ]
    python = [
        "--virtualenv",
        sys.prefix,
        "--pythonpath",
        str(PROGRAMS),
        "--module",
        "flag_app:wsgi",
        "--need-app",
    ]
    return [str(UWSGI), *common, *python, *options]


@pytest.mark.parametrize("mode", MODES)
def test_workers_follow(server: ScriptedServer, tmp_path: Path, mode: str) -> None:
    command = uwsgi("--enable-threads", *MODES[mode])
    with WebProgram(command, environment(server.url), cwd=tmp_path) as program:
        watch = Watch(program.look, 3)
        watch.until_all_answer()
        assert_all_follow(server, watch, 3, program)


def test_without_threads_the_workers_answer_all_the_same(server: ScriptedServer, tmp_path: Path) -> None:
    """Without ``--enable-threads`` no thread of Python runs in uWSGI, so nothing can follow; nothing may hang
    either."""
    with WebProgram(uwsgi("--lazy-apps"), environment(server.url), cwd=tmp_path) as program:
        watch = Watch(program.look, 3)
        watch.until_all_answer()
        assert "Traceback" not in program.errors()
