"""The cases of Unleash's client specification: each file a state, and questions with the answers to be
given."""

from dataclasses import dataclass
from typing import Any

import msgspec

from conformance_files import conformance_json
from fader_server.unleash.answers import variant_answer
from fader_server.unleash.model import read_document
from fader_server.unleash.state import state_of
from fader_server.unleash.translation import Translation, translate

SUITE = "unleash-client-specification"
IS_ENABLED, GET_VARIANT = "is enabled", "get variant"


@dataclass(frozen=True)
class Case:
    """One question of one file."""

    file: str
    question: str
    number: int
    description: str
    flag: str
    context: dict[str, Any]
    expected: Any

    @property
    def id(self) -> str:
        """Readable, and of a form that every terminal can be given back to select the case."""
        text = f"{self.file.removesuffix('.json')}: {self.question} {self.number}: {self.description}"
        return text.encode("ascii", "backslashreplace").decode().replace("\\", "~")


def all_cases() -> list[Case]:
    """Every case of the suite, in the order of its index."""
    return [
        Case(
            file,
            question,
            number,
            test["description"],
            test["toggleName"],
            test["context"],
            test["expectedResult"],
        )
        for file in conformance_json(SUITE, "specifications", "index.json")
        for specification in (conformance_json(SUITE, "specifications", file),)
        for field, question in (("tests", IS_ENABLED), ("variantTests", GET_VARIANT))
        for number, test in enumerate(specification.get(field, ()), start=1)
    ]


def translated(file: str) -> Translation:
    """The state of one file in our terms."""
    return translate(state_of(read_document(conformance_json(SUITE, "specifications", file)["state"])))


def answer(case: Case, translation: Translation, *, enabled: bool, variant: str | None) -> Any:
    """What was evaluated, in the form in which the case has its expected result."""
    if case.question == IS_ENABLED:
        return enabled
    return msgspec.to_builtins(variant_answer(translation.flags.get(case.flag), enabled, variant))
