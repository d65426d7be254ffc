"""How fast Unleash's SDKs get their flags: ``python -m loadtests.unleash``.

``GET /api/client/features`` with 200 flags, from Fader on SQLite and from Unleash's own server on PostgreSQL, with as
many connections and in turns; once for those who have no flags yet, once for those who have them already.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import urllib3

from fader_server.unleash.model import read_document
from fader_server.unleash.state import state_of
from fader_server.unleash.translation import translate
from loadtests.peer_servers import CLIENT, has_node, running_unleash
from loadtests.requests import Job, get
from loadtests.snapshots import COST, compared, taken
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess
from services.sqlite_files import make_database
from stored_projects import StoredProject, store_projects

FLAGS: Final = 200
ROUNDS: Final = 5
SECONDS: Final = 1.0
CONNECTIONS: Final = 32
PATH: Final = "/api/client/features"
LEAST: Final = {"200": 10.0, "304": 8.0}
"""How many times as many answers as Unleash gives there must be."""
UNLIMITED: Final = {"FADER_SDK_REQUESTS_PER_SECOND": "1000000", "FADER_SNAPSHOT_BYTES_PER_SECOND": "1000000000000"}


def _features() -> list[dict[str, Any]]:
    countries = {"contextName": "country", "operator": "IN", "values": ["DE", "AT", "CH"]}
    parameters = {"rollout": "25", "stickiness": "default", "groupId": "one-of-many"}
    strategy = {"name": "flexibleRollout", "parameters": parameters, "constraints": [countries]}
    return [{"name": f"flag-{number:03}", "enabled": True, "strategies": [strategy]} for number in range(FLAGS)]


def _ours(folder: Path) -> tuple[ServerProcess, str]:
    """A server of ours with the same flags, and the key to ask it with."""
    server = ServerProcess(folder / "fader", UNLIMITED)
    make_database(server.database)
    translated = translate(state_of(read_document({"features": _features()}))).flags
    project = StoredProject("measured", {key: found.flag for key, found in translated.items()})
    store_projects(server.database, [project])
    server.start()
    return server, project.server_key


def _etag(port: int, key: str) -> str:
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}{PATH}", headers={"Authorization": key}, retries=False)
    if answer.status != 200 or len(answer.json()["features"]) != FLAGS:
        raise SystemExit(f"not the flags that were to be measured: {answer.status} {answer.data[:500]!r}")
    return str(answer.headers["etag"])


def measure() -> list[tuple[str, float, float, float]]:
    """Of each kind of answer: ours a second, Unleash's a second, the median of their ratios; then their cost."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        server, key = _ours(Path(name))
        try:
            with running_unleash(Path(name), _features()) as (pid, port):
                sides = ((server.process.pid, server.port, key), (pid, port, CLIENT))
                for status in (200, 304):
                    pairs = []
                    for _ in range(ROUNDS):
                        pair = []
                        for process, at, token in sides:
                            held = {"If_None_Match": _etag(at, token)} if status == 304 else {}
                            request = get(PATH, Authorization=token, **held)
                            job = Job(at, request, SECONDS, status, CONNECTIONS, varies=process == pid)
                            pair.append(taken(process, job))
                        pairs.append((pair[0], pair[1]))
                    rows.append((str(status), *compared([(ours[0], theirs[0]) for ours, theirs in pairs])))
                    spent = compared([(ours[1], theirs[1]) for ours, theirs in pairs])
                    rows.append((f"… {COST}", *spent))
        finally:
            server.close()
    return rows


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    if not has_node():
        print("Not measured beside Unleash's server, which needs Node and npm.")
        return 0
    rows = measure()
    columns = ("answers a second", "ours", "unleash-server", "ratio")
    show(
        f"GET {PATH}, {FLAGS} flags, {CONNECTIONS} connections, median of {ROUNDS} pairs",
        columns, rows, as_json=wants_json(),
    )  # fmt: skip
    missed = [kind for kind, _, _, ratio in rows if ratio < LEAST.get(kind, 0)]
    for kind in missed:
        print(f"  {kind}: LESS THAN {LEAST[kind]:g} TIMES AS MANY")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
