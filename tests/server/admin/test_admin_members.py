"""Long lists of targeting keys through the admin API: uploaded, changed, listed, kept, removed."""

import json
from typing import Any

import pytest

from admin_server import AdminClient, AdminServer, Answer

COUNT = 3_000
KEYS = [f"user-{number}" for number in range(COUNT)]


@pytest.fixture
def segments(admin: AdminClient, project: str) -> str:
    path = f"/projects/{project}/segments"
    assert admin.post(path, {"key": "vip", "description": "Those who pay"}).status == 201
    return path


def upload(admin: AdminClient, segments: str, content: bytes | list[str], query: str = "", **headers: str) -> Answer:
    raw = content if isinstance(content, bytes) else "\n".join(content).encode()
    sent = {"Content-Type": "text/plain"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return admin.send("PUT", f"{segments}/vip/members{query}", raw=raw, headers=sent)


def text(admin: AdminClient, segments: str) -> list[str]:
    return admin.send("GET", f"{segments}/vip/members", headers={"Accept": "text/plain"}).text.splitlines()


def members(admin: AdminClient, segments: str) -> Any:
    return admin.get(f"{segments}/vip").body["members"]


def changes(admin: AdminClient, segments: str) -> list[Any]:
    found = admin.all(f"{segments.removesuffix('/segments')}/changes?segment=vip&environment=production")
    return [change for change in found if change["kind"] == "segment"]


def test_a_file_is_uploaded_listed_and_downloaded(admin: AdminClient, segments: str) -> None:
    content = b"\xef\xbb\xbf" + "\r\n".join([*KEYS, "", "  padded\t", KEYS[0], "Jürgen 😊"]).encode()
    uploaded = upload(admin, segments, content)
    assert uploaded.status == 200
    view = uploaded.body
    assert (view["targeting_keys"], view["description"]) == ([], "Those who pay")
    assert (view["members"]["count"], view["members"]["version"]) == (COUNT + 2, 1)
    assert set(text(admin, segments)) == {*KEYS, "padded", "Jürgen 😊"}
    assert sorted(admin.all(f"{segments}/vip/members")) == sorted({*KEYS, "padded", "Jürgen 😊"})
    [listed] = admin.get(segments).body["items"]
    assert listed == view == admin.get(f"{segments}/vip").body


def test_a_few_are_kept_with_the_segment(admin: AdminClient, segments: str) -> None:
    assert upload(admin, segments, ["b", "a"]).body["targeting_keys"] == ["b", "a"]
    assert admin.post(f"{segments}/vip/members", {"add": ["c", "a"], "remove": ["b"]}).body["targeting_keys"] == [
        "a",
        "c",
    ]
    assert sorted(admin.all(f"{segments}/vip/members?x")) == ["a", "c"]
    assert text(admin, segments) == ["a", "c"]
    assert members(admin, segments) == {"count": 2, "version": None, "digest": None}


def test_a_list_grows_long_and_becomes_short_again(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, ["first"])
    longer = admin.post(f"{segments}/vip/members", {"add": KEYS, "remove": ["first"]}).body
    assert (longer["targeting_keys"], longer["members"]["count"]) == ([], COUNT)
    shorter = upload(admin, segments, ["only"]).body
    assert (shorter["targeting_keys"], shorter["members"]["count"]) == (["only"], 1)
    again = upload(admin, segments, KEYS).body
    assert again["members"] == {**longer["members"], "version": 1}


def test_the_log_says_how_many_and_not_who(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, KEYS)
    admin.post(
        f"{segments}/vip/members", {"add": ["new", KEYS[0]], "remove": [KEYS[1], "nobody"], "reason": "They asked"}
    )
    upload(admin, segments, [*KEYS[2:], "other", "one"])
    newest, edited, first, _ = changes(admin, segments)
    assert (edited["action"], edited["reason"]) == ("members changed", "They asked")
    assert (edited["after"]["members"]["added"], edited["after"]["members"]["removed"]) == (1, 1)
    assert (newest["after"]["members"]["added"], newest["after"]["members"]["removed"]) == (2, 2)
    assert edited["before"]["members"]["digest"] == first["after"]["members"]["digest"]
    assert [one["after"]["members"]["version"] for one in (first, edited, newest)] == [1, 2, 3]
    assert KEYS[5] not in json.dumps([newest, edited, first])
    assert set(text(admin, segments)) == {*KEYS[2:], "other", "one"}


def test_many_small_changes_add_up(admin: AdminClient, segments: str) -> None:
    """Over and over: first beside the list, and then, when they have become many, within it."""
    upload(admin, segments, KEYS)
    wanted = set(KEYS)
    for number in range(8):
        more = {f"more-{number}-{each}" for each in range(300)}
        less = set(KEYS[number * 100 : number * 100 + 100])
        edited = admin.post(f"{segments}/vip/members", {"add": sorted(more), "remove": sorted(less)})
        wanted = (wanted | more) - less
        assert edited.body["members"]["count"] == len(wanted)
    assert set(text(admin, segments)) == wanted
    assert set(admin.all(f"{segments}/vip/members")) == wanted
    uploaded = upload(admin, segments, sorted(wanted)).body
    assert uploaded["members"]["version"] == 9, "nothing is different, so nothing is written"


def test_what_is_so_already_uses_no_revision(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, KEYS)
    before = changes(admin, segments)
    upload(admin, segments, KEYS[::-1])
    admin.post(f"{segments}/vip/members", {"add": KEYS[:5], "remove": ["nobody"]})
    assert changes(admin, segments) == before


def test_the_tag_keeps_updates_from_being_lost(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, KEYS)
    tag = admin.get(f"{segments}/vip/members").headers["ETag"]
    assert tag == f'"{COUNT}-{members(admin, segments)["digest"]}"'
    edit = {"add": ["ada"]}
    path = f"{segments}/vip/members"
    assert admin.send("POST", path, edit, headers={"If-Match": tag}).status == 200
    assert admin.send("POST", path, {"add": ["bob"]}, headers={"If-Match": tag}).status == 412
    assert upload(admin, segments, ["eve"], If_Match=tag).status == 412
    assert admin.send("POST", path, edit, headers={"If-Match": "nonsense"}).status == 422
    assert members(admin, segments)["count"] == COUNT + 1
    assert upload(admin, segments, ["eve"], If_Match="*").status == 200


def test_a_dry_run_checks_and_writes_nothing(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, KEYS)
    before = admin.get(f"{segments}/vip").body
    dry = upload(admin, segments, [*KEYS, "one more"], "?dry_run=true")
    assert (dry.status, dry.body["members"]["count"], dry.headers["Fader-Dry-Run"]) == (200, COUNT + 1, "true")
    assert (
        admin.post(f"{segments}/vip/members?dry_run=true", {"remove": KEYS[:7]}).body["members"]["count"] == COUNT - 7
    )
    assert admin.get(f"{segments}/vip").body == before


def test_tries_of_one_upload_are_applied_once(admin: AdminClient, segments: str) -> None:
    first, second = (upload(admin, segments, KEYS, Idempotency_Key=f'"{segments}"') for _ in range(2))
    assert first.body == second.body
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(changes(admin, segments)) == 2
    assert upload(admin, segments, KEYS[1:], Idempotency_Key=f'"{segments}"').status == 422


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"\n \n\t\n", ""),
        (b"ada\nal\x00an\n", "line 2"),
        (b"ada\nal\tan\n", "line 2"),
        (b"ada\n\ngr\xff\xfeace", "line 3"),
        (b"ada\n" + b"x" * 1001, "line 2"),
        (b"\n" * 20_000 + b"\x07", "line 20001"),
    ],
    ids=["blank", "nul", "tab inside", "not utf-8", "too long", "far down"],
)
def test_a_file_is_refused_by_its_line(admin: AdminClient, segments: str, content: bytes, field: str) -> None:
    upload(admin, segments, ["ada"])
    refused = upload(admin, segments, content)
    assert refused.status == 422
    assert refused.body["errors"][0]["field"] == field
    assert admin.get(f"{segments}/vip").body["targeting_keys"] == ["ada"]


def test_only_text_is_a_file(admin: AdminClient, segments: str) -> None:
    sent = admin.send("PUT", f"{segments}/vip/members", ["ada"])
    assert sent.status == 415
    assert upload(admin, segments, b"").status == 400
    assert (
        admin.send("PUT", f"{segments}/none/members", raw=b"ada", headers={"Content-Type": "text/plain"}).status == 404
    )
    assert admin.get(f"{segments}/none/members").status == 404
    assert admin.get(f"{segments}/vip/members?cursor=eHg").status == 422


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        ({"add": [""]}, "add[0]"),
        ({"remove": ["a\nb"]}, "remove[0]"),
        ({"add": ["a"], "remove": ["a"]}, "remove"),
        ({"add": [str(number) for number in range(20_001)]}, "add"),
        ({"added": []}, "added"),
    ],
)
def test_an_edit_is_refused_by_the_path_of_its_fault(
    admin: AdminClient, segments: str, edit: dict[str, Any], field: str
) -> None:
    refused = admin.post(f"{segments}/vip/members", edit)
    assert (refused.status, refused.body["field"]) == (422, field)


def test_who_does_not_know_of_long_lists_cannot_take_one_away(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, KEYS)
    held = admin.get(f"{segments}/vip").body
    old = admin.put(f"{segments}/vip", {"description": "x", "targeting_keys": []})
    assert (old.status, old.body["field"]) == (409, "members")
    kept = admin.put(f"{segments}/vip", {"description": "x", "members": held["members"]})
    assert (kept.body["description"], kept.body["members"]) == ("x", held["members"])
    admin.post(f"{segments}/vip/members", {"add": ["ada"]})
    assert admin.put(f"{segments}/vip", {"members": held["members"]}).status == 412
    without = admin.put(f"{segments}/vip", {"members": None, "targeting_keys": ["eve"]}).body
    assert (without["targeting_keys"], without["members"]["count"]) == (["eve"], 1)
    echoed = admin.put(f"{segments}/vip", {key: without[key] for key in ("targeting_keys", "members")})
    assert (echoed.status, echoed.body["targeting_keys"]) == (200, ["eve"])


def test_explanations_know_who_is_listed(admin: AdminClient, segments: str) -> None:
    upload(admin, segments, KEYS)
    admin.post(f"{segments}/vip/members", {"add": ["ada"], "remove": [KEYS[0]]})
    project = segments.removesuffix("/segments")
    admin.post(f"{project}/flags", {"key": "f"})
    place = f"{project}/flags/f/environments/production"
    admin.post(f"{place}/rules", {"segments": ["vip"]})
    admin.post(f"{place}/on")
    for key, is_on in ((KEYS[1], True), ("ada", True), (KEYS[0], False), ("nobody", False)):
        explained = admin.post(f"{place}/explain", {"context": {"targeting_key": key}}).body
        assert explained["enabled"] is is_on
        assert explained["rules"][0]["segments"][0]["why"] == (
            "the targeting key is listed" if is_on else "the targeting key is not listed"
        )
    assert admin.post(f"{place}/explain", {"context": {}}).body["enabled"] is False


def test_a_list_goes_with_its_segment_and_its_project(admin: AdminClient, segments: str, server: AdminServer) -> None:
    import sqlalchemy as sa

    from fader_server.storage import schema

    upload(admin, segments, KEYS)
    admin.post(f"{segments}/vip/members", {"add": ["ada"]})
    number = admin.get(f"{segments}/vip").body["id"]
    assert admin.delete(f"{segments}/vip").status == 204

    async def left() -> list[int]:
        async with server.services.store.read() as connection:
            lists = (
                sa.select(sa.func.count())
                .select_from(schema.member_lists)
                .where(schema.member_lists.c.segment == number)
            )
            orphans = [
                sa.select(sa.func.count())
                .select_from(table)
                .where(table.c.list.not_in(sa.select(schema.member_lists.c.list)))
                for table in (schema.member_parts, schema.member_deltas)
            ]
            return [(await connection.execute(query)).scalar_one() for query in (lists, *orphans)]

    assert server.call(left) == [0, 0, 0]
    assert admin.post(segments, {"key": "vip", "targeting_keys": KEYS}).body["members"]["count"] == COUNT
    assert admin.delete(segments.removesuffix("/segments")).status == 204
    assert server.call(left) == [0, 0, 0]


def test_small_changes_are_small_in_the_database(admin: AdminClient, segments: str, server: AdminServer) -> None:
    import sqlalchemy as sa

    from fader_server.storage import schema

    upload(admin, segments, KEYS)
    before = changes(admin, segments)[0]["after"]["members"]["list"]
    admin.post(f"{segments}/vip/members", {"add": ["ada"]})
    upload(admin, segments, [*KEYS, "ada", "bob"])

    async def stored() -> tuple[int, list[int]]:
        async with server.services.store.read() as connection:
            bases = sa.select(sa.func.count(sa.distinct(schema.member_parts.c.base))).where(
                schema.member_parts.c.list == before
            )
            sizes = sa.select(sa.func.length(schema.member_deltas.c.added)).where(schema.member_deltas.c.list == before)
            return (await connection.execute(bases)).scalar_one(), list((await connection.execute(sizes)).scalars())

    assert server.call(stored) == (1, [8, 8])
