"""Collects everything that is wrong with a document, so that its author can mend it in one go."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable

from fader_server.errors import FieldError, Invalid

KEY_FORM = r"^[A-Za-z0-9._~-]{1,128}$"
"""Characters that need no escaping in a URL (RFC 3986, unreserved): some clients put keys into paths as they
are."""

_KEY = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_KEY_HINT = "Use 1 to 128 letters, digits and . _ ~ -"
_REPORTED = 100


class Findings:
    """What has been found so far. Paths look like ``rules[0].constraints[1].values[0]``."""

    def __init__(self) -> None:
        self._errors: list[FieldError] = []

    def add(self, field: str, detail: str, hint: str | None = None) -> None:
        """Report that this field is wrong. Of very many reports only the first are kept."""
        if len(self._errors) < _REPORTED:
            self._errors.append(FieldError(field, detail, hint))

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """All that is wrong, in the document's order."""
        return tuple(self._errors)

    def raise_if_any(self) -> None:
        """End here if anything is wrong.

        Raises:
            Invalid: with all of it.
        """
        if self._errors:
            raise Invalid.of(self._errors)

    def check_key(self, field: str, key: str) -> bool:
        """Whether this can be the key of something; reported if not."""
        if _KEY.fullmatch(key) and key not in (".", ".."):
            return True
        self.add(field, f"{shortened(key)} is not a key", _KEY_HINT)
        return False

    def check_text(self, field: str, text: str, limit: int, *, lines: bool = False, empty: bool = True) -> bool:
        """Whether a text has a bearable length and nothing unprintable in it; reported if not.

        Args:
            limit: in characters.
            lines: line breaks and tabs are fine.
            empty: so is nothing at all.
        """
        if not text and not empty:
            self.add(field, "is empty")
        elif len(text) > limit:
            self.add(field, f"has {len(text)} characters, and {limit} is the most")
        elif any(unicodedata.category(c) == "Cc" and not (lines and c in "\n\r\t") for c in text):
            self.add(field, "has control characters in it", "Leave them out.")
        else:
            return True
        return False

    def check_count(self, field: str, items: Collection[object], limit: int) -> bool:
        """Whether these are not too many; reported if they are."""
        if len(items) <= limit:
            return True
        self.add(field, f"has {len(items)} entries, and {limit} is the most")
        return False

    def check_distinct(self, field: str, items: Iterable[object]) -> None:
        """Report what is listed twice."""
        seen: set[object] = set()
        for position, item in enumerate(items):
            if item in seen:
                self.add(f"{field}[{position}]", f"{shortened(str(item))} is listed twice")
            seen.add(item)


def shortened(text: str) -> str:
    """A text of the user's, quoted, for use in a sentence."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")


def nearest(wanted: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names that somebody who wrote ``wanted`` is likely to have meant, best first."""
    return difflib.get_close_matches(wanted, list(known), n=count, cutoff=0.6)


def did_you_mean(wanted: str, known: Iterable[str]) -> str | None:
    """A hint with the nearest name, if any is near."""
    found = nearest(wanted, known, 1)
    return f"Did you mean {found[0]}?" if found else None
