"""What flags answer, as JSON. A flag has a few answers, all known since it was compiled, so each is written once."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fader.evaluation import EvaluationDetails, Reason
from fader.functions import Outcome
from fader.model import Flag

_REASONS: Final[Mapping[Reason, str]] = {
    Reason.STATIC: "STATIC",
    Reason.TARGETING_MATCH: "TARGETING_MATCH",
    Reason.SPLIT: "SPLIT",
    Reason.DISABLED: "DISABLED",
    # OpenFeature has no word for it, and a reason that it does not know makes some providers use the default.
    Reason.PREREQUISITE_FAILED: "DISABLED",
    # Not in OFREP's list, but in OpenFeature's, and what other servers say: UNKNOWN would tell less.
    Reason.DEFAULT: "DEFAULT",
}


class Writing:
    """Writes answers, in one way, for all flags of a version.

    Args:
        flags: By their keys.
        metadata: What is said with each answer.
        tells_rules: Whether it is said which rule decided, and whether a prerequisite did: not to who may be anybody.
    """

    def __init__(self, flags: Mapping[str, Flag], metadata: Mapping[str, str | int], *, tells_rules: bool) -> None:
        self._flags = flags
        self._metadata = metadata
        self._tells_rules = tells_rules
        # By identity, with what is so identified: an outcome is one object for as long as its flag is not changed.
        self.written: Final[dict[int, tuple[Outcome, bytes]]] = {}
        """Answers that have been written already, by the identity of the outcome, for who is in a hurry."""

    def of(self, key: str, outcome: Outcome) -> bytes:
        """An answer of a flag."""
        known = self.written.get(id(outcome))
        if known is None:
            known = self.written[id(outcome)] = outcome, self._write(key, outcome)
        return known[1]

    def _write(self, key: str, outcome: Outcome) -> bytes:
        answer: dict[str, Any] = {"key": key}
        if outcome.value is not None:  # without a value the application's own default is meant
            answer["value"] = as_its_author_writes(outcome.value, self._flags[key])
        answer |= {"reason": _REASONS[outcome.reason], "variant": outcome.variant}
        metadata = dict(self._metadata)
        if self._tells_rules:
            if outcome.rule:
                metadata["rule"] = outcome.rule
            if outcome.reason.value != answer["reason"]:
                metadata["fader.reason"] = outcome.reason.value
        if metadata:
            answer["metadata"] = metadata
        return msgspec.json.encode(answer)


def as_its_author_writes(value: Any, flag: Flag) -> Any:
    """A value whose kind of number is that of the whole flag: if one of its variants is written with a fraction, all
    are. Some providers tell 1 from 1.0, and refuse the one where the application asks for the other."""
    if flag.type != "number" or isinstance(value, float):
        return value
    return float(value) if any(isinstance(variant.value, float) for variant in flag.variants) else value


def failure(details: EvaluationDetails[Any]) -> bytes:
    """A flag that has no answer, among others that have."""
    return msgspec.json.encode(
        {"key": details.key, "errorCode": "GENERAL", "errorDetails": f"{details.error_message or 'no answer'}."}
    )
