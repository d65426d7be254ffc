"""Several processes that are one node: clients and Prometheus see one server, whatever becomes of its parts."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from command_line import Done
from fader import Client
from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from scraping import get_metrics, scrape
from server_commands import program, refusal
from services.postgres import PostgresDatabases
from services.prometheus import checked_by_promtool

WRITERS = 6
WRITES_EACH = 20


def two_workers(folder: Path, **environment: str) -> Any:
    """A node that hears of nothing by asking the database: what arrives has been told."""
    return running_server(folder, FADER_WORKERS="2", FADER_POLL_SECONDS="60", **environment)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with two_workers(tmp_path_factory.mktemp("workers")) as server:
        yield server


def workers_of(server: ServerProcess) -> dict[int, psutil.Process]:
    """The processes that serve, by their numbers."""
    children = psutil.Process(server.process.pid).children()
    return {int(child.cmdline()[5]): child for child in children if child.cmdline()[4:5] == ["worker"]}


def streams_of(server: ServerProcess) -> list[float]:
    """How many each worker has."""
    told = scrape(server)
    return [told.sum("fader_streams_open", worker=worker) for worker in ("1", "2")]


@pytest.fixture
def spread(server: ServerProcess) -> Iterator[list[RawStream]]:
    """Streams of which each worker has some: the kernel decides which gets which."""
    with ExitStack() as stack:
        streams: list[RawStream] = []

        def both_have_some() -> bool:
            streams.append(stack.enter_context(closing(RawStream(server))))
            return min(streams_of(server)) > 0

        wait_for(both_have_some, "both workers to have streams")
        yield streams


def changed(server: ServerProcess, key: str, verb: str) -> int:
    """A change, and the revision that it has made: tried again where the worker that was asked is killed meanwhile."""

    def answered() -> Any:
        try:
            return server.admin.verb(key, verb)
        except (urllib3.exceptions.HTTPError, OSError):
            return None

    revision: int = wait_for(answered, "a change to be made")["revision"]
    return revision


def test_every_worker_answers_and_says_which_it_is(server: ServerProcess) -> None:
    def ready() -> dict[str, Any]:
        answer: dict[str, Any] = urllib3.request(
            "GET", f"{server.url}/health/ready", headers={"Connection": "close"}, retries=False, timeout=PATIENCE
        ).json()
        return answer

    seen: set[int] = set()

    def both_have_answered() -> bool:
        found = ready()
        assert {name: found[name] for name in ("status", "database", "bus")} == dict.fromkeys(
            ("status", "database", "bus"), "ok"
        )
        seen.add(found["worker"])
        return seen == {1, 2}

    wait_for(both_have_answered, "both workers to answer")


def test_a_change_made_at_one_reaches_the_streams_of_both_at_once(
    server: ServerProcess, spread: list[RawStream]
) -> None:
    server.admin.create_flag("told")
    for verb in ("on", "off"):
        revision = server.admin.verb("told", verb)["revision"]
        for stream in spread:
            assert stream.follow(revision)[-1][1]["revision"] == revision


def test_a_revoked_key_ends_its_streams_at_both(server: ServerProcess) -> None:
    made = server.admin.ok("POST", "/projects/default/keys", {"name": "k", "environment": "production"})
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(RawStream(server, key=made["secret"]))) for _ in range(12)]
        for stream in streams:
            stream.event()
        server.admin.ok("DELETE", f"/projects/default/keys/{made['id']}")
        for stream in streams:
            assert stream.rest()[-1] == ("goodbye", {})


def test_metrics_are_those_of_the_whole_node(server: ServerProcess, spread: list[RawStream]) -> None:
    assert sum(streams_of(server)) == len(spread)
    told = scrape(server)
    for family in told.families.values():
        assert all(sample.labels["worker"] in ("1", "2") for sample in family.samples)
    for name in ("fader_build_info", "process_resident_memory_bytes", "fader_database_up", "fader_bus_up"):
        assert {sample.labels["worker"] for sample in told.samples(name, {})} == {"1", "2"}
    text = get_metrics(server, Accept="application/openmetrics-text").data.decode()
    assert {family.name for family in openmetrics_families(text)} >= told.families.keys() & {"fader_streams_opened"}
    assert text.endswith("# EOF\n")


def test_promtool_finds_nothing_to_object_to(server: ServerProcess) -> None:
    assert checked_by_promtool(get_metrics(server).data) == ""


def test_a_worker_that_hangs_is_left_out_of_metrics_in_time(server: ServerProcess) -> None:
    hanging = workers_of(server)[2]
    hanging.suspend()
    try:
        # The kernel goes on handing it connections; those must not hold up the test.
        def answered() -> Any:
            try:
                answer = urllib3.request("GET", f"{server.url}/metrics", retries=False, timeout=3)
            except urllib3.exceptions.TimeoutError:
                return None
            return answer.data.decode()

        text = wait_for(answered, "the other worker to answer")
        assert 'fader_build_info{python="' in text
        assert 'worker="1"' in text
        assert 'worker="2"' not in text
    finally:
        hanging.resume()
    wait_for(lambda: scrape(server).has("fader_build_info", worker="2"), "it to be back")


def test_many_writers_at_both_make_one_history_without_gaps(server: ServerProcess) -> None:
    keys = [f"written-{writer}" for writer in range(WRITERS)]
    for key in keys:
        server.admin.create_flag(key)

    def write(key: str) -> list[int]:
        statuses = []
        for number in range(WRITES_EACH):
            verb = "off" if number % 2 else "on"
            # A connection each time, so that both workers write.
            answer = urllib3.request(
                "POST",
                f"{server.url}/api/v1/projects/default/flags/{key}/environments/staging/{verb}",
                headers={"Authorization": f"Bearer {server.admin_token}", "Connection": "close"},
                retries=False,
                timeout=PATIENCE,
            )
            statuses.append(answer.status)
        return statuses

    before = scrape(server)
    with ThreadPoolExecutor(WRITERS) as pool:
        assert {status for statuses in pool.map(write, keys) for status in statuses} == {200}
    after = scrape(server)
    for worker in ("1", "2"):
        route = {"worker": worker, "route": "/api/v1/projects/{project}/flags/{flag}/environments/{environment}/on"}
        assert after.sum("fader_http_requests_total", **route) > before.sum("fader_http_requests_total", **route)
    history, cursor = [], ""
    while True:
        page = server.admin.ok("GET", f"/projects/default/changes?environment=staging&limit=500{cursor}")
        history += [entry["revision"] for entry in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(history) == list(range(1, len(history) + 1))
    assert len(history) >= WRITERS * WRITES_EACH
    assert "database is locked" not in server.log.read_text()


def test_a_worker_that_is_killed_comes_back_and_its_streams_miss_nothing(server: ServerProcess) -> None:
    server.admin.create_flag("survives")
    with ExitStack() as stack:
        clients: list[Client] = []

        def both_have_some() -> bool:
            client = Client(url=server.url, sdk_key=server.sdk_key(), cache_dir="off", usage=False)
            clients.append(stack.enter_context(client))
            client.wait_until_ready(PATIENCE)
            return min(streams_of(server)) > 0

        def all_are_at(revision: int) -> bool:
            return all(client.evaluate("survives", "u", default=False).revision == revision for client in clients)

        wait_for(both_have_some, "both workers to have clients")
        before = workers_of(server)
        before[1].kill()
        for verb in ("on", "off", "on"):
            revision = changed(server, "survives", verb)
        wait_for(lambda: all_are_at(revision), "all to have followed")
        assert all(client.is_enabled("survives", "u") for client in clients)
        wait_for(lambda: scrape(server).has("fader_build_info", worker="1"), "the worker to be back")
        after = workers_of(server)
        assert after.keys() == {1, 2}
        assert after[2].pid == before[2].pid
        # The one that is back hears, and is heard.
        for verb in ("off", "on", "off", "on"):
            revision = changed(server, "survives", verb)
            wait_for(lambda: all_are_at(revision), "all to follow")  # noqa: B023 - called at once
    line = next(json.loads(one) for one in server.log.read_text().splitlines() if "starting another" in one)
    assert (line["worker"], line["why"]) == (1, "SIGKILL")


def all_acknowledge(server: ServerProcess) -> dict[str, Any]:
    """Clients at both workers, a change, and what whichever worker is asked then knows of it."""
    server.admin.create_flag("acknowledged")
    with ExitStack() as stack:
        clients: list[Client] = []

        def both_have_some() -> bool:
            client = Client(url=server.url, sdk_key=server.sdk_key("development"), cache_dir="off", usage=False)
            clients.append(stack.enter_context(client))
            client.wait_until_ready(PATIENCE)
            told = scrape(server)
            return all(told.sum("fader_streams_open", worker=one, environment="development") for one in ("1", "2"))

        wait_for(both_have_some, "both workers to have clients")
        revision = server.admin.verb("acknowledged", "on", environment="development")["revision"]

        def acknowledged() -> dict[str, Any]:
            server.admin.close()  # so that the next question may go to another worker
            path = "/projects/default/environments/development/acknowledgements"
            found: dict[str, Any] = server.admin.ok("GET", f"{path}?revision={revision}")
            return found if found["applied"] == len(clients) else {}

        found: dict[str, Any] = wait_for(acknowledged, "all clients to be counted")
        assert (found["clients"], found["complete"]) == (len(clients), True)
        assert found["nodes"] >= 2  # and one that was killed is remembered for a while
        return found


def test_clients_of_all_workers_are_counted(server: ServerProcess) -> None:
    assert all_acknowledge(server)["scope"] == "all nodes"


def test_on_postgresql_without_redis_they_are_counted_too_and_other_nodes_may_not_be(
    tmp_path: Path, postgres: PostgresDatabases
) -> None:
    with two_workers(tmp_path, DATABASE_URL=postgres.create_database(), FADER_MIGRATE="always") as server:
        assert all_acknowledge(server)["scope"] == "this node"


def test_lines_of_the_log_carry_the_number_of_their_worker(server: ServerProcess) -> None:
    def numbers() -> set[int]:
        server.admin.request("GET", "/whoami", headers={"Connection": "close"})
        server.admin.close()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        return {line["worker"] for line in lines if line["event"] == "request"}

    wait_for(lambda: numbers() == {1, 2}, "both to have written")


def test_secrets_are_not_among_the_arguments(server: ServerProcess) -> None:
    for process in (psutil.Process(server.process.pid), *workers_of(server).values()):
        arguments = " ".join(process.cmdline())
        assert server.admin_token not in arguments
        assert server.sdk_key() not in arguments


def test_a_shutdown_says_goodbye_at_all_workers_and_ends_well(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server, ExitStack() as stack:
        streams = [stack.enter_context(closing(RawStream(server))) for _ in range(24)]
        for stream in streams:
            stream.event()
        workers = workers_of(server)
        assert server.terminate() == 0
        for stream in streams:
            assert [name for name, _ in stream.rest()] == ["goodbye"]
        assert not any(worker.is_running() for worker in workers.values())
        log = server.log.read_text()
        assert "Traceback" not in log
        assert log.count('"event": "stopped"') == 2


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with two_workers(tmp_path, FADER_SHUTDOWN_SECONDS="300", FADER_DRAIN_SECONDS="300") as server:
        server.process.send_signal(signal.SIGINT)
        wait_for(lambda: server.log.read_text().count('"event": "shutting down"') == 2, "both to begin to end")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0


def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with two_workers(tmp_path, FADER_SHUTDOWN_SECONDS="300") as server:
        hanging = workers_of(server)[2]
        hanging.suspend()
        server.process.send_signal(signal.SIGTERM)
        # Two signals at once may be one.
        wait_for(lambda: '"event": "shutting down"' in server.log.read_text(), "the other one to begin to end")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 1
        assert not hanging.is_running()
        assert "workers that do not end are killed" in server.log.read_text()


def test_a_parent_that_is_killed_leaves_no_orphans_and_another_one_can_start(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        workers = workers_of(server)
        stream = RawStream(server)
        stream.event()
        server.kill()
        assert [name for name, _ in stream.rest()] == ["goodbye"]
        stream.close()
        psutil.wait_procs(workers.values(), PATIENCE)
        assert not any(worker.is_running() for worker in workers.values())
        server.start()  # at the same address
        assert workers_of(server).keys() == {1, 2}


def test_nobody_else_gets_the_address(server: ServerProcess) -> None:
    """Also not another Fader, by mistake: it would get half of the clients."""
    for workers in ("1", "2"):
        refused = serve(FADER_PORT=str(server.port), FADER_WORKERS=workers, DATABASE_URL="sqlite:////nowhere/f.db")
        assert "cannot listen on" in refusal(refused)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"FADER_WORKERS": "none"}, "FADER_WORKERS must be a whole number from 1 to 128"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "DATABASE_URL"),
        ({"FADER_INITIAL_SDK_KEYS": "default:nowhere.0123456789abcdef0123"}, "FADER_INITIAL_SDK_KEYS"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_set_up_wrongly_is_said_once(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    given = {"FADER_PORT": "0", "FADER_WORKERS": "3", "DATABASE_URL": f"sqlite:///{tmp_path}/f.db"}
    assert said in refusal(serve(**given | environment))


def test_the_command_line_wins_over_the_environment(tmp_path: Path) -> None:
    refused = program(
        "serve", "--workers", "0", FADER_PORT="0", FADER_WORKERS="2", DATABASE_URL=f"sqlite:///{tmp_path}/f.db"
    )
    assert "FADER_WORKERS must be" in refusal(refused)


def serve(**environment: str) -> Done:
    return program("serve", **environment)
