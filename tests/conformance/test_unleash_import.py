"""Unleash's client specification, imported: what is stored, and sent to SDKs, answers as Unleash specifies."""

from collections.abc import Iterator
from functools import cache

import pytest

from admin_server import AdminClient, AdminServer, running_admin_server
from conformance.unleash_cases import SUITE, Case, all_cases, answer, translated
from conformance_files import conformance_json
from fader.context import Context
from fader.model import Segment, Snapshot
from fader.snapshot import FlagSet
from fader_server.storage import flags, segments
from fader_server.unleash.contexts import context_attributes

CASES = all_cases()
FILES = sorted({case.file for case in CASES})

REFUSED = {
    ("13-constraint-operators.json", "F7.invalid-operator"): "strategies[0].constraints[0].operator",
    ("15-global-constraints.json", "F9.withMissingSegment"): "strategies[0].segments[0]",
    ("17-dependent-features.json", "parents.not.exist.child.enabled"): "dependencies[0].feature",
    ("18-utf8-flag-names.json", "Feature.UTF-8.Hellø_Wørld"): "name",
    ("18-utf8-flag-names.json", "Feature.UTF-8.😊_φriend_你好_🌍"): "name",
}
"""Flags of the specification that are not imported, and which part of them is the reason."""
NAMES = "18-utf8-flag-names.json"
"""The only file whose answers are lost with them: flags that are refused are off, and the others are meant to be."""

translation_of = cache(translated)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminServer]:
    with running_admin_server(tmp_path_factory.mktemp("import")) as server:
        yield server


@pytest.fixture(scope="module")
def imported(server: AdminServer) -> tuple[dict[str, FlagSet], dict[tuple[str, str], str]]:
    """What SDKs evaluate with after each file was imported into a project of its own, and what was refused."""
    admin = AdminClient(server.url)
    found: dict[str, FlagSet] = {}
    refused: dict[tuple[str, str], str] = {}
    for file in FILES:
        project = file.removesuffix(".json")
        assert admin.post("/projects", {"key": project}).status == 201
        state = conformance_json(SUITE, "specifications", file)["state"]
        body = {"format": "unleash", "environment": "production", "document": state, "skip_refused": True}
        report = admin.post(f"/projects/{project}/import", body | {"accept": ["disputed"]})
        assert report.status == 200, report
        refused |= {(file, one["key"]): one["refusals"][0]["path"] for one in report.body["flags"] if one["refusals"]}

        async def stored(project: str = project) -> FlagSet:
            async with server.services.store.read() as connection:
                rows = await segments.page(connection, project)
                return FlagSet(
                    Snapshot(
                        project=project,
                        environment="production",
                        epoch="00000000",
                        revision=1,
                        flags=await flags.sdk_flags(connection, project, "production"),
                        segments={row.key: Segment(key=row.key, constraints=row.constraints) for row in rows},
                    )
                )

        found[file] = server.call(stored)
    admin.close()
    return found, refused


def test_what_is_refused_is_known(imported: tuple[dict[str, FlagSet], dict[tuple[str, str], str]]) -> None:
    assert imported[1] == REFUSED


@pytest.mark.parametrize("case", [case for case in CASES if case.file != NAMES], ids=lambda case: case.id)
def test_what_was_imported_answers_as_unleash_specifies(
    case: Case, imported: tuple[dict[str, FlagSet], dict[tuple[str, str], str]]
) -> None:
    translation = translation_of(case.file)
    attributes = context_attributes(case.context)
    context = Context(attributes.pop("targeting_key", None), **attributes)

    details = imported[0][case.file].details(case.flag, context, None)

    assert answer(case, translation, enabled=details.enabled, variant=details.variant) == case.expected
