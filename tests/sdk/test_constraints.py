"""What each operator asks, and what it makes of values that it was not made for."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.constraints import Surroundings, compile_constraint, compile_segment
from fader.model import Constraint, Scalar, Segment
from fader.operators import EXISTS, OPERATORS
from fader.operators.versions import REMEMBERED, precedence

HERE = Surroundings(app="shop", environment="production")


def holds(operator: str, values: tuple[Scalar, ...], attributes: dict[str, Any], **how: bool) -> bool:
    constraint = Constraint(attribute="x", operator=operator, values=values, **how)
    return compile_constraint(constraint, HERE)("user-42", attributes)


TRUE = [
    ("in", ("DE", "AT"), "DE"),
    ("in", (1, True), "1"),
    ("in", ("true",), True),
    ("in", ("3",), 3.0),
    ("in", ("0.1",), 0.1),
    ("in", ("",), ""),
    ("not_in", ("DE",), "FR"),
    ("not_in", (), "FR"),
    ("starts_with", ("ab", "x"), "abc"),
    ("starts_with", ("",), "abc"),
    ("ends_with", ("@example.com", "@example.org"), "a@example.org"),
    ("contains", ("b",), "abc"),
    ("contains", ("4",), 142),
    ("matches", ("^a.c$",), "abc"),
    ("matches", ("b",), "abc"),
    ("matches", ("[[:alpha:]]+",), "1a"),
    ("=", (12,), "12.0"),
    ("=", ("1e2",), 100),
    ("=", (1, 2), 2.0),
    ("<", (5,), 4.9),
    ("<=", ("5",), 5),
    (">", (".5",), "0.6"),
    (">=", (-3,), "-3"),
    ("=", (9007199254740993,), 9007199254740993),
    ("before", ("2026-11-23T10:00:00Z",), "2026-11-23T10:59:59+01:00"),
    ("after", ("2026-11-23T10:00:00Z",), "2026-11-23T10:00:00.001Z"),
    ("after", ("2026-11-23t10:00:00z",), datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=1)))),
    ("after", ("2026-11-23T10:00:00Z",), datetime(2026, 11, 23, 10, 0, 1)),  # noqa: DTZ001 (without a zone it is UTC)
    ("semver_eq", ("1.2.3", "1.2.4"), "1.2.4"),
    ("semver_eq", ("1.2.3+linux",), "1.2.3+mac"),
    ("semver_gt", ("1.2.3",), "1.10.0"),
    ("semver_ge", ("3.2.0",), "3.2.0"),
    ("semver_lt", ("2.0.0",), "2.0.0-rc.1"),
    ("semver_le", ("2.0.0-rc.2",), "2.0.0-rc.2"),
    ("in_cidr", ("10.0.0.0/8",), "10.255.0.1"),
    ("in_cidr", ("10.1.2.3/8",), "10.9.9.9"),
    ("in_cidr", ("192.0.2.7",), "192.0.2.7"),
    ("in_cidr", ("10.0.0.0/8", "2001:db8::/32"), "2001:DB8:0::1"),
    ("in_cidr", ("10.0.0.0/8",), ip_address("10.0.0.1")),
    ("exists", (), ""),
    ("exists", (), False),
]
FALSE = [
    ("in", ("de",), "DE"),
    ("in", (), "DE"),
    ("in", ("True",), True),
    ("in", ("nan",), float("nan")),
    ("not_in", ("DE",), "DE"),
    ("starts_with", ("B",), "abc"),
    ("matches", ("B",), "abc"),
    ("matches", (r"(a)\1",), "aa"),
    ("=", (9007199254740993,), "9007199254740992"),
    ("=", (1,), True),
    *((operator, (0,), text) for operator in ("=", "<", "<=", ">", ">=") for text in ("NaN", "inf", "0x5", "1_0", "")),
    *(("<", (9,), text) for text in (" 5", "5 ", "٣", "5,0", "1e99999")),
    ("before", ("2026-11-23T10:00:00Z",), "2026-11-23T10:00:00Z"),
    *(("before", ("2199-01-01T00:00:00Z",), text) for text in ("2026-11-23", "20261123T100000Z", "2026-W48-1", "now")),
    ("before", ("2199-01-01T00:00:00Z",), "2026-11-23T10:00:00"),
    ("before", ("2199-01-01T00:00:00Z",), 0),
    ("semver_ge", ("1.0.0",), "v2.0.0"),
    *(("semver_ge", ("1.0.0",), text) for text in ("2", "2.0", "2.0.0.0", "02.0.0", "2.0.0-01", "2.0.0-", " 2.0.0")),
    ("semver_ge", ("1.0.0",), 2.0),
    ("semver_ge", ("1.0.0",), "2.0.0-" + "a" * 1000),
    ("in_cidr", ("10.0.0.0/8",), "::ffff:10.1.2.3"),
    ("in_cidr", ("0.0.0.0/0",), "010.0.0.1"),
    ("in_cidr", ("0.0.0.0/0",), 167837953),
]


@pytest.mark.parametrize(("operator", "values", "value"), TRUE)
def test_a_constraint_that_holds_does_not_when_inverted(
    operator: str, values: tuple[Scalar, ...], value: object
) -> None:
    assert holds(operator, values, {"x": value})
    assert not holds(operator, values, {"x": value}, inverted=True)


@pytest.mark.parametrize(("operator", "values", "value"), FALSE)
def test_a_constraint_that_does_not_hold_does_when_inverted(
    operator: str, values: tuple[Scalar, ...], value: object
) -> None:
    assert not holds(operator, values, {"x": value})
    assert holds(operator, values, {"x": value}, inverted=True)


SOME_VALUE: dict[str, Scalar] = {
    **dict.fromkeys(OPERATORS, "10.0.0.0/8"),
    **dict.fromkeys(("=", "<", "<=", ">", ">="), 1),
    **dict.fromkeys(("before", "after"), "2026-11-23T10:00:00Z"),
    **{name: "1.2.3" for name in OPERATORS if name.startswith("semver")},
}


@pytest.mark.parametrize("operator", [*OPERATORS, EXISTS])
@pytest.mark.parametrize("attributes", [{}, {"x": None}])
def test_a_missing_attribute_is_false_before_inversion_but_for_not_in(
    operator: str, attributes: dict[str, Any]
) -> None:
    values = () if operator == EXISTS else (SOME_VALUE[operator],)

    assert holds(operator, values, attributes) is (operator == "not_in")
    assert holds(operator, values, attributes, inverted=True) is (operator != "not_in")


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("hostile object")

    def __eq__(self, _: object) -> bool:
        raise RuntimeError("hostile object")

    def __hash__(self) -> int:
        raise RuntimeError("hostile object")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    "make",
    [Hostile, object, dict, bytes, lambda: [Hostile()], lambda: [[]], lambda: "\ud800"],
)
def test_values_of_the_wrong_kind_are_false_whatever_they_do(operator: str, make: Callable[[], object]) -> None:
    assert holds(operator, (SOME_VALUE[operator],), {"x": make()}) is (operator == "not_in")


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_number_too_long_to_be_written_has_no_text_but_is_greater_than_others(operator: str) -> None:
    huge = {"x": 10**10_000}

    assert holds(operator, (SOME_VALUE[operator],), huge) is (operator in {"not_in", ">", ">="})


@pytest.mark.parametrize("inverted", [False, True])
def test_an_operator_of_tomorrow_lets_nobody_in(inverted: bool) -> None:
    assert not holds("newer_than_this_sdk", ("a",), {"x": "a"}, inverted=inverted)


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_a_list_holds_when_any_element_does(kind: type) -> None:
    groups = {"x": kind(["beta", "staff"])}

    assert holds("in", ("staff", "admin"), groups)
    assert not holds("in", ("admin",), groups)
    assert holds("in", ("admin",), groups, inverted=True)
    assert holds("not_in", ("admin",), groups)
    assert not holds("not_in", ("staff",), groups)
    assert holds("starts_with", ("st",), groups)
    assert holds("exists", (), {"x": kind()})
    assert not holds("in", ("staff",), {"x": kind()})


@pytest.mark.parametrize("operator", OPERATORS)
def test_only_operators_on_parts_of_texts_can_ignore_case(operator: str) -> None:
    folding = {"starts_with", "ends_with", "contains", "matches"}

    assert OPERATORS[operator].folds_case is (operator in folding)
    if operator in folding:
        assert holds(operator, ("ÄB",), {"x": "äb"}, case_insensitive=True)
        assert not holds(operator, ("ÄB",), {"x": "äb"})


def test_case_is_ignored_by_lower_case_and_not_by_folding() -> None:
    assert not holds("contains", ("SS",), {"x": "ß"}, case_insensitive=True)
    assert not holds("in", ("a",), {"x": "A"}, case_insensitive=True)


# Values of rules


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        ("in", ()),
        ("not_in", ()),
        ("starts_with", ("",)),
        ("matches", ("^a", "b$")),
        ("=", (1, "2.5", 1e6)),
        ("<", ("-2.5",)),
        ("before", ("2026-11-23T10:00:00.5+01:00",)),
        ("semver_eq", ("1.0.0-rc.1+b", "2.0.0")),
        ("semver_ge", ("3.2.0",)),
        ("in_cidr", ("10.0.0.1/8", "::1")),
    ],
)
def test_values_that_make_sense_are_taken(operator: str, values: tuple[Scalar, ...]) -> None:
    assert OPERATORS[operator].check(values) == []


@pytest.mark.parametrize(
    ("operator", "values", "position", "mend"),
    [
        ("starts_with", (), None, "starts_with needs at least one value"),
        ("<", (), None, "< needs a value"),
        ("<", (1, 2), None, "< compares with one value, and there are 2"),
        ("=", (1, "two"), 1, "write it like 18, -2.5 or 1e6"),
        ("=", (True,), 0, "write it like 18"),
        ("in", (float("nan"),), 0, "nan is not a value that can be compared with"),
        ("after", ("tomorrow",), 0, "write it like 2026-11-23T10:00:00Z"),
        ("after", ("2026-13-01T00:00:00Z",), 0, "write it like 2026-11-23T10:00:00Z"),
        ("semver_ge", ("v3.2.0",), 0, "without a leading v"),
        ("semver_ge", (3.2,), 0, "write it like 3.2.0"),
        ("in_cidr", ("10.0.0.0/8", "10.0.0.0/33"), 1, "write it like 10.0.0.0/8"),
        ("matches", ("(",), 0, "missing )"),
        ("matches", (r"(?=a)",), 0, "(?="),
        ("matches", ("\ud800",), 0, "not valid Unicode"),
    ],
)
def test_values_that_make_no_sense_are_named_with_their_mend(
    operator: str, values: tuple[Scalar, ...], position: int | None, mend: str
) -> None:
    (fault,) = OPERATORS[operator].check(values)

    assert fault[0] == position
    assert mend in fault[1]


@pytest.mark.parametrize("operator", OPERATORS)
@given(st.lists(st.text(max_size=8) | st.integers() | st.floats() | st.booleans(), max_size=3), st.text(max_size=8))
def test_what_is_checked_is_what_is_compiled(operator: str, values: list[Scalar], asked: str) -> None:
    """A value that is refused when it is written lets nobody in when it is met all the same."""
    faults = OPERATORS[operator].check(values)
    readable = [value for position, value in enumerate(values) if position not in {fault[0] for fault in faults}]
    test = OPERATORS[operator].compile(values, False)

    if any(position is None for position, _ in faults) or not readable:
        assert not test(asked)
    else:
        assert test(asked) is any(OPERATORS[operator].compile([value], False)(asked) for value in readable)


ORDERED = (
    "1.0.0-0 1.0.0-2 1.0.0-10 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-rc.1 1.0.0 1.0.1 1.1.0 2.0.0 10.0.0"
)


def test_versions_are_ordered_as_the_specification_says() -> None:
    versions = ORDERED.split()
    backwards = versions[::-1]

    assert sorted(backwards, key=lambda version: precedence(version) or ()) == versions


def test_versions_are_remembered_only_so_far() -> None:
    test: Any = OPERATORS["semver_ge"].compile(["1.0.0"], False)
    for number in range(3 * REMEMBERED):
        assert test(f"1.0.{number}")

    assert len(test.constant) <= REMEMBERED


PATTERN_WITHOUT_LIBRARY = """
import logging, sys
sys.modules["re2"] = None
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from fader.constraints import Surroundings, compile_constraint
from fader.model import Constraint
for inverted in (False, True, False):
    constraint = Constraint(attribute="x", operator="matches", values=("a",), inverted=inverted)
    print(compile_constraint(constraint, Surroundings())("user-42", {"x": "a"}))
"""


def test_without_its_library_matches_lets_nobody_in_and_says_so_once() -> None:
    ran = subprocess.run([sys.executable, "-c", PATTERN_WITHOUT_LIBRARY], capture_output=True, text=True, check=True)

    line, *answers = ran.stdout.splitlines()
    assert "pip install 'fader[regex]'" in line
    assert answers == ["False", "False", "False"]


def test_the_library_of_matches_is_imported_when_a_rule_asks_for_it() -> None:
    program = (
        "import sys; import fader.operators; print('re2' in sys.modules);"
        "fader.operators.OPERATORS['matches'].compile(['a'], False); print('re2' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["False", "True"]


# Well-known attributes


def asks(attribute: str, operator: str, *values: Scalar) -> Any:
    return compile_constraint(Constraint(attribute=attribute, operator=operator, values=values), HERE)


def test_the_targeting_key_is_an_attribute_and_missing_when_empty() -> None:
    assert asks("targeting_key", "ends_with", "42")("user-42", {"targeting_key": "other"})
    assert not asks("targeting_key", "exists")("", {"targeting_key": "other"})


@pytest.mark.parametrize(("attribute", "ours"), [("app", "shop"), ("environment", "production")])
def test_app_and_environment_are_this_process_own_unless_the_context_says_otherwise(attribute: str, ours: str) -> None:
    assert asks(attribute, "in", ours)("", {})
    assert asks(attribute, "in", ours)("", {attribute: None})
    assert not asks(attribute, "in", ours)("", {attribute: "other"})


def test_an_app_without_a_name_has_none() -> None:
    assert not compile_constraint(Constraint(attribute="app", operator="exists"), Surroundings())("", {})


def test_the_current_time_is_now_unless_the_context_says_otherwise() -> None:
    now = datetime.now(UTC)
    earlier, later = ((now + timedelta(minutes=minutes)).isoformat() for minutes in (-1, 1))

    assert asks("current_time", "after", earlier)("", {})
    assert asks("current_time", "before", later)("", {})
    assert not asks("current_time", "after", earlier)("", {"current_time": "2020-01-01T00:00:00Z"})
    assert not asks("current_time", "after", earlier)("", {"current_time": ""})


# Segments


DE = Constraint(attribute="country", operator="in", values=("DE",))
ADULT = Constraint(attribute="age", operator=">=", values=(18,))


@pytest.mark.parametrize(
    ("segment", "key", "attributes", "is_member"),
    [
        (Segment(key="s"), "user-1", {}, False),
        (Segment(key="s", targeting_keys=("user-1",)), "user-1", {}, True),
        (Segment(key="s", targeting_keys=("user-1",)), "user-2", {}, False),
        (Segment(key="s", targeting_keys=("",)), "", {}, False),
        (Segment(key="s", constraints=(DE, ADULT)), "user-1", {"country": "DE", "age": 18}, True),
        (Segment(key="s", constraints=(DE, ADULT)), "user-1", {"country": "DE", "age": 17}, False),
        (Segment(key="s", constraints=(DE,), targeting_keys=("user-1",)), "user-1", {"country": "FR"}, True),
        (Segment(key="s", constraints=(DE,), targeting_keys=("user-1",)), "user-2", {"country": "DE"}, True),
        (Segment(key="s", constraints=(DE,), targeting_keys=("user-1",)), "user-2", {"country": "FR"}, False),
    ],
)
def test_members_are_those_listed_and_those_for_whom_all_constraints_hold(
    segment: Segment, key: str, attributes: dict[str, Any], is_member: bool
) -> None:
    assert compile_segment(segment, HERE)(key, attributes) is is_member
