"""Cases of Unleash's client specification that a client answers otherwise, whoever its server is."""

from collections.abc import Mapping
from typing import Final

from conformance.unleash_cases import GET_VARIANT, IS_ENABLED, Case
from real_clients.clients import OLD_PYTHON

_REGEX: Final = (1, 5, 7, 9, 11, 13, 15, 16, 18, 19, 21, 24, 26, 28, 30, 31, 33, 35)

_LACKS: Final[Mapping[str, Mapping[tuple[str, str], tuple[tuple[int, ...], str]]]] = {
    OLD_PYTHON: {
        ("14-constraint-semver-operators.json", IS_ENABLED): ((5, 6, 10, 11), "knows no SEMVER_GTE and SEMVER_LTE"),
        ("16-strategy-variants.json", GET_VARIANT): ((1, 3), "asked for a variant, it ignores the environment given"),
        ("17-dependent-features.json", GET_VARIANT): ((17,), "asked for a variant, it ignores the environment given"),
        ("21-regex-constraint-operators.json", IS_ENABLED): (_REGEX, "knows no REGEX"),
        ("22-cidr-constraint-operators.json", IS_ENABLED): ((1, 3, 5, 8, 10, 12), "knows no IN_CIDR"),
    },
}


def lack(client: str, case: Case) -> str | None:
    """Why a client cannot answer a case as specified; None for all that it can."""
    numbers, reason = _LACKS.get(client, {}).get((case.file, case.question), ((), ""))
    return reason if case.number in numbers else None
