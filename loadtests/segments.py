"""What a segment of a million users costs, those who ask for it and all others: ``python -m loadtests.segments``.

Looking a user up is a multiple of the bare hash in the same loop over the same users, the least of many rounds. How
long a switch takes to reach a client is measured in turns: alone, while somebody else downloads the list over and over,
as often as the server lets them, and while the list is uploaded.
"""

import gc
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import urllib3
from mmh3 import mmh3_x64_128_utupledigest

from fader.members import Members, Reader, digest_of, hash_of, packed
from fader.model import Flag, MemberList, Rule, Segment, Snapshot
from fader.snapshot import FlagSet
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess, running_server, wait_for
from raw_stream import RawStream

MEMBERS: Final = 1_000_000
USERS: Final = 2_000
ROUNDS: Final = 40
TOGGLES: Final = 60
MOST_MICROSECONDS: Final = 1.5
MOST_MEGABYTES: Final = 9.5

_DOWNLOADER: Final = """
import sys, time, urllib3
url, key, segment, name, version, digest, size = sys.argv[1:]
pool = urllib3.PoolManager(retries=False)
while True:
    for first in range(0, int(size), 262144):
        while True:
            answer = pool.request("GET", f"{url}/sdk/v1/members",
                fields={"segment": segment, "list": name, "version": version, "digest": digest},
                headers={"Authorization": f"Bearer {key}", "Range": f"bytes={first}-{first + 262143}"})
            if answer.status < 300:
                break
            time.sleep(float(answer.headers["Retry-After"]))
    print("downloaded", flush=True)
"""


def _list(count: int) -> Members:
    hashes = array("Q", sorted({hash_of(f"user-{number}".encode()) for number in range(count)}))
    return Members(MemberList(list="a1", version=1, count=len(hashes), digest=digest_of(hashes)), hashes)


def _flags(segment: Segment, *members: Members) -> FlagSet:
    flags = {"vip": Flag(key="vip", enabled=True, rules=(Rule(id="r", segments=("vip",)),))}
    snapshot = Snapshot(project="p", environment="e", epoch="a", revision=1, flags=flags, segments={"vip": segment})
    return FlagSet(snapshot, members={one.described.list: one for one in members})


def _least(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Of each, in turns, the least time in nanoseconds for each user."""
    best = dict.fromkeys(calls, float("inf"))
    gc.disable()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            best[name] = min(best[name], timeit.timeit(call, number=1) / USERS * 1e9)
    gc.enable()
    return best


def measure_lookups(members: Members) -> list[tuple[str, float, float, str]]:
    """Each call: nanoseconds, multiples of the bare hash, and whether that is within its limit."""
    every = MEMBERS // USERS * 2
    users = [f"user-{number * every}" for number in range(USERS)]  # every other one is a member
    long = _flags(Segment(key="vip", members=members.described), members).enabled["vip"]
    short = _flags(Segment(key="vip", targeting_keys=tuple(users[: USERS // 2]))).enabled["vip"]
    contains, digest = members.contains, mmh3_x64_128_utupledigest

    def bare() -> None:
        for user in users:
            digest(user.encode(), 0)

    def looked_up() -> None:
        for user in users:
            contains(user)

    def evaluated() -> None:
        for user in users:
            long(user)

    def evaluated_short() -> None:
        for user in users:
            short(user)

    best = _least(
        {
            "bare hash (the floor)": bare,
            "look-up among a million": looked_up,
            "flag for a segment of a million": evaluated,
            "flag for a segment of a thousand": evaluated_short,
        }
    )
    floor = best["bare hash (the floor)"]
    return [
        (name, found, found / floor, _verdict(found / 1000, MOST_MICROSECONDS) if "look-up" in name else "")
        for name, found in best.items()
    ]


def measure_loading(members: Members) -> list[tuple[str, float, str]]:
    """What taking in a list costs, and changing it."""
    content = packed(members.hashes)

    def load() -> Members:
        reader = Reader(members.described)
        for first in range(0, len(content), 262_144):
            reader.feed(content[first : first + 262_144])
        loaded = reader.finish()
        loaded.contains  # noqa: B018 (it is made here)
        return loaded

    tracemalloc.start()
    kept = load()
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    loading = min(timeit.repeat(load, number=1, repeat=5)) * 1000
    new = hash_of(b"new")
    after = _described(kept, new)

    def change() -> None:
        kept.changed(after, [new], []).contains  # noqa: B018 (the same)

    changing = min(timeit.repeat(change, number=1, repeat=5)) * 1000
    return [
        ("memory of a million (MB, traced)", megabytes, _verdict(megabytes, MOST_MEGABYTES)),
        ("on the wire and on disk (MB)", len(content) / 1e6, ""),
        ("take it in (ms)", loading, ""),
        ("add one (ms)", changing, ""),
    ]


def _described(members: Members, hashed: int) -> MemberList:
    total = int(members.described.digest, 16) + hashed
    return MemberList(list="a1", version=2, count=len(members) + 1, digest=format(total % 2**64, "016x"))


def _verdict(figure: float, limit: float) -> str:
    return f"≤ {limit:g}" if figure <= limit else f"MORE THAN {limit:g}"


class _Switching:
    """A flag that is switched, and a stream on which that is seen."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._stream = RawStream(server)
        self._stream.event()
        self._is_on = False

    def once(self) -> float:
        """Milliseconds from the request to the event."""
        began = time.perf_counter()
        written = self._server.admin.verb("other", "off" if self._is_on else "on")
        self._is_on = not self._is_on
        self._stream.follow(written["revision"])
        return (time.perf_counter() - began) * 1000

    def many(self) -> list[float]:
        return [self.once() for _ in range(TOGGLES)]


def _upload(server: ServerProcess, content: bytes) -> float:
    began = time.perf_counter()
    answer = urllib3.request(
        "PUT",
        f"{server.url}/api/v1/projects/default/segments/vip/members",
        body=content,
        headers={"Authorization": f"Bearer {server.admin_token}", "Content-Type": "text/plain"},
        retries=False,
        timeout=120,
    )
    if answer.status != 200:
        raise SystemExit(f"the upload was refused: {answer.data.decode()}")
    return time.perf_counter() - began


def measure_neighbours() -> list[tuple[str, float, float, float]]:
    """How long a switch takes to reach a client: median, 95th percentile, and the median in multiples of that alone."""
    content = "\n".join(f"user-{number}" for number in range(MEMBERS)).encode()
    with tempfile.TemporaryDirectory() as name, running_server(Path(name)) as server:
        server.admin.ok("POST", "/projects/default/segments", {"key": "vip"})
        server.admin.create_flag("other")
        seconds = _upload(server, content)
        switching = _Switching(server)
        switching.many()
        alone = switching.many()
        downloading = _while_downloading(server, switching)
        alone += switching.many()
        uploading = _while_uploading(server, switching, content[: len(content) // 2])
    median = statistics.median(alone)
    print(f"  uploaded in {seconds:.1f} s", file=sys.stderr)
    return [
        (kind, statistics.median(times), statistics.quantiles(times, n=20)[-1], statistics.median(times) / median)
        for kind, times in (
            ("alone", alone),
            ("while another downloads a million", downloading),
            ("while a million are replaced", uploading),
        )
    ]


def _while_downloading(server: ServerProcess, switching: _Switching) -> list[float]:
    wait_for(lambda: "members" in _segment(server), "the list")
    named = _segment(server)["members"]
    arguments = [
        server.url,
        server.sdk_key(),
        "vip",
        named["list"],
        named["version"],
        named["digest"],
        named["count"] * 8,
    ]
    command = [sys.executable, "-c", _DOWNLOADER, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            if other.stdout is None or not other.stdout.readline():
                raise SystemExit("nothing is downloaded")
            return switching.many()
        finally:
            other.kill()


def _segment(server: ServerProcess) -> Any:
    headers = {"Authorization": f"Bearer {server.sdk_key()}"}
    answer = urllib3.request("GET", f"{server.url}/sdk/v1/snapshot", headers=headers, retries=False)
    return answer.json()["segments"]["vip"]


def _while_uploading(server: ServerProcess, switching: _Switching, content: bytes) -> list[float]:
    uploading = threading.Thread(target=_upload, args=(server, content))
    uploading.start()
    times = []
    while uploading.is_alive():
        times.append(switching.once())
    uploading.join()
    return times


def main() -> int:
    """Measure and print; 1 if a limit was passed."""
    members = _list(MEMBERS)
    lookups, loading = measure_lookups(members), measure_loading(members)
    show("a user among a million", ("call", "ns", "of floor", "limit in µs"), lookups, as_json=wants_json())
    show("a list of a million", ("what", "figure", "limit"), loading, as_json=wants_json())
    columns = ("a switch reaches a client", "median ms", "p95 ms", "of alone")
    show("others meanwhile", columns, measure_neighbours(), as_json=wants_json())
    return int(any("MORE" in row[-1] for row in (*lookups, *loading)))


if __name__ == "__main__":
    sys.exit(main())
