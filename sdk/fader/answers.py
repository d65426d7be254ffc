"""The answer to any question whatsoever, with its reason: also to those that have none but the caller's default."""

import re
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from fader.counters import OTHER_UNKNOWN, UsageCounters
from fader.evaluation import ErrorCode, EvaluationDetails, Reason
from fader.overrides import NOTHING
from fader.snapshot import FlagSet

_KEY: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_LONGEST_SHOWN: Final = 100


class Answer(NamedTuple):
    """An answer, and what is worth saying about it once."""

    details: EvaluationDetails[Any]
    cause: str = ""
    """Tells one complaint from another; empty where there is none."""


def answer(flags: FlagSet, key: Any, context: Any, default: Any) -> Answer:
    """Evaluate a flag in full, and count it.

    Args:
        flags: What to evaluate with.
        key: The flag's key, or whatever came instead.
        context: Whom for, or whatever came instead.
        default: The value where there is none of a fitting type.

    Raises:
        Exception: whatever a broken object raises when it is looked at.
    """
    if not isinstance(key, str):
        kind = type(key).__name__
        return Answer(_error(flags, f"<{kind}>", default, ErrorCode.GENERAL, f"a flag's key is text, not {kind}"), kind)
    if key not in flags.snapshot.flags:
        if flags.snapshot is NOTHING:
            return Answer(_error(flags, key, default, ErrorCode.PROVIDER_NOT_READY, "no flags have come yet"))
        _count_unknown(flags.counters, key)
        where = flags.snapshot.environment
        message = f"there is no flag {key[:_LONGEST_SHOWN]!r}" + (f" in {where}" if where else "")
        return Answer(_error(flags, key, default, ErrorCode.FLAG_NOT_FOUND, message), f"unknown {key}")
    try:
        details = flags.details(key, context, default)
    except TypeError as error:
        message = str(error)
        return Answer(_error(flags, key, default, ErrorCode.INVALID_CONTEXT, message), f"context {type(context)}")
    if not fits(details.value, default):
        message = (
            f"flag {key!r} gives {type(details.value).__name__}, but the default is {type(default).__name__}; "
            "the default is used"
        )
        mismatch = _error(flags, key, default, ErrorCode.TYPE_MISMATCH, message)
        return Answer(replace(mismatch, enabled=details.enabled), f"type {key}")
    return Answer(details)


def broken(flags: FlagSet, key: Any, default: Any, error: Exception) -> Answer:
    """The answer where looking at the key or the context raised ``error``."""
    kind = type(error).__name__
    shown = key if type(key) is str else f"<{type(key).__name__}>"
    details = _error(flags, shown, default, ErrorCode.GENERAL, f"evaluating raised {kind}; the default is used")
    return Answer(details, f"raised {kind}")


def fits(value: Any, default: Any) -> bool:
    """Whether a value is of the type that the default asks for.

    >>> fits(1, 2.5), fits(1.5, 2), fits(True, 1), fits("x", None)
    (True, False, False, True)
    """
    if default is None or value is default:
        return True
    wanted = type(default)
    if type(value) is wanted:
        return True
    if isinstance(value, bool) or isinstance(default, bool):
        return False
    if isinstance(default, float):
        return isinstance(value, int)
    return isinstance(value, wanted)


def _error(flags: FlagSet, key: str, default: Any, code: ErrorCode, message: str) -> EvaluationDetails[Any]:
    return EvaluationDetails(
        key=key,
        value=default,
        reason=Reason.ERROR,
        revision=flags.snapshot.revision,
        error_code=code,
        error_message=message,
    )


def _count_unknown(counters: UsageCounters, key: str) -> None:
    # What cannot be a key is not sent anywhere: it may be anything, somebody's mail address for one.
    counters.of_unknown(key if _KEY.fullmatch(key) else OTHER_UNKNOWN)[0] += 1
