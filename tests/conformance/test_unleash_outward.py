"""What we send to Unleash's SDKs, answered by the engine that most of them have inside.

Where a flag goes out without notes, the engine answers as we do; where it has some, it lets in nobody whom we do not
let in, and takes everything. ``ORACLE_EXAMPLES=20`` makes the random flags twenty times as many, and other ones each
time.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.unleash_cases import IS_ENABLED, Case, all_cases, translated
from conformance.unleash_engine import engine_with, is_on, unleash_context, variant_of
from fader.context import canonical_text
from fader.model import Constraint, Flag, Rule, Snapshot
from fader_server.unleash.dialects import Dialect
from fader_server.unleash.notes import Note
from fader_server.unleash.outward import OutwardState, outward
from flag_strategies import World, contexts, examples, worlds
from oracle import Oracle

INEXACT = {
    "R04.word_boundary_ascii": "`\\b` asks for words of every script in some of Unleash's SDKs, and of ASCII in others"
}
"""Flags of Unleash's cases that do not go out exactly as they came in, and why."""


def snapshot_of(world: World) -> Snapshot:
    return Snapshot(
        project="shop",
        environment="production",
        epoch="00000000",
        revision=1,
        flags=world.flags,
        segments={key: replace(found, id=number) for number, (key, found) in enumerate(world.segments.items(), 1)},
    )


def losses(notes: tuple[Note, ...]) -> list[Note]:
    return [note for note in notes if not note.is_remark]


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_every_case_of_unleashs_comes_back(case: Case) -> None:
    assert comes_back(case) == case.expected


def test_all_flags_of_unleashs_cases_but_these_come_back_exactly() -> None:
    files = sorted({case.file for case in all_cases()})
    assert {
        key for file in files for key, notes in there_and_back(file).notes.items() if losses(notes)
    } == INEXACT.keys()


@cache
def there_and_back(file: str) -> OutwardState:
    """A file of Unleash's cases in our terms, and from there in Unleash's again."""
    translation = translated(file)
    return outward(
        Snapshot(
            project="default",
            environment="production",
            epoch="00000000",
            revision=1,
            flags={key: found.flag for key, found in translation.flags.items()},
            segments={key: found.segment for key, found in translation.segments.items()},
        )
    )


engine_of = cache(lambda file: engine_with(there_and_back(file)))


def comes_back(case: Case) -> Any:
    engine = engine_of(case.file)
    if case.question == IS_ENABLED:
        return is_on(engine, case.flag, case.context)
    return variant_of(engine, case.flag, case.context)


def texts_of(context: dict[str, Any]) -> dict[str, str]:
    """A context as both kinds of SDKs can have it: texts only, no empty targeting key, and an environment, which
    Unleash's name themselves."""
    texts = {name: text for name, value in context.items() if (text := canonical_text(value)) is not None}
    if not texts.get("targeting_key"):
        texts.pop("targeting_key", None)
    return {"environment": "production"} | texts


def expressible(world: World) -> World:
    """The same flags with whole percentages, with splits by what their rollouts go by, and without shares of off."""
    return World(
        {
            key: replace(flag, rules=tuple(_expressible(rule, flag) for rule in flag.rules))
            for key, flag in world.flags.items()
        },
        world.segments,
        world.members,
    )


def _expressible(rule: Rule, flag: Flag) -> Rule:
    rollout = replace(rule.rollout, percentage=float(math.floor(rule.rollout.percentage)))
    split = rule.split
    if split is not None:
        shares = tuple(each for each in split.variants if each.variant != flag.off_variant)
        split = replace(split, variants=shares, by=rollout.by, salt=rollout.salt) if shares else None
    first = flag.variants[0].name if flag.variants else "on"
    if split is None and (rule.variant or first) == flag.off_variant:
        rollout = replace(rollout, percentage=100.0, by="default")
    return replace(rule, rollout=rollout, split=split)


@dataclass(frozen=True)
class Asked:
    """The engine's answers and ours for one flag and one context."""

    flag: Flag
    is_on: bool
    variant: dict[str, Any]
    outcomes: frozenset[tuple[bool, str | None]]

    def agrees(self) -> bool:
        """Whether the answer is one that we give, too. Where it is drawn by lot, the engine draws again for the
        variant, and may find none."""
        if not any(self.is_on is enabled for enabled, _ in self.outcomes):
            return False
        given = self.variant["name"] if self.variant["enabled"] else None
        if self.flag.type == "boolean":
            return given is None
        if given is None:
            return not self.is_on or len(self.outcomes) > 1
        return (True, given) in self.outcomes

    def lets_in_too_many(self) -> bool:
        return self.is_on and not any(enabled for enabled, _ in self.outcomes)


def ask(world: World, state: OutwardState, some_contexts: list[dict[str, Any]], dialect: Dialect) -> list[Asked]:
    engine = engine_with(state, dialect)
    oracle = Oracle(world.flags, state.snapshot.segments, members=world.members, environment="production")
    return [
        Asked(
            flag,
            is_on(engine, key, unleash_context(context)),
            variant_of(engine, key, unleash_context(context)),
            frozenset((outcome.enabled, outcome.variant) for outcome in oracle.outcomes(key, context)),
        )
        for context in map(texts_of, some_contexts)
        for key, flag in world.flags.items()
    ]


def hold(world: World, some_contexts: list[dict[str, Any]], dialect: Dialect) -> None:
    state = outward(snapshot_of(world), world.members)
    for asked in ask(world, state, some_contexts, dialect):
        if losses(state.notes.get(asked.flag.key, ())):
            assert not asked.lets_in_too_many(), asked
        else:
            assert asked.agrees(), asked


dialects = st.sampled_from(Dialect)
some_contexts = st.lists(contexts(), min_size=1, max_size=4)


@examples(40)
@given(worlds(), some_contexts, dialects)
def test_the_engine_lets_in_nobody_whom_we_do_not(world: World, some: list[dict[str, Any]], dialect: Dialect) -> None:
    hold(world, some, dialect)


@examples(70)
@given(worlds().map(expressible), some_contexts, dialects)
def test_the_engine_answers_as_we_do(world: World, some: list[dict[str, Any]], dialect: Dialect) -> None:
    hold(world, some, dialect)


# fmt: off
PIECES = (
    "a", "b", "k", "S", "é", "\u017f", "\u212a", " ", "-", "/", r"\/", r"\.", ".", "^", "$", "|", "(", "(?:", "(?i)",
    "(?i:", ")", "*", "+", "?", "{2}", "{1,3}", "{2", "}", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B",
    "cat", r"\bcat", "[a-z]", "[^a-z]", r"[\d-]", r"[-\w]", r"[\w-z]", "[[:alpha:]]", "[[:^digit:]]", "[]a]", "[a&&b]",
    r"[\]a]", r"[\D]", r"\pL", r"\p{Greek}", r"\x41", r"\n", r"\A", r"\z", r"\Q.\E", r"\1", "(?=a)", "(?s).", r"\<",
    "]", "&&",
)
LETTERS = (
    "a", "A", "b", "k", "K", "S", "é", "\u017f", "\u212a", "ß", "٣", "3", "_", "-", "/", ".", " ", "\n", "\v", "λ",
    "cat", "]",
)
# fmt: on
patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
letters = st.lists(st.sampled_from(LETTERS), max_size=4).map("".join)


@examples(40)
@given(st.lists(patterns, min_size=8, max_size=8), st.lists(letters, min_size=6, max_size=6), st.booleans())
def test_the_engine_reads_patterns_as_we_do(some: list[str], texts: list[str], ignores_case: bool) -> None:
    for inverted in (False, True):
        asking = {f"flag-{number}": asks_for(pattern, inverted, ignores_case) for number, pattern in enumerate(some)}
        flags = {key: Flag(key=key, enabled=True, rules=(Rule(constraints=(asked,)),)) for key, asked in asking.items()}
        hold(World(flags, {}), [{"plan": text} for text in texts], Dialect.FULL)


def asks_for(pattern: str, inverted: bool, ignores_case: bool) -> Constraint:
    return Constraint(
        attribute="plan", operator="matches", values=(pattern,), inverted=inverted, case_insensitive=ignores_case
    )
