"""The Dockerfile as data."""

import io
import json
import re
import shlex
from typing import Any

from dockerfile_parse import DockerfileParser
from msgspec import Struct

from deploy.programs import ROOT


class Instruction(Struct, frozen=True):
    """One line of a Dockerfile, its continuations joined."""

    name: str
    value: str


class Stage(Struct, frozen=True):
    """What stands between one ``FROM`` and the next."""

    base: str
    instructions: tuple[Instruction, ...]

    def values(self, name: str) -> list[str]:
        """The values of all instructions of one name, in order."""
        return [found.value for found in self.instructions if found.name == name]

    def value(self, name: str) -> str:
        """The value of the only instruction of one name."""
        (only,) = self.values(name)
        return only

    @property
    def environment(self) -> dict[str, str]:
        """What ``ENV`` and ``ARG`` set."""
        settings = [part for name in ("ARG", "ENV") for value in self.values(name) for part in shlex.split(value)]
        return dict(part.split("=", 1) for part in settings)

    @property
    def copied(self) -> list[tuple[list[str], str]]:
        """What ``COPY`` takes from the context, and where to."""
        copies = [shlex.split(value) for value in self.values("COPY")]
        return [(words[:-1], words[-1]) for words in copies if not words[0].startswith("--")]

    @property
    def health_check(self) -> list[str]:
        """The program that ``HEALTHCHECK`` runs, and its arguments."""
        command: Any = json.loads(self.value("HEALTHCHECK").partition("CMD")[2])
        return list(command)


def read_dockerfile() -> tuple[Stage, ...]:
    """The stages of the Dockerfile; the last one is the image."""
    parser = DockerfileParser(fileobj=io.BytesIO((ROOT / "Dockerfile").read_bytes()))
    stages: list[Stage] = []
    for line in parser.structure:
        if line["instruction"] == "FROM":
            stages.append(Stage(line["value"].split()[0], ()))
        elif line["instruction"] != "COMMENT":
            added = Instruction(line["instruction"], line["value"])
            stages[-1] = Stage(stages[-1].base, (*stages[-1].instructions, added))
    return tuple(stages)


def commands(run: str) -> str:
    """The shell commands of a ``RUN``, without its mounts."""
    return re.sub(r"--mount=\S+\s*", "", run)
