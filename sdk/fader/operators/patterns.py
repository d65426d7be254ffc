"""The operator ``matches``: regular expressions of RE2, whose time is linear in the text whatever the pattern is."""

from collections.abc import Sequence
from typing import Any, Final

from fader.operators.operator import Operator, Test, UnavailableError


def _library() -> Any:
    try:
        import re2  # an extra of the SDK, so imported when a rule asks for it
    except ImportError:
        raise UnavailableError(
            "`matches` needs google-re2, which is not installed (pip install 'fader[regex]')"
        ) from None
    return re2


def _compiled(pattern: str, case_insensitive: bool) -> Any:
    re2 = _library()
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not case_insensitive
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it does not compile"
        if isinstance(reason, bytes):
            reason = reason.decode("utf-8", "replace")
        raise ValueError(f"{pattern!r} is not a regular expression of RE2: {reason}") from None
    except UnicodeEncodeError:
        raise ValueError("the regular expression is not valid Unicode") from None


def _pattern(text: str) -> str:
    _compiled(text, case_insensitive=False)
    return text


def _matches(patterns: Sequence[str], case_insensitive: bool) -> Test:
    searches = tuple(_compiled(pattern, case_insensitive).search for pattern in patterns)

    def test(text: Any) -> bool:
        try:
            return any(search(text) is not None for search in searches)
        except UnicodeError:  # half a surrogate pair has no UTF-8
            return False

    return test


OPERATORS: Final = (
    Operator(
        name="matches",
        meaning="matches one of the regular expressions anywhere (RE2 syntax)",
        parse=_pattern,
        build=_matches,
        folds_case=True,
        takes_text=True,
    ),
)
