"""How fast flags are evaluated at the server, by OpenFeature's remote evaluation: ``python -m loadtests.ofrep``.

One flag, beside a bare Litestar route that reads and writes the same JSON and hashes once; and 200 flags in a request,
beside ``fast-feature``, a server in Python with the same protocol. Each pair in turns, on the same server program.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import urllib3

from fader.model import Constraint, Flag, Rollout, Rule
from loadtests.peer_servers import running_fast_feature
from loadtests.requests import Job, post
from loadtests.snapshots import COST, compared, taken
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess
from services.postgres import free_port
from services.sqlite_files import make_database
from stored_projects import StoredProject, store_projects

FLAGS: Final = 200
ROUNDS: Final = 7
SECONDS: Final = 0.8
BULK: Final = "/ofrep/v1/evaluate/flags"
SINGLE: Final = f"{BULK}/flag-001"
COUNTRIES: Final = ("DE", "AT", "CH")
BODY: Final = msgspec.json.encode({"context": {"targetingKey": "user-4711", "country": "DE", "plan": "pro"}})
LEAST: Final = {"one flag": 0.8, f"{FLAGS} flags": 15.0}
UNLIMITED: Final = {"FADER_SDK_REQUESTS_PER_SECOND": "1000000", "FADER_SNAPSHOT_BYTES_PER_SECOND": "1000000000000"}

BARE: Final = """
import sys, mmh3, msgspec, uvicorn
from litestar import Litestar, Request, Response, post
from typing import Any

class Asked(msgspec.Struct):
    context: dict[str, Any] = {}

class Answer(msgspec.Struct):
    key: str
    value: bool
    reason: str
    variant: str
    metadata: dict[str, Any]

@post("/ofrep/v1/evaluate/flags/{key:str}", status_code=200)
async def evaluate(key: str, data: Asked) -> Answer:
    bucket = mmh3.hash(f"{key}:{data.context['targetingKey']}", signed=False) % 100_000
    enabled = bucket < 25_000 and data.context["country"] in ("DE", "AT", "CH")
    return Answer(key, enabled, "TARGETING_MATCH", "on" if enabled else "off", {"rule": "rule-1", "revision": 1})

app = Litestar([evaluate], logging_config=None, openapi_config=None)
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False, lifespan="off")
"""


def _flags() -> dict[str, Flag]:
    constraint = Constraint(attribute="country", operator="in", values=COUNTRIES)
    rule = Rule(id="rule-1", constraints=(constraint,), rollout=Rollout(percentage=25.0))
    keys = [f"flag-{number:03}" for number in range(FLAGS)]
    return {key: Flag(key=key, enabled=True, type="boolean", off_variant="off", rules=(rule,)) for key in keys}


def _their_flags() -> list[dict[str, Any]]:
    shares = {"fractional": [["on", 25], ["off", 75]]}
    targeting = {"if": [{"in": [{"var": "country"}, list(COUNTRIES)]}, shares, "off"]}
    variants = {"on": True, "off": False}
    return [{"key": key, "variants": variants, "default_variant": "off", "targeting": targeting} for key in _flags()]


@contextmanager
def _bare() -> Iterator[tuple[int, int]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        for _ in range(500):
            try:
                urllib3.request("POST", f"http://127.0.0.1:{port}{SINGLE}", body=BODY, retries=False)
                break
            except urllib3.exceptions.HTTPError:
                time.sleep(0.02)
        else:
            raise SystemExit("the bare server does not answer")
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def measure() -> list[tuple[str, float, float, float]]:
    """Of one flag and of many: ours a second, the other's a second, the median of their ratios; then their cost."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        server = ServerProcess(Path(name) / "fader", UNLIMITED)
        make_database(server.database)
        project = StoredProject("measured", _flags())
        store_projects(server.database, [project])
        server.start()
        key = f"Bearer {project.server_key}"
        try:
            peers = (
                (f"{FLAGS} flags", BULK, running_fast_feature(Path(name), _their_flags())),
                ("one flag", SINGLE, _bare()),
            )
            for kind, path, peer in peers:
                ours = Job(server.port, post(path, BODY, Authorization=key), SECONDS, 200)
                with peer as (pid, port):
                    theirs = Job(port, post(path, BODY), SECONDS, 200, varies=True)
                    pairs = [(taken(server.process.pid, ours), taken(pid, theirs)) for _ in range(ROUNDS)]
                rows.append((kind, *compared([(one[0], other[0]) for one, other in pairs])))
                rows.append((f"… {COST}", *compared([(one[1], other[1]) for one, other in pairs])))
        finally:
            server.close()
    return rows


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    rows = measure()
    columns = ("answers a second", "ours", "the other", "ratio")
    title = f"POST {BULK}, beside fast-feature for {FLAGS} flags and a bare route for one, median of {ROUNDS} pairs"
    show(title, columns, rows, as_json=wants_json())
    missed = [kind for kind, _, _, ratio in rows if ratio < LEAST.get(kind, 0)]
    for kind in missed:
        print(f"  {kind}: LESS THAN {LEAST[kind]:g} TIMES AS MANY")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
