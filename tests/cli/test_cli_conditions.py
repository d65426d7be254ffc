"""The language of conditions: what it reads, what it refuses and where, and that it reads what it writes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.model import Constraint
from fader_cli.conditions import ConditionError, format_condition, parse_condition


def constraint(attribute: str, operator: str, *values: str, inverted: bool = False, loose: bool = False) -> Constraint:
    return Constraint(attribute=attribute, operator=operator, values=values, inverted=inverted, case_insensitive=loose)


@pytest.mark.parametrize(
    ("condition", "meaning"),
    [
        ("country in DE,AT,CH", constraint("country", "in", "DE", "AT", "CH")),
        ("country in DE, AT , CH", constraint("country", "in", "DE", "AT", "CH")),
        ("  country   in\tDE ", constraint("country", "in", "DE")),
        ("plan is free", constraint("plan", "in", "free")),
        ("not plan is free", constraint("plan", "in", "free", inverted=True)),
        ("plan is_not free", constraint("plan", "in", "free", inverted=True)),
        ("not plan is_not free", constraint("plan", "in", "free")),
        ("plan not_in free", constraint("plan", "not_in", "free")),
        ("age >= 18", constraint("age", ">=", "18")),
        ("age == 18", constraint("age", "=", "18")),
        ("age != 18", constraint("age", "=", "18", inverted=True)),
        ("app_version semver_ge 3.2.0", constraint("app_version", "semver_ge", "3.2.0")),
        ("app_version semver_>= 3.2.0-rc.1", constraint("app_version", "semver_ge", "3.2.0-rc.1")),
        ("beta exists", constraint("beta", "exists")),
        ("beta missing", constraint("beta", "exists", inverted=True)),
        ("not beta exists", constraint("beta", "exists", inverted=True)),
        (
            "remote_address in_cidr 10.0.0.0/8, fd00::/8",
            constraint("remote_address", "in_cidr", "10.0.0.0/8", "fd00::/8"),
        ),
        ("current_time after 2027-01-01T00:00:00Z", constraint("current_time", "after", "2027-01-01T00:00:00Z")),
        ('team in "red, white", blue', constraint("team", "in", "red, white", "blue")),
        (r'team in "say \"hi\" \\ bye"', constraint("team", "in", r'say "hi" \ bye')),
        ('"not" in x', constraint("not", "in", "x")),
        ('team in "not"', constraint("team", "in", "not")),
        ('team in ""', constraint("team", "in", "")),
        ("email ends_with @example.com ignoring case", constraint("email", "ends_with", "@example.com", loose=True)),
        ("path ~ ^/v[0-9]+$", constraint("path", "matches", "^/v[0-9]+$")),
        (r"path matches ^\d+$", constraint("path", "matches", r"^\d+$")),
        ("größe in groß", constraint("größe", "in", "groß")),
    ],
)
def test_is_read(condition: str, meaning: Constraint) -> None:
    assert parse_condition(condition) == meaning


@pytest.mark.parametrize(
    ("condition", "position", "mend"),
    [
        ("", 0, "an attribute, an operator and values"),
        ("country", 7, "an attribute, an operator and values"),
        ("not country", 11, "an attribute, an operator and values"),
        ("country im DE", 8, "not an operator"),
        ("country start_with D", 8, "did you mean starts_with?"),
        ("country in DE AT", 14, "put a comma between values"),
        ("country in DE,", 14, "a value is missing after the last comma"),
        ("country in ,DE", 11, "a value is missing before this comma"),
        ("country in DE,,AT", 14, "a value is missing before this comma"),
        ('country in "DE', 11, "never closed"),
        (", in DE", 0, "the attribute is missing"),
        ("beta exists yes", 12, "exists takes no values"),
        ("age >= old", 7, "not a number"),
        ("age >= 18, 21", 13, ""),
        ("age >=", 6, ""),
        ("version semver_ge 3", 18, ""),
        ("address in_cidr 10.0.0.0/33", 16, ""),
        ("at after tomorrow", 9, ""),
        ("name matches (", 13, ""),
    ],
)
def test_is_refused_where_it_goes_wrong(condition: str, position: int, mend: str) -> None:
    with pytest.raises(ConditionError) as refusal:
        parse_condition(condition)
    assert mend in refusal.value.message
    assert refusal.value.message
    drawing = str(refusal.value).split("\n")[1:]
    assert drawing == [f"  {condition}", f"  {' ' * position}^"]


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
numbers = st.one_of(st.integers(-1000, 1000), st.sampled_from([0.5, -2.25, 1e6])).map(str)
versions = st.tuples(*[st.integers(0, 99)] * 3).map(lambda parts: ".".join(map(str, parts)))
one_or_more = {"min_size": 1, "max_size": 4}
constraints = st.one_of(
    st.tuples(st.sampled_from(["in", "not_in"]), st.lists(texts, max_size=4)),
    st.tuples(st.sampled_from(["starts_with", "ends_with", "contains"]), st.lists(texts.filter(bool), **one_or_more)),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.lists(numbers, min_size=1, max_size=1)),
    st.tuples(st.just("="), st.lists(numbers, **one_or_more)),
    st.tuples(st.sampled_from(["semver_lt", "semver_ge"]), st.lists(versions, min_size=1, max_size=1)),
    st.tuples(st.just("in_cidr"), st.lists(st.ip_addresses().map(str), **one_or_more)),
    st.tuples(st.just("exists"), st.just([])),
)


@given(texts.filter(bool), constraints, st.booleans(), st.booleans())
def test_what_is_written_is_read_back(
    attribute: str, test: tuple[str, list[str]], inverted: bool, case_insensitive: bool
) -> None:
    operator, values = test
    written = Constraint(
        attribute=attribute,
        operator=operator,
        values=tuple(values),
        inverted=inverted,
        case_insensitive=case_insensitive,
    )
    assert parse_condition(format_condition(written)) == written


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(condition: str) -> None:
    with contextlib.suppress(ConditionError):
        parse_condition(condition)
