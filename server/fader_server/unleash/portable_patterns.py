"""Regular expressions that all of Unleash's SDKs read as we do.

They bring three engines (Rust's ``regex``, re2js, Go's ``regexp``), which differ from RE2 and from each other: in
some, ``\\d`` means the digits of every script. So an expression is taken apart here; what means one thing everywhere
passes, the short classes are written out, and anything else makes it one that is not sent.
"""

import re
from typing import Final

_CLASSES: Final = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
"""What the short classes stand for in RE2: ASCII only."""

_MOST_REPEATED: Final = 100
"""A counted repetition is compiled as so many copies; there must not be more than any engine has room for."""

_OUTSIDE: Final = re.compile(
    r"""(?P<short>\\[dDwWsS])
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
_SET_OPERATIONS: Final = ("&&", "--", "~~")
_MEANINGFUL: Final = frozenset(r"\.+*?()|[]{}^$-&~")


def portable_pattern(pattern: str) -> str | None:
    """An expression that matches the same texts everywhere, or ``None`` where there is none that we could tell.

    Args:
        pattern: Of RE2, which takes it.

    >>> portable_pattern(r"^v\\d+$")
    '^v[0-9]+$'
    >>> portable_pattern(r"\\bword\\b") is None
    True
    """
    parts: list[str] = []
    position, has_property, is_counted = 0, False, False
    while position < len(pattern):
        token = _OUTSIDE.match(pattern, position)
        if token is None:
            return None
        position = token.end()
        text = token.group()
        match token.lastgroup:
            case "short":
                parts.append(f"[{'^' if text[1].isupper() else ''}{_CLASSES[text[1].lower()]}]")
            case "escaped":
                parts.append(_escaped(text[1]))
            case "class":
                inner = _inside_class(text[1:-1])
                if inner is None:
                    return None
                parts.append(f"[{inner}]")
                has_property |= r"\p" in text.lower()
            case "repeated":
                if max(int(token["least"] or 0), int(token["most"] or 0)) > _MOST_REPEATED:
                    return None
                is_counted |= text[0] == "{"
                parts.append(text)
            case kind:
                has_property |= kind == "property"
                parts.append(text)
    if has_property and is_counted:
        return None  # the classes of Unicode are large, and there would be too many copies of one
    return "".join(parts)


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
