"""What Unleash's SDKs count, as usage."""

from typing import Any

import pytest

from fader.model import Flag, Variant
from fader_server.api.unleash.counting import Counted, usage_of

COLOURS = tuple(Variant(name=name) for name in ("red", "blue", "grey"))
FLAGS = {
    "plain": Flag(key="plain"),
    "colour": Flag(key="colour", type="string", variants=COLOURS, off_variant="grey"),
}


@pytest.mark.parametrize(
    ("counted", "served"),
    [
        (Counted("plain", yes=3, no=2), {"on": 3, "off": 2}),
        (Counted("plain", yes=3), {"on": 3}),
        # Whose variant was asked for, and who had none to give.
        (Counted("plain", yes=3, no=2, variants={"disabled": 5}), {"on": 3, "off": 2}),
        (
            Counted("colour", yes=5, no=1, variants={"red": 3, "blue": 2, "disabled": 1}),
            {"red": 3, "blue": 2, "grey": 1},
        ),
        # Of seven, three only asked whether it is on.
        (Counted("colour", yes=7, variants={"red": 4}), {"red": 4, "on": 3}),
        # SDKs that count a variant and nothing else.
        (Counted("colour", variants={"red": 4}), {"red": 4}),
    ],
)
def test_each_answer_counts_once(counted: Counted, served: dict[str, int]) -> None:
    assert usage_of([counted], FLAGS).flags == {counted.feature_name: served}


def test_several_add_up_and_flags_that_there_are_not_count_as_unknown() -> None:
    usage = usage_of([Counted("plain", 1, 1), Counted("gone", 2, 3), Counted("plain", 4, 0), Counted("gone", 1)], FLAGS)

    assert usage.flags == {"plain": {"on": 5, "off": 1}}
    assert usage.unknown == {"gone": 6}


@pytest.mark.parametrize("odd", [-1, True, "3", None, [], 2**60, float("nan"), float("inf"), 0])
def test_what_is_odd_counts_as_nothing_and_the_rest_counts(odd: Any) -> None:
    usage = usage_of([Counted("colour", odd, 2, {"red": odd, "blue": 1}), Counted("plain", 1, odd, odd)], FLAGS)

    assert usage.flags == {"colour": {"blue": 1, "grey": 2}, "plain": {"on": 1}}


def test_a_flag_with_nothing_to_count_is_left_out() -> None:
    usage = usage_of([Counted("plain"), Counted("gone"), Counted("x" * 600, 1)], FLAGS)

    assert (usage.flags, usage.unknown) == ({}, {})
