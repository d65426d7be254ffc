"""Clients that vanish, or do not read what they asked for: they cost the server little, for a short time, and cost the
others nothing."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from faults.followers import TESTS
from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from scraping import scrape

READERS = 40
CHANGES = 20
CHANGE_BYTES = 400_000
ALLOWED_FOR_ALL = 150_000_000


def _networks() -> list[str] | None:
    """How to run a program in a network of its own: as root, or as somebody who may act as root there."""
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        try:
            done = subprocess.run([*command, "ip", "link"], capture_output=True, timeout=PATIENCE, check=False)
        except OSError:
            return None
        if done.returncode == 0:
            return command
    return None


def test_a_client_vanishes(tmp_path: Path) -> None:
    """No FIN, no RST, no acknowledgement: the kernel would hope for a quarter of an hour."""
    command = _networks()
    if command is None:
        pytest.skip("nobody here may make a network")
    done = subprocess.run(
        [*command, sys.executable, "-m", "faults.programs.vanishing", str(tmp_path)],
        cwd=TESTS, capture_output=True, text=True, timeout=3 * PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(f"measured: a client vanishes, FADER_STUCK_SECONDS=1: until the server lets go: {done.stdout.strip()} s")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server(tmp_path, FADER_STUCK_SECONDS="2", FADER_HEARTBEAT_SECONDS="0.2") as running:
        yield running


def change_much(server: ServerProcess, number: int) -> int:
    """A change of 400 KB; the revision that it makes."""
    values = [f"{number}-{place}-{'y' * 900}" for place in range(CHANGE_BYTES // 920)]
    constraints = [
        {"attribute": "x", "operator": "in", "values": values[begin : begin + 90]}
        for begin in range(0, len(values), 90)
    ]
    rule = {"id": "big", "constraints": constraints}
    path = "/projects/default/flags/a/environments/production"
    revision: int = server.admin.ok("PUT", path, {"enabled": True, "rules": [rule]})["revision"]
    return revision


def test_many_clients_do_not_read(server: ServerProcess) -> None:
    process = psutil.Process(server.process.pid)
    server.admin.create_flag("a")
    with ExitStack() as stack:
        stuck = [RawStream(server, receive_buffer=4096) for _ in range(READERS)]
        well = RawStream(server)
        for stream in (*stuck, well):
            stack.callback(stream.close)
            stream.event()
        change_much(server, 0)
        well.event()
        before = peak = process.memory_info().rss
        for number in range(1, CHANGES):
            revision = change_much(server, number)
            well.follow(revision)
            peak = max(peak, process.memory_info().rss)
        wait_for(lambda: scrape(server).sum("fader_streams_open") == 1, "those who do not read to be cut off")
        print(f"measured: {READERS} stuck readers, {CHANGES} changes of 400 KB: {(peak - before) / 1e6:.0f} MB more")
        assert peak - before < ALLOWED_FOR_ALL
        revision = change_much(server, CHANGES)
        well.follow(revision)
