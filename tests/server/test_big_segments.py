"""A segment with a long list, from the upload to the answer of an application: real servers, real SDKs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3

from fader import Client
from fader.members import MembersDelta, combined, hash_of, unpacked
from fader.model import MemberList
from long_lists import described
from processes import ServerProcess, running_server, wait_for
from raw_stream import RawStream

COUNT = 40_000
KEYS = [f"user-{number}" for number in range(COUNT)]
"""Their hashes are more than one part."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server"), FADER_POLL_SECONDS="0.2") as server:
        yield server


class Segment:
    """A segment with a flag that only its members have."""

    def __init__(self, server: ServerProcess, name: str) -> None:
        self._server = server
        self.name = name
        self.path = f"/projects/default/segments/{name}"
        server.admin.ok("POST", "/projects/default/segments", {"key": name})
        server.admin.create_flag(name)
        server.admin.ok("POST", f"/projects/default/flags/{name}/environments/production/rules", {"segments": [name]})
        server.admin.verb(name, "on")

    def upload(self, keys: list[str]) -> Any:
        answer = urllib3.request(
            "PUT",
            f"{self._server.url}/api/v1{self.path}/members",
            body="\n".join(keys).encode(),
            headers={"Authorization": f"Bearer {self._server.admin_token}", "Content-Type": "text/plain"},
            retries=False,
        )
        assert answer.status == 200, answer.data
        return answer.json()

    def edit(self, **edit: list[str]) -> Any:
        return self._server.admin.ok("POST", f"{self.path}/members", edit)

    @property
    def revision(self) -> int:
        found: int = self._server.admin.ok("GET", "/projects/default/environments/production")["revision"]
        return found


@pytest.fixture
def segment(server: ServerProcess, request: pytest.FixtureRequest) -> Segment:
    return Segment(server, f"s{abs(hash(request.node.nodeid)) % 10**9}")


class Fetching:
    """Asks for lists as an SDK does."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.key = server.sdk_key()

    def __call__(self, segment: str, wanted: MemberList, since: MemberList | None = None, **headers: str) -> Any:
        query: dict[str, Any] = {
            "segment": segment,
            "list": wanted.list,
            "version": wanted.version,
            "digest": wanted.digest,
        }
        if since is not None:
            query |= {"since": since.version, "since_digest": since.digest}
        return urllib3.request(
            "GET",
            f"{self._server.url}/sdk/v1/members",
            fields=query,
            headers={"Authorization": f"Bearer {self.key}"} | headers,
            retries=False,
        )

    def snapshot(self) -> Any:
        return urllib3.request(
            "GET", f"{self._server.url}/sdk/v1/snapshot", headers={"Authorization": f"Bearer {self.key}"}, retries=False
        ).json()

    def named(self, segment: Segment) -> MemberList:
        """The list, as soon as the server serves it."""
        wait_for(lambda: self.snapshot()["revision"] >= segment.revision, "the revision")
        return MemberList(**self.snapshot()["segments"][segment.name]["members"])


@pytest.fixture
def fetching(server: ServerProcess) -> Fetching:
    return Fetching(server)


@pytest.fixture
def client(server: ServerProcess, tmp_path: Path) -> Iterator[Client]:
    client = Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=tmp_path / "cache", usage=False)
    yield client
    client.close()


def wait_for_revision(client: Client, segment: Segment) -> None:
    """Wait until an application has all of the newest revision."""
    revision = segment.revision
    wait_for(lambda: client.wait_until_ready(1) and client.status.revision == revision, f"revision {revision}")


def test_an_application_sees_who_is_on_the_list_and_each_change_of_it(
    server: ServerProcess, segment: Segment, client: Client
) -> None:
    segment.upload(KEYS)
    wait_for_revision(client, segment)
    assert [client.is_enabled(segment.name, key) for key in (KEYS[0], KEYS[-1], "ada", "")] == [
        True,
        True,
        False,
        False,
    ]
    segment.edit(add=["ada"], remove=[KEYS[0]])
    wait_for(lambda: client.is_enabled(segment.name, "ada"), "the small change")
    assert not client.is_enabled(segment.name, KEYS[0])
    segment.upload(KEYS[: COUNT // 2])  # too much to be told to everybody, so it is fetched
    wait_for(lambda: not client.is_enabled(segment.name, KEYS[-1]), "the large change")
    assert client.is_enabled(segment.name, KEYS[0])
    segment.upload(["only"])
    wait_for(lambda: client.is_enabled(segment.name, "only"), "the short list")
    assert not client.is_enabled(segment.name, KEYS[1])


def test_a_process_that_starts_without_a_server_knows_the_list(
    server: ServerProcess, segment: Segment, client: Client, tmp_path: Path
) -> None:
    segment.upload(KEYS)
    wait_for_revision(client, segment)
    folder = tmp_path / "cache"
    wait_for(lambda: list(folder.glob("*.members")), "the copy of the list")
    client.close()
    away = Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=folder, offline=True)
    assert away.is_enabled(segment.name, KEYS[7])
    assert not away.is_enabled(segment.name, "ada")
    away.close()
    segment.edit(add=["ada"])
    segment.edit(add=["grace"])
    back = Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=folder, usage=False)
    assert back.is_enabled(segment.name, KEYS[7])
    wait_for_revision(back, segment)
    assert back.is_enabled(segment.name, "grace")
    back.close()


def test_the_stream_tells_of_small_changes_and_merges_them(
    server: ServerProcess, segment: Segment, fetching: Fetching
) -> None:
    segment.upload(KEYS)
    since = segment.revision
    segment.edit(add=["ada"])
    segment.edit(add=["grace"], remove=["ada"])
    fetching.named(segment)
    resumed = RawStream(server, {"Last-Event-ID": f"{fetching.snapshot()['epoch']}-{since}"})
    name, change = resumed.event()
    resumed.close()
    assert name == "change"
    named = change["segments"][segment.name]["members"]
    assert (named["version"], named["count"]) == (3, COUNT + 1)
    deltas = msgspec.convert(change["members"][named["list"]], tuple[MembersDelta, ...])
    assert [delta.version for delta in deltas] == [2, 3]
    assert combined(deltas) == ({hash_of(b"grace")}, set())


def test_older_sdks_take_the_segment_for_one_without_members(segment: Segment, fetching: Fetching) -> None:
    segment.upload(KEYS)
    fetching.named(segment)
    seen = fetching.snapshot()["segments"][segment.name]
    assert "targeting_keys" not in seen
    assert "constraints" not in seen
    assert set(seen) == {"key", "id", "members"}


def test_a_list_is_handed_out_in_parts_and_never_changes(segment: Segment, fetching: Fetching) -> None:
    segment.upload(KEYS)
    wanted = fetching.named(segment)
    assert wanted == described(KEYS, 1, wanted.list)
    whole = fetching(segment.name, wanted)
    assert (whole.status, len(whole.data), whole.headers["Fader-Members"]) == (200, 8 * COUNT, "list")
    assert list(unpacked(whole.data)) == sorted(hash_of(key.encode()) for key in KEYS)
    assert "immutable" in whole.headers["Cache-Control"]
    part = fetching(segment.name, wanted, Range="bytes=8-23")
    assert (part.status, part.data) == (206, whole.data[8:24])
    assert part.headers["Content-Range"] == f"bytes 8-23/{8 * COUNT}"
    assert fetching(segment.name, wanted, Range=f"bytes={8 * COUNT - 8}-").data == whole.data[-8:]
    assert fetching(segment.name, wanted, Range=f"bytes={8 * COUNT}-").status == 416
    assert fetching(segment.name, wanted, If_None_Match=whole.headers["ETag"]).status in {200, 304}
    assert fetching(segment.name, wanted, **{"If-None-Match": whole.headers["ETag"]}).status == 304
    # And so it is while the list goes on.
    segment.edit(add=["ada"])
    later = fetching.named(segment)
    assert fetching(segment.name, wanted).data == whole.data
    assert len(fetching(segment.name, later).data) == 8 * (COUNT + 1)


def test_who_has_an_earlier_version_gets_the_way(segment: Segment, fetching: Fetching) -> None:
    segment.upload(KEYS)
    first = fetching.named(segment)
    segment.edit(add=["ada", "bob"])
    segment.edit(remove=["bob", KEYS[0]])
    wanted = fetching.named(segment)
    way = fetching(segment.name, wanted, first)
    assert way.headers["Fader-Members"] == "delta"
    assert list(unpacked(way.data)) == [1, hash_of(b"ada"), hash_of(KEYS[0].encode())]
    assert (
        fetching(segment.name, wanted, MemberList(list=wanted.list, version=0, count=0, digest="0" * 16)).headers[
            "Fader-Members"
        ]
        == "list"
    )


def test_a_list_is_only_for_who_may_see_its_segment(
    server: ServerProcess, segment: Segment, fetching: Fetching
) -> None:
    segment.upload(KEYS)
    wanted = fetching.named(segment)
    server.admin.ok("POST", "/projects", {"key": f"other-{segment.name}"})
    made = server.admin.ok("POST", f"/projects/other-{segment.name}/keys", {"name": "k", "environment": "production"})
    fetching.key = made["secret"]
    assert fetching(segment.name, wanted).status == 404
    server.admin.ok("POST", f"/projects/other-{segment.name}/segments", {"key": segment.name})
    assert fetching(segment.name, wanted).status == 404
    fetching.key = "nonsense"
    assert fetching(segment.name, wanted).status == 401


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("?segment=x&list=y&version=1&digest=0000000000000000", 404),
        ("?version=x", 422),
        ("?digest=%00", 422),
    ],
)
def test_other_questions_are_refused(server: ServerProcess, fetching: Fetching, query: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {fetching.key}"}
    assert (
        urllib3.request("GET", f"{server.url}/sdk/v1/members{query}", headers=headers, retries=False).status == status
    )
    posted = urllib3.request("POST", f"{server.url}/sdk/v1/members{query}", headers=headers, retries=False)
    assert posted.status == 405


def test_a_server_that_is_asked_for_too_much_sends_some_away(tmp_path: Path) -> None:
    """And goes on with everything else; the SDK comes again, and goes on from where it was."""
    with running_server(tmp_path, FADER_MEMBER_BYTES_PER_SECOND="300000") as server:
        segment, fetching = Segment(server, "vip"), Fetching(server)
        segment.upload(KEYS)
        wanted = fetching.named(segment)
        answers = [fetching("vip", wanted, Range="bytes=0-262143") for _ in range(4)]
        refused = [answer for answer in answers if answer.status == 503]
        assert refused
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert fetching.snapshot()["segments"]
        client = Client(url=server.url, sdk_key=fetching.key, cache_dir=None, usage=False)
        assert client.wait_until_ready(30)
        assert client.is_enabled("vip", KEYS[0])
        client.close()
