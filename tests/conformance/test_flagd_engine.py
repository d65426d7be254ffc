"""What flagd's targeting rules become answers as flagd's own evaluator does."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fader.context import Context
from fader.model import Snapshot
from fader.snapshot import FlagSet
from fader_server.imports import flagd
from flag_strategies import examples
from flagd_documents import DEFAULT, contexts, documents, engine, evaluation_context


@examples(150)
@given(documents, st.lists(contexts, min_size=1, max_size=8))
def test_imported_rules_answer_as_there(document: dict[str, Any], asked: list[dict[str, Any]]) -> None:
    [wanted] = flagd.wanted(document, "production").flags
    assert all(note.severity == "remark" for note in wanted.notes), wanted.notes
    snapshot = Snapshot(project="p", environment="e", epoch="00000000", revision=1, flags={"flag": wanted.flag})
    ours, theirs = FlagSet(snapshot), engine(document)
    for context in asked:
        attributes = {name: value for name, value in context.items() if name != "targetingKey"}
        answered = ours.details("flag", Context(context.get("targetingKey"), **attributes), DEFAULT).value
        assert answered == theirs.resolve_string_value("flag", DEFAULT, evaluation_context(context)).value
