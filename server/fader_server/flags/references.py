"""The graph of prerequisites: who waits for whom, never in a circle, and not too deep."""

from collections.abc import Iterable, Mapping

Graph = Mapping[str, Iterable[str]]
"""From a flag to its prerequisites."""


def cycle(graph: Graph, flag: str) -> list[str] | None:
    """A way from a flag back to itself, if there is one: ``["a", "b", "a"]``."""
    came_from: dict[str, str] = {}
    waiting = [flag]
    while waiting:
        current = waiting.pop()
        for needed in graph.get(current, ()):
            if needed == flag:
                way = [flag, current]
                while way[-1] != flag:
                    way.append(came_from[way[-1]])
                return way[::-1] if current != flag else [flag, flag]
            if needed not in came_from:
                came_from[needed] = current
                waiting.append(needed)
    return None


def longest_chain(graph: Graph, flag: str, enough: int) -> int:
    """How many flags the longest chain through this one has; counted no further than is enough to refuse
    it."""
    reverse: dict[str, list[str]] = {}
    for dependent, needed in graph.items():
        for one in needed:
            reverse.setdefault(one, []).append(dependent)
    return _depth(graph, flag, enough) + _depth(reverse, flag, enough) - 1


def _depth(graph: Graph, flag: str, enough: int) -> int:
    depth, level = 0, {flag}
    # Level by level rather than recursively: nothing that is stored may exhaust the stack.
    while level and depth <= enough:
        depth += 1
        level = {needed for current in level for needed in graph.get(current, ())}
    return depth
