"""Many writers at once: no revision is skipped or used twice, and nobody's rule is lost."""

from concurrent.futures import ThreadPoolExecutor

import msgspec

from admin_server import AdminClient, AdminServer, Answer
from fader import model

WRITERS = 12
RULES_EACH = 5


def test_concurrent_writers_lose_nothing(server: AdminServer, admin: AdminClient, project: str) -> None:
    flags = f"/projects/{project}/flags"
    for key in ("shared", "other"):
        admin.post(flags, {"key": key})
    place = f"{flags}/shared/environments/production"
    store = server.services.store
    first: model.Snapshot = server.call(lambda: store.snapshot(project, "production"))

    def write(writer: int) -> list[Answer]:
        answers = []
        for number in range(RULES_EACH):
            answers.append(admin.post(f"{place}/rules", {"id": f"w{writer}-{number}"}))
            answers.append(admin.post(f"{flags}/other/environments/staging/rollout", {"percentage": writer}))
            answers.append(admin.post(flags, {"key": "contested"}))
            answers.append(admin.put(f"{place}/rules/w{writer}-{number}", {"description": "mine"}))
        return answers

    with ThreadPoolExecutor(WRITERS) as pool:
        answers = [answer for of_one in pool.map(write, range(WRITERS)) for answer in of_one]
    assert sorted({answer.status for answer in answers}) == [200, 201, 409]
    assert sum(answer.status == 409 for answer in answers) == WRITERS * RULES_EACH - 1

    rules = admin.get(f"{flags}/shared").body["environments"]["production"]["rules"]
    assert {rule["id"] for rule in rules} == {
        f"w{writer}-{number}" for writer in range(WRITERS) for number in range(RULES_EACH)
    }
    assert {rule["description"] for rule in rules} == {"mine"}

    for environment in ("production", "staging", "development"):
        log = admin.all(f"/projects/{project}/changes?environment={environment}")
        assert [change["revision"] for change in reversed(log)] == list(range(1, len(log) + 1))

    # What SDKs are told, change by change, leads from the first snapshot to the last, through every revision
    # between.
    changes: list[model.Change] = server.call(
        lambda: store.changes_after(project, "production", first.revision, 10_000)
    )
    last: model.Snapshot = server.call(lambda: store.snapshot(project, "production"))
    followed = first
    for change in changes:
        assert change.since == followed.revision
        followed = _applied(followed, change)
    assert followed == last


def _applied(snapshot: model.Snapshot, change: model.Change) -> model.Snapshot:
    flags = {key: flag for key, flag in (snapshot.flags | change.flags).items() if flag is not None}
    segments = {key: segment for key, segment in (snapshot.segments | change.segments).items() if segment is not None}
    return msgspec.structs.replace(snapshot, revision=change.revision, flags=flags, segments=segments)
