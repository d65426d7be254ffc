"""The command line tries again, by itself and without doing anything twice."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from command_line import Cli, Done
from dying_server import die_after_the_next_commit, mortal
from processes import PATIENCE, ServerProcess, running_server


class Told(NamedTuple):
    """An answer of the scripted server; without a status, the connection is closed instead."""

    status: int | None
    headers: dict[str, str]
    body: bytes


class Asked(NamedTuple):
    """A request that the scripted server has got."""

    at: float
    method: str
    path: str
    key: str | None
    body: bytes


def problem(status: int, slug: str = "unavailable", **headers: str) -> Told:
    document = {
        "type": f"urn:fader:problem:{slug}",
        "title": "",
        "status": status,
        "detail": "Not now.",
        "hint": "Wait.",
    }
    return Told(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(document).encode()
    )


SWITCHED = Told(
    200,
    {},
    json.dumps(
        {
            "flag": {
                "key": "f", "type": "boolean", "kind": "release", "archived_at": None,
                "environments": {"production": {"enabled": True, "rules": [], "prerequisites": [], "revision": 2}},
            },
            "environment": "production", "revision": 2, "changed": True,
        }
    ).encode(),
)  # fmt: skip
BY_A_PROXY = b"<html>Bad gateway</html>"


class ScriptedApi:
    """Answers requests as it was told, in order; the last answer is given for ever."""

    def __init__(self) -> None:
        self.answers: list[Told] = [SWITCHED]
        self.asked: list[Asked] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                key = self.headers.get("Idempotency-Key")
                api.asked.append(Asked(time.monotonic(), self.command, self.path, key, body))
                told = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
                if told.status is not None:
                    self.send_response(told.status)
                    for name, value in told.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(told.body)))
                    self.end_headers()
                    self.wfile.write(told.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def tell(self, *answers: Told) -> None:
        self.answers = list(answers)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    api = ScriptedApi()
    yield api
    api.close()


@pytest.fixture
def run(unsigned: Cli, api: ScriptedApi) -> Callable[..., Done]:
    """Runs commands against the scripted server, which are tried again for ten seconds."""

    def run(*arguments: str, retry_for: str = "10") -> Done:
        return unsigned(*arguments, "--url", api.url, "--token", "x", "--retry-for", retry_for)

    return run


ON = ("on", "f", "-e", "production")


@pytest.mark.parametrize(
    "passing",
    [
        problem(503, Retry_After="0"),
        problem(429, "too-many-requests"),
        problem(503),
        Told(502, {}, BY_A_PROXY),
        Told(504, {}, BY_A_PROXY),
        Told(None, {}, b""),
        problem(409, "still-running"),
    ],
    ids=["503 and when", "429", "503", "502", "504", "no answer", "still running"],
)
def test_a_write_is_tried_again_with_the_same_key(run: Callable[..., Done], api: ScriptedApi, passing: Told) -> None:
    api.tell(passing, passing, SWITCHED)
    done = run(*ON, "-m", "why")
    assert done.code == 0, done
    assert len(api.asked) == 3
    assert len({one[1:] for one in api.asked}) == 1, "all tries are alike"
    assert api.asked[0].key
    assert done.err.count("\n") == 1
    assert done.err.startswith("fader: ")
    assert done.err.endswith("; trying again for up to 10 s\n")


def test_reading_is_tried_again_without_a_key(run: Callable[..., Done], api: ScriptedApi) -> None:
    api.tell(problem(503), Told(200, {}, b'{"items": [], "next_cursor": null}'))
    assert run("list").code == 0
    assert [one.key for one in api.asked] == [None, None]


def test_each_write_has_a_key_of_its_own(run: Callable[..., Done], api: ScriptedApi) -> None:
    run(*ON)
    run(*ON)
    first, second = api.asked
    assert first.key != second.key
    assert first.key is not None
    assert first.key.startswith('"')
    assert first.key.endswith('"')


@pytest.mark.parametrize(
    ("final", "code"),
    [
        (problem(500, "internal"), 1),
        (problem(422, "invalid"), 1),
        (problem(409, "conflict"), 5),
        (problem(409, "secret-not-kept"), 5),
        (problem(412, "precondition-failed"), 5),
        (problem(404, "not-found"), 3),
        (problem(401, "unauthorized"), 4),
        (Told(500, {}, BY_A_PROXY), 1),
        (Told(200, {}, BY_A_PROXY), 6),
    ],
)
def test_what_would_be_no_different_is_not_tried_again(
    run: Callable[..., Done], api: ScriptedApi, final: Told, code: int
) -> None:
    api.tell(final)
    done = run(*ON)
    assert done.code == code
    assert len(api.asked) == 1
    assert "trying again" not in done.err


def test_the_server_says_when(run: Callable[..., Done], api: ScriptedApi) -> None:
    api.tell(problem(503, Retry_After="1"), SWITCHED)
    assert run(*ON).code == 0
    first, second = api.asked
    assert second.at - first.at >= 1


def test_who_is_to_wait_for_too_long_gives_up_at_once(run: Callable[..., Done], api: ScriptedApi) -> None:
    api.tell(problem(429, Retry_After="3600"))
    done = run(*ON)
    assert (done.code, len(api.asked)) == (6, 1)
    assert done.err == "fader: Not now (it asks to be tried again in 3600 s)\n"


def test_it_gives_up_in_the_end(run: Callable[..., Done], api: ScriptedApi) -> None:
    api.tell(problem(503))
    done = run(*ON, retry_for="1")
    assert done.code == 6
    assert len(api.asked) > 1
    note, error = done.err.splitlines()
    assert note == "fader: Not now; trying again for up to 1 s"
    assert error == "fader: Not now (Wait)"


def test_with_json_all_that_is_said_is_a_document(run: Callable[..., Done], api: ScriptedApi) -> None:
    api.tell(problem(503))
    done = run(*ON, "--json", retry_for="1")
    note, error = (json.loads(line) for line in done.err.splitlines())
    assert note == {"retrying": {"message": "Not now; trying again for up to 1 s"}}
    assert error["error"]["exit_code"] == 6
    assert error["error"]["problem"]["status"] == 503


def test_without_retries(run: Callable[..., Done], api: ScriptedApi, unsigned: Cli) -> None:
    api.tell(problem(503))
    assert run(*ON, retry_for="0").code == 6
    assert unsigned(*ON, "--url", api.url, "--token", "x").code == 6, "the tests' own setting is 0"
    assert len(api.asked) == 2


@pytest.mark.parametrize("wrong", ["soon", "-1", "4000"])
def test_a_wrong_number_of_seconds(
    unsigned: Cli, api: ScriptedApi, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unsigned("list", "--retry-for", wrong).code == 2
    monkeypatch.setenv("FADER_RETRY_FOR", wrong)
    done = unsigned("list", "--url", api.url, "--token", "x")
    assert done.code == 2
    assert wrong in done.err
    assert api.asked == []


def test_a_server_of_another_kind_is_not_waited_for(run: Callable[..., Done], unsigned: Cli, api: ScriptedApi) -> None:
    url = api.url.replace("http://", "https://")
    done = unsigned("list", "--url", url, "--token", "x", "--retry-for", "30")
    assert done.code == 6
    assert "trying again" not in done.err


def test_signing_in_is_not_tried_again(unsigned: Cli, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADER_RETRY_FOR", "30")
    api.tell(problem(503))
    assert unsigned("login", api.url, "--token", "x").code == 6
    assert len(api.asked) == 1


def test_ctrl_c_ends_the_waiting(unsigned: Cli, api: ScriptedApi) -> None:
    api.tell(problem(503, Retry_After="20"))
    command = unsigned.start("list", "--url", api.url, "--token", "x", "--retry-for", "60")
    assert command.stderr is not None
    assert "trying again" in command.stderr.readline()
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130
    assert "Traceback" not in err


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that the test may kill."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running_server(folder, **mortal(folder)) as server:
        server.admin.create_flag("f")
        yield server


def start(cli: Cli, server: ServerProcess, *arguments: str) -> Any:
    return cli.start(*arguments, FADER_URL=server.url, FADER_TOKEN=server.admin_token, FADER_RETRY_FOR="60")


def rules(server: ServerProcess) -> list[Any]:
    found: list[Any] = server.admin.ok("GET", "/projects/default/flags/f")["environments"]["production"]["rules"]
    return found


def test_a_server_that_goes_away_and_comes_back(unsigned: Cli, own_server: ServerProcess) -> None:
    own_server.kill()
    commands = [
        start(unsigned, own_server, "on", "f", "-e", "production", "--json"),
        start(unsigned, own_server, "rule", "add", "f", "--if", "country in NO", "-e", "production", "--json"),
        start(unsigned, own_server, "list", "--json"),
    ]
    for command in commands:
        assert "trying again" in command.stderr.readline()
    own_server.start()
    for command in commands:
        out, err = command.communicate(timeout=PATIENCE)
        assert (command.returncode, err) == (0, ""), (out, err)
    assert len(rules(own_server)) == 1


def test_a_server_that_dies_before_it_answers(unsigned: Cli, own_server: ServerProcess) -> None:
    die_after_the_next_commit(own_server.folder)
    command = start(unsigned, own_server, "rule", "add", "f", "--if", "country in NO", "-e", "production", "--json")
    assert own_server.process.wait(PATIENCE) == -9
    own_server.start()
    out, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0
    [rule] = rules(own_server)
    assert [one["id"] for one in json.loads(out)["flag"]["environments"]["production"]["rules"]] == [rule["id"]]


def test_a_secret_that_went_astray(unsigned: Cli, own_server: ServerProcess) -> None:
    die_after_the_next_commit(own_server.folder)
    command = start(unsigned, own_server, "key", "create", "app", "-e", "production")
    assert own_server.process.wait(PATIENCE) == -9
    own_server.start()
    out, err = command.communicate(timeout=PATIENCE)
    assert (command.returncode, out) == (5, "")
    made = [key for key in own_server.admin.ok("GET", "/projects/default/keys")["items"] if key["name"] == "app"]
    assert len(made) == 1
    assert f"Revoke {made[0]['id']}, and make another one" in err
