"""The evaluations of LaunchDarkly's harness for SDKs: each file some flags, and questions with answers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from conformance_files import conformance_path

SUITE = "launchdarkly-sdk-test-harness"
_NAME = re.compile(r"<(\w+)>")


@dataclass(frozen=True)
class Evaluation:
    """One question about one flag of one file, with one set of its parameters."""

    file: str
    data: dict[str, Any]
    name: str
    flag: str
    context: dict[str, Any]
    default: Any
    value: Any
    has_error: bool


def all_evaluations() -> list[Evaluation]:
    """All of them, for servers' SDKs."""
    return [
        evaluation
        for path in sorted(conformance_path(SUITE).joinpath("server-side-eval").glob("*.yml"))
        for evaluation in _of_file(path.name, yaml.safe_load(path.read_text("utf-8")))
    ]


def _of_file(file: str, document: dict[str, Any]) -> Iterator[Evaluation]:
    constants = document.get("constants", {})
    for parameters in _permutations(document.get("parameters") or [{}]):
        known = constants | parameters
        filled = _filled({key: document[key] for key in ("sdkData", "evaluations")}, known)
        for one in filled["evaluations"]:
            yield Evaluation(
                file=file,
                data=filled["sdkData"],
                name=one.get("name", ""),
                flag=one["flagKey"],
                context=one["context"],
                default=one.get("default"),
                value=one["expect"].get("value"),
                has_error=one["expect"].get("reason", {}).get("kind") == "ERROR",
            )


def _permutations(parameters: list[Any]) -> list[dict[str, Any]]:
    """A list of sets of parameters; or a list of such lists, of each of which one is taken."""
    if not isinstance(parameters[0], list):
        return parameters
    found: list[dict[str, Any]] = [{}]
    for choices in parameters:
        found = [one | choice for one in found for choice in choices]
    return found


def _filled(value: Any, known: dict[str, Any]) -> Any:
    """The value with everything in angle brackets replaced by what it stands for."""
    if isinstance(value, dict):
        # YAML 1.1, which the library reads, takes `on` for true; where these files were written, it is a word.
        return {"on" if key is True else _filled(key, known): _filled(inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole is not None and whole[1] in known:
        return _filled(known[whole[1]], known)
    return _NAME.sub(lambda match: str(_filled(known[match[1]], known)) if match[1] in known else match[0], value)
