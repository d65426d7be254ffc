"""Which of the features an SDK asks for: by the beginnings of their names, or by tags."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from msgspec import Struct

_SIMPLE = "simple"
"""What Unleash calls the type of a tag that has none."""


class Selection(Struct, frozen=True):
    """Names begin with ``name_prefix``, and with ``tags`` each has one of these. (A project may be named as well, and
    is not looked at: what a key may see decides the key.)"""

    name_prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, query: bytes) -> "Selection":
        """What a request asks for."""
        if not query:
            return ALL
        asked = parse_qs(query.decode("latin-1"))
        tags = (tag.partition(":") for tag in asked.get("tag", ()))
        return cls(asked.get("namePrefix", [""])[-1], tuple((kind, value) for kind, _, value in tags))

    def names(self, tags: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        """Which flags these are, of all that there are with their tags. A tag of ours is a text: ``team:payments`` has
        Unleash's type ``team``, and one without a colon is of its type ``simple``."""
        wanted = {f"{kind}:{value}" for kind, value in self.tags}
        wanted |= {value for kind, value in self.tags if kind == _SIMPLE}
        return frozenset(
            name
            for name, own in tags.items()
            if name.startswith(self.name_prefix) and (not self.tags or not wanted.isdisjoint(own))
        )


ALL = Selection()
