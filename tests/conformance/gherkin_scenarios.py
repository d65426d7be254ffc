"""Scenarios in Gherkin, as the official parser expands them, and the steps that run them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gherkin.parser import Parser
from gherkin.pickles.compiler import Compiler

StepFunction = TypeVar("StepFunction", bound=Callable[..., None])
Table = list[dict[str, str]]


@dataclass(frozen=True)
class Step:
    """One line of a scenario, and the table below it, if there is one."""

    text: str
    table: Table


@dataclass(frozen=True)
class Scenario:
    """A scenario, or one row of an outline with its values filled in."""

    file: str
    name: str
    number: int
    tags: frozenset[str]
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        """Readable, and different for each row."""
        return f"{self.file}: {self.name} {self.number}"


def scenarios(path: Path) -> Iterator[Scenario]:
    """All scenarios of a file, numbered by their names, outlines row by row."""
    document: Any = Parser().parse(path.read_text("utf-8"))
    seen: dict[str, int] = {}
    for pickle in Compiler().compile({**document, "uri": path.name}):
        name = pickle["name"]
        seen[name] = seen.get(name, 0) + 1
        steps = tuple(Step(step["text"], _table(step)) for step in pickle["steps"])
        tags = frozenset(tag["name"] for tag in pickle["tags"])
        yield Scenario(path.name, name, seen[name], tags, steps)


def _table(step: Any) -> Table:
    rows = step.get("argument", {}).get("dataTable", {}).get("rows", [])
    cells = [[cell["value"] for cell in row["cells"]] for row in rows]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


class Steps:
    """What the lines of scenarios mean: functions of a world and of what the line's pattern finds."""

    def __init__(self) -> None:
        self._meanings: list[tuple[re.Pattern[str], Callable[..., None]]] = []

    def __call__(self, pattern: str) -> Callable[[StepFunction], StepFunction]:
        """Let a function run lines of this form. Named groups are its arguments, and ``table`` if it asks for it."""

        def remember(function: StepFunction) -> StepFunction:
            self._meanings.append((re.compile(pattern), function))
            return function

        return remember

    def run(self, world: object, scenario: Scenario) -> None:
        """Run a scenario in a world of its own."""
        for step in scenario.steps:
            found = [(match, does) for pattern, does in self._meanings if (match := pattern.fullmatch(step.text))]
            assert len(found) == 1, f"{len(found)} meanings of the step {step.text!r}"
            match, does = found[0]
            does(world, **match.groupdict(), **({"table": step.table} if step.table else {}))
