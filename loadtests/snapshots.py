"""How fast snapshots are handed out: ``python -m loadtests.snapshots``.

``GET /sdk/v1/snapshot`` with 200 flags, beside a bare Litestar ``@asgi`` route that returns the same bytes on the same
server program, in turns.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil
import urllib3

from loadtests.requests import Job, get, throughput
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess, running_server
from services.postgres import free_port

FLAGS: Final = 200
ROUNDS: Final = 15
SECONDS: Final = 0.6
COST: Final = "µs of CPU for each"
LEAST_SHARE: Final = 0.8
UNLIMITED: Final = {"FADER_SDK_REQUESTS_PER_SECOND": "1000000", "FADER_SNAPSHOT_BYTES_PER_SECOND": "1000000000000"}

BARE: Final = """
import sys, socket, uvicorn
from pathlib import Path
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send
body, etag = Path(sys.argv[1]).read_bytes(), sys.argv[2].encode()

@asgi("/sdk/v1/snapshot", copy_scope=True)
async def snapshot(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"etag", etag), (b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept-Encoding")]
    if any(name == b"if-none-match" for name, _ in scope["headers"]):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    headers += [(b"content-encoding", b"gzip")] * (sys.argv[3] == "gzip")
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

app = Litestar([snapshot], logging_config=None, openapi_config=None)
uvicorn.run(app, port=int(sys.argv[4]), log_config=None, access_log=False, server_header=False, lifespan="off")
"""


def _fill(server: ServerProcess) -> None:
    constraint = {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]}
    for number in range(FLAGS):
        server.admin.create_flag(f"flag-{number:03}", description="One of many")
        body = {"enabled": True, "rules": [{"constraints": [constraint], "rollout": {"percentage": 25}}]}
        server.admin.ok("PUT", f"/projects/default/flags/flag-{number:03}/environments/production", body)


def _bare(folder: Path, body: bytes, etag: str, encoding: str) -> tuple["subprocess.Popen[bytes]", int]:
    (folder / "body").write_bytes(body)
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BARE, folder / "body", etag, encoding, str(port)])
    for _ in range(500):
        try:
            urllib3.request("GET", f"http://127.0.0.1:{port}/sdk/v1/snapshot", retries=False)
            return process, port
        except urllib3.exceptions.HTTPError:
            time.sleep(0.02)
    raise SystemExit("the bare server does not answer")


def taken(pid: int, job: Job) -> tuple[float, float]:
    """Answers a second, and microseconds of the server's CPU for each."""
    before = sum(psutil.Process(pid).cpu_times()[:2])
    result = throughput(job)
    spent = sum(psutil.Process(pid).cpu_times()[:2]) - before
    return result.per_second, spent / (result.per_second * job.seconds) * 1e6


def compared(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The medians of both sides, and of their ratios."""
    ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
    return ours, bare, statistics.median(one / other for one, other in pairs)


def measure() -> list[tuple[str, float, float, float]]:
    """Of each kind of answer: ours a second, the bare route's a second, the median of their ratios; then their cost.

    Where other programs compete for the processors, the cost is the steadier figure.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name, running_server(Path(name), **UNLIMITED) as server:
        folder = Path(name)
        _fill(server)
        key = f"Bearer {server.sdk_key()}"
        for encoding in ("identity", "gzip"):
            answer = urllib3.request(
                "GET",
                f"{server.url}/sdk/v1/snapshot",
                headers={"Authorization": key, "Accept-Encoding": encoding},
                decode_content=False,
            )
            etag = answer.headers["etag"]
            process, port = _bare(folder, answer.data, etag, encoding)
            try:
                kinds = [
                    (f"200, {encoding}", 200, get("/sdk/v1/snapshot", Authorization=key, Accept_Encoding=encoding))
                ]
                if encoding == "gzip":
                    conditional = get("/sdk/v1/snapshot", Authorization=key, If_None_Match=etag)
                    kinds.append(("304", 304, conditional))
                for kind, status, request in kinds:
                    pairs = [
                        (
                            taken(server.process.pid, Job(server.port, request, SECONDS, status)),
                            taken(process.pid, Job(port, request, SECONDS, status)),
                        )
                        for _ in range(ROUNDS)
                    ]
                    rows.append((kind, *compared([(ours[0], bare[0]) for ours, bare in pairs])))
                    spent = compared([(ours[1], bare[1]) for ours, bare in pairs])
                    rows.append((f"… {COST}", *spent))
            finally:
                process.kill()
                process.wait()
    return rows


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    rows = measure()
    columns = ("answers a second", "ours", "bare route", "ratio")
    show(f"GET /sdk/v1/snapshot, {FLAGS} flags, median of {ROUNDS} pairs", columns, rows, as_json=wants_json())
    if any(ratio < LEAST_SHARE for kind, _, _, ratio in rows if COST not in kind):
        print(f"  LESS THAN {LEAST_SHARE:.0%} of the bare route")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
