"""Contexts, and the one text that each value has."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.context import NO_ATTRIBUTES, Context, EvaluationContext, canonical_text, hashable_text, parts

UUID_TEXT = "0b0f6a3c-6f1b-4c0e-9c58-7f4a5d3f2e11"


class Plan(StrEnum):
    PRO = "pro"


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("hostile object")

    __repr__ = __str__

    def __eq__(self, _: object) -> bool:
        raise RuntimeError("hostile object")

    __hash__ = None  # type: ignore[assignment]


def test_a_context_is_what_was_said() -> None:
    context = Context("user-42", country="DE", plan="pro")

    assert isinstance(context, EvaluationContext)
    assert (context.targeting_key, context.attributes) == ("user-42", {"country": "DE", "plan": "pro"})


def test_any_name_may_be_an_attributes() -> None:
    assert Context("user-42", targeting_key="other", self=1, attributes=2).targeting_key == "user-42"


@pytest.mark.parametrize(
    ("context", "shown"),
    [
        (Context(), "Context()"),
        (Context("user-42"), "Context('user-42')"),
        (Context(42, country="DE", beta=True), "Context(42, country='DE', beta=True)"),
        (Context(None, country="DE"), "Context(country='DE')"),
    ],
)
def test_a_context_shows_how_it_is_made(context: EvaluationContext, shown: str) -> None:
    assert repr(context) == shown
    assert eval(shown) == context


def test_contexts_are_equal_when_all_they_say_is() -> None:
    assert Context("a", x=1) == Context("a", x=1)
    assert Context("a", x=1) != Context("a", x=2)
    assert Context("a", x=1) != Context("b", x=1)


def test_a_context_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Context("a").targeting_key = "b"  # type: ignore[misc]


def test_contexts_can_be_written_into_annotations() -> None:
    def greet(user: EvaluationContext | None) -> bool:
        return isinstance(user, EvaluationContext)

    assert greet(Context("user-42"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("", ""),
        (Plan.PRO, "pro"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-7, "-7"),
        (10**30, "1" + "0" * 30),
        (3.0, "3"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e21, "1" + "0" * 21),
        (1e-7, "0.0000001"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+2"), "100"),
        (UUID(UUID_TEXT), UUID_TEXT),
        (datetime(2026, 11, 23, 10, tzinfo=UTC), "2026-11-23T10:00:00+00:00"),
    ],
)
def test_every_scalar_has_one_text(value: Any, text: str) -> None:
    assert canonical_text(value) == text


@pytest.mark.parametrize(
    "value", [None, float("nan"), float("inf"), Decimal("NaN"), Decimal("Infinity"), [], {}, object(), b"bytes"]
)
def test_what_is_no_scalar_has_no_text(value: Any) -> None:
    assert canonical_text(value) is None


@given(st.integers(-(10**15), 10**15))
def test_a_number_has_the_same_text_as_integer_and_as_float(number: int) -> None:
    assert canonical_text(float(number)) == canonical_text(number) == str(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_float_is_its_shortest_and_reads_back(number: float) -> None:
    text = canonical_text(number)

    assert text is not None
    assert float(text) == number
    assert "e" not in text


@pytest.mark.parametrize(
    ("value", "text"), [("é", "é"), (12, "12"), (None, None), (json.loads(r'"\ud800"'), None), (Hostile(), None)]
)
def test_only_what_has_utf8_is_hashed(value: Any, text: str | None) -> None:
    assert hashable_text(value) == text


def test_a_number_too_long_to_be_written_is_not_hashed() -> None:
    assert hashable_text(10**10_000) is None


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("user-42", "user-42"),
        (Plan.PRO, "pro"),
        (42, "42"),
        (UUID(UUID_TEXT), UUID_TEXT),
        (None, ""),
        ("", ""),
    ],
)
def test_a_bare_user_id_is_a_context_with_nothing_else(given: Any, key: str) -> None:
    assert parts(given) == (key, NO_ATTRIBUTES)
    assert parts(Context(given, country="DE")) == (key, {"country": "DE"})


@pytest.mark.parametrize("given", [[], {"targeting_key": "user-42"}, object(), float("nan"), b"user-42"])
def test_what_is_no_context_is_refused_with_how_to_make_one(given: Any) -> None:
    with pytest.raises(TypeError, match=r'write Context\("user-42", country="DE"\)'):
        parts(given)


@pytest.mark.parametrize("key", [[], object(), float("nan")])
def test_a_targeting_key_that_is_no_scalar_is_missing(key: Any) -> None:
    assert parts(Context(key))[0] == ""
