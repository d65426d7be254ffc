"""The graph of prerequisites."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader_server.flags.references import cycle, longest_chain

FLAGS = "abcdef"
graphs = st.dictionaries(st.sampled_from(FLAGS), st.lists(st.sampled_from(FLAGS), unique=True, max_size=3))


@pytest.mark.parametrize(
    ("graph", "way"),
    [
        ({}, None),
        ({"a": ["b"], "b": ["c"]}, None),
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b"], "b": ["a"]}, ["a", "b", "a"]),
        ({"a": ["b", "c"], "c": ["d"], "d": ["a"]}, ["a", "c", "d", "a"]),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, None),  # somebody else's circle
    ],
)
def test_a_circle_is_named_by_its_way(graph: Mapping[str, list[str]], way: list[str] | None) -> None:
    assert cycle(graph, "a") == way


@given(graphs)
def test_a_way_is_one(graph: dict[str, list[str]]) -> None:
    way = cycle(graph, "a")
    if way is None:
        reached, waiting = set(), list(graph.get("a", ()))
        while waiting:
            if (current := waiting.pop()) not in reached:
                reached.add(current)
                waiting += graph.get(current, ())
        assert "a" not in reached
    else:
        assert way[0] == way[-1] == "a"
        assert all(after in graph[before] for before, after in pairwise(way))


@pytest.mark.parametrize(
    ("graph", "length"),
    [
        ({}, 1),
        ({"a": ["b"], "b": ["c"]}, 3),
        ({"x": ["a"], "a": ["b", "c"], "c": ["d"], "y": ["b"]}, 4),
    ],
)
def test_a_chain_is_counted_in_both_directions(graph: Mapping[str, list[str]], length: int) -> None:
    assert longest_chain(graph, "a", 20) == length


def test_counting_ends_even_in_a_circle() -> None:
    assert longest_chain({"a": ["b"], "b": ["a"]}, "a", 20) > 20
