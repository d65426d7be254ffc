"""Regular expressions that all of Unleash's SDKs read as we do.

They bring three engines (Rust's ``regex``, re2js, Go's ``regexp``), which differ from RE2 and from each other: in
some, ``\\d`` means the digits of every script. So an expression is taken apart here; what means one thing everywhere
passes, the short classes are written out, and anything else makes it one that is not sent.
"""

import re
from typing import Final

from msgspec import Struct

_CLASSES: Final = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
"""What the short classes stand for in RE2: ASCII only."""

_MOST_REPEATED: Final = 100
"""A counted repetition is compiled as so many copies; there must not be more than any engine has room for."""

_OUTSIDE: Final = re.compile(
    r"""(?P<short>\\[dDwWsS])
      | (?P<boundary>\\b)
      | (?P<escaped>\\[-!"\#%&'(),/:;=@_`~\[\]{}.^$|?*+\\])
      | (?P<plain>\\[nrtfva]|\\x[0-9A-Fa-f]{2}|\\x\{[0-9A-Fa-f]{1,6}\}|\\[Az]|[.^$|)]
          |\((?:\?(?:P<[A-Za-z_][0-9A-Za-z_]*>|[imsU]*(?:-[imsU]+)?:|[imsU]+(?:-[imsU]+)?\)|-[imsU]+\)))?)
      | (?P<property>\\[pP](?:[A-Z]|\{[A-Za-z_]+\}))
      | (?P<repeated>\{(?P<least>[0-9]{1,4})(?:,(?P<most>[0-9]{1,4})?)?\}|[*+?])
      | (?P<class>\[(?!\^?\])(?:\\.|\[:\^?[a-z]+:\]|[^\\\[\]])*\])
      | (?P<literal>[^\\\[\]{}()|*+?.^$])""",
    re.VERBOSE | re.DOTALL,
)
_INSIDE: Final = re.compile(
    r"""(?P<short>\\[dws])(?!-)
      | (?P<escaped>\\[-!"\#%&'(),/:;=@_`~\[\]{}.^$|?*+\\])
      | (?P<plain>\\[nrtfva]|\\x[0-9A-Fa-f]{2}|\\x\{[0-9A-Fa-f]{1,6}\}|\[:\^?[a-z]+:\])
      | (?P<property>\\[pP](?:[A-Z]|\{[A-Za-z_]+\}))
      | (?P<literal>[^\\\[\]])""",
    re.VERBOSE | re.DOTALL,
)
_WORD: Final = re.compile(r"[0-9A-JL-RT-Za-jl-rt-z_]|\\[dw]")
"""What is part of a word to all engines, and of nothing but ASCII also where case is ignored (K and S are not: the
Kelvin sign is a K, and the long s an S)."""

_SET_OPERATIONS: Final = ("&&", "--", "~~")
_MEANINGFUL: Final = frozenset(r"\.+*?()|[]{}^$-&~")


class PortablePattern(Struct, frozen=True):
    """An expression, and whether it matches everywhere what it matches here, or less."""

    text: str
    is_exact: bool = True


def portable_pattern(pattern: str) -> PortablePattern | None:
    """An expression that matches the same texts everywhere, or fewer, or ``None`` where there is none that we could
    tell.

    Args:
        pattern: Of RE2, which takes it.

    >>> portable_pattern(r"^v\\d+$")
    PortablePattern(text='^v[0-9]+$', is_exact=True)
    >>> portable_pattern(r"\\bcat")
    PortablePattern(text='\\\\bcat', is_exact=False)
    """
    tokens = _tokens(pattern)
    if tokens is None:
        return None
    parts = [_portable(token, before) for before, token in zip([None, *tokens], tokens, strict=False)]
    if None in parts:
        return None
    kinds = {token.lastgroup for token in tokens}
    has_property = "property" in kinds or any(r"\p" in token["class"].lower() for token in tokens if token["class"])
    if has_property and any(token["least"] for token in tokens):
        return None  # the classes of Unicode are large, and there would be too many copies of one
    return PortablePattern("".join(part for part in parts if part is not None), is_exact="boundary" not in kinds)


def _tokens(pattern: str) -> list[re.Match[str]] | None:
    tokens = list(_OUTSIDE.finditer(pattern))
    return tokens if sum(len(token.group()) for token in tokens) == len(pattern) else None


def _portable(token: re.Match[str], before: re.Match[str] | None) -> str | None:
    """What a part of an expression is to be written as; ``None`` if there is nothing that means it everywhere."""
    text = token.group()
    match token.lastgroup:
        case "short":
            return f"[{'^' if text[1].isupper() else ''}{_CLASSES[text[1].lower()]}]"
        case "boundary":
            # Beside a letter of ASCII it is one where there is no letter on its other side. Some engines know more
            # letters than RE2 does, and so find fewer.
            follows_word = before is not None and _WORD.fullmatch(before.group())
            return text if follows_word or _WORD.match(token.string, token.end()) else None
        case "escaped":
            return _escaped(text[1])
        case "class":
            return _portable_class(text[1:-1])
        case "repeated" if before is not None and before.group().startswith("(?") and before.group().endswith(")"):
            return None  # of "(?i)", of which RE2 makes nothing, and others a mistake
        case "repeated" if max(int(token["least"] or 0), int(token["most"] or 0)) > _MOST_REPEATED:
            return None
    return text


def _portable_class(text: str) -> str | None:
    inner = _inside_class(text)
    return None if inner is None else f"[{inner}]"


def _inside_class(text: str) -> str | None:
    negation, text = ("^", text[1:]) if text.startswith("^") else ("", text)
    if any(operation in text for operation in _SET_OPERATIONS):
        return None
    parts: list[str] = []
    position = 0
    while position < len(text):
        token = _INSIDE.match(text, position)
        if token is None:
            return None
        if token.lastgroup == "short":
            if text[max(position - 1, 0) : position] == "-":
                return None
            parts.append(_CLASSES[token.group()[1]])
        elif token.lastgroup == "escaped":
            parts.append(_escaped(token.group()[1]))
        else:
            parts.append(token.group())
        position = token.end()
    return negation + "".join(parts)


def _escaped(character: str) -> str:
    # Not every engine lets characters be escaped that mean nothing by themselves.
    return f"\\{character}" if character in _MEANINGFUL else character
