"""Starting, stopping and dying of a real server process: what was acknowledged is there, whatever happens."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from fader_server.app import create_app
from fader_server.settings import read_settings
from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream

pytestmark = pytest.mark.usefixtures("cold_starts")


def test_health_needs_no_key(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        assert urllib3.request("GET", f"{server.url}/health/live").json() == {"status": "ok"}
        ready = urllib3.request("GET", f"{server.url}/health/ready")
        assert (ready.status, ready.json()) == (
            200,
            {"status": "ok", "database": "ok", "bus": "ok", "standby": "none", "streams": 0},
        )


def test_a_shutdown_says_goodbye_and_ends_well(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        streams = [RawStream(server) for _ in range(40)]
        for stream in streams:
            stream.event()
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < PATIENCE / 2
        for stream in streams:
            assert [name for name, _ in stream.rest()] == ["goodbye"]
            stream.close()
        assert "Traceback" not in server.log.read_text()


def test_requests_under_way_are_finished(tmp_path: Path) -> None:
    """Writes go on while the server is told to end: each either is answered well, or was never taken."""
    with running_server(tmp_path) as server:
        server.admin.create_flag("a")
        acknowledged: list[int] = []
        broken: list[BaseException] = []

        def write() -> None:
            try:
                while True:
                    acknowledged.append(server.admin.verb("a", "on")["revision"])
                    acknowledged.append(server.admin.verb("a", "off")["revision"])
            except (urllib3.exceptions.HTTPError, OSError) as error:
                broken.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: len(acknowledged) > 10, "some writes")
        assert server.terminate() == 0
        writer.join(PATIENCE)
        server.start()
        revision = server.admin.ok("GET", "/projects/default/environments/production")["revision"]
        # The last one may have been committed with its answer lost on the way, no more.
        assert revision in {acknowledged[-1], acknowledged[-1] + 1}


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path) -> None:
    """Killed in the middle of a burst of writes, again and again: nothing is missing, doubled, or half there."""
    with running_server(tmp_path) as server:
        keys = [f"flag-{number}" for number in range(4)]
        for key in keys:
            server.admin.create_flag(key)
        acknowledged: dict[int, tuple[str, bool]] = {}
        for _ in range(4):
            _burst(server, keys, acknowledged)
            server.start()
            _check_log(server, acknowledged)


def _burst(server: ServerProcess, keys: list[str], acknowledged: dict[int, tuple[str, bool]]) -> None:
    before = len(acknowledged)

    def write(key: str) -> None:
        try:
            while True:
                for verb in ("on", "off"):
                    answer = server.admin.verb(key, verb)
                    if answer["changed"]:
                        acknowledged[answer["revision"]] = (key, verb == "on")
        except (urllib3.exceptions.HTTPError, OSError):
            return

    with ThreadPoolExecutor(len(keys)) as pool:
        for key in keys:
            pool.submit(write, key)
        wait_for(lambda: len(acknowledged) > before + 40, "a burst of writes")
        server.kill()


def _check_log(server: ServerProcess, acknowledged: dict[int, tuple[str, bool]]) -> None:
    entries, cursor = {}, ""
    while True:
        path = f"/projects/default/changes?environment=production&limit=500{cursor}"
        page = server.admin.ok("GET", path)
        for entry in page["items"]:
            assert entry["revision"] not in entries, "a revision is doubled"
            entries[entry["revision"]] = entry
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    top = server.admin.ok("GET", "/projects/default/environments/production")["revision"]
    assert sorted(entries) == list(range(1, top + 1)), "a revision is missing"
    for revision, (key, is_on) in acknowledged.items():
        assert entries[revision]["key"] == key
        assert entries[revision]["after"]["enabled"] is is_on
    # What SDKs get is what the log says.
    stream = RawStream(server)
    _, snapshot = stream.event()
    stream.close()
    assert snapshot["revision"] == top
    for key, flag in snapshot["flags"].items():
        last = max(revision for revision, entry in entries.items() if entry["key"] == key)
        assert flag.get("enabled", False) is entries[last]["after"]["enabled"]


def test_secrets_stay_out_of_the_log(tmp_path: Path) -> None:
    with running_server(tmp_path, FADER_LOG_LEVEL="debug") as server:
        server.admin.create_flag("a", description="hush-a-description")
        RawStream(server).close()
        made = server.admin.ok("POST", "/tokens", {"name": "t", "role": "viewer"})
        server.admin.request("GET", "/whoami", token=made["secret"])
        server.admin.request("GET", "/whoami?token=in-a-query", token="fader_wrong-secret-planted")
        server.admin.request("POST", "/projects/default/flags", raw=b"\xff\xfe planted-garbage")
        server.terminate()
        log = server.log.read_text()
        for secret in (server.admin_token, server.sdk_key(), made["secret"], "wrong-secret-planted", "in-a-query"):
            assert secret.removeprefix("fader_") not in log
        lines = [json.loads(line) for line in log.splitlines()]
        requests = [line for line in lines if line.get("event") == "request"]
        assert requests
        assert all(line["request_id"] and line["status"] for line in requests)
        database = b"".join(path.read_bytes() for path in tmp_path.glob("fader.db*"))
        assert server.admin_token.encode() not in database
        assert server.sdk_key().encode() not in database


def test_a_request_id_is_kept_if_it_is_well_formed(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        kept = server.admin.request("GET", "/nothing", headers={"X-Request-ID": "from-the-proxy.1"})
        assert kept.headers["X-Request-ID"] == kept.json["request_id"] == "from-the-proxy.1"
        drawn = server.admin.request("GET", "/nothing", headers={"X-Request-ID": "bad id, with blanks"})
        assert drawn.headers["X-Request-ID"] == drawn.json["request_id"] != "bad id, with blanks"


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path, FADER_SHUTDOWN_SECONDS="300") as server:
        stream = RawStream(server)
        stream.event()
        # A request whose body never comes keeps a patient shutdown waiting.
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
        stream.close()


def test_building_the_application_touches_nothing(tmp_path: Path) -> None:
    create_app(read_settings({"DATABASE_URL": f"sqlite:///{tmp_path}/fader.db"}))
    assert list(tmp_path.iterdir()) == []
