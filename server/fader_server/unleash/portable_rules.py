"""Our rules as strategies of Unleash's.

A rule decides and ends the evaluation; strategies are only tried until one lets the context in. For rules that serve
something that comes to the same. A rule that serves *off* becomes a condition of all that follow it: not to be whom it
means. Where Unleash's SDKs cannot be told exactly, they are told so that they let in fewer.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fader import model
from fader.bucketing import BUCKETS, thousandths
from fader.operators import EXISTS
from fader_server.unleash.clauses import (
    EVERYBODY,
    NOBODY,
    Clause,
    Clauses,
    SegmentTest,
    TooManyError,
    both,
    disjoint,
    either,
)
from fader_server.unleash.contexts import FIELDS
from fader_server.unleash.notes import Note, Notebook
from fader_server.unleash.portable import clauses_of, clauses_of_opposite, group_id, stickiness
from fader_server.unleash.portable_segments import Expressed, KeysOfLists, PortableSegment, others_than
from fader_server.unleash.portable_variants import Cast, Serving
from fader_server.unleash.wire import (
    LARGEST_WEIGHT_SUM,
    WireConstraint,
    WireParameters,
    WireStrategy,
    WireVariant,
)

MOST_STRATEGIES: Final = 400
"""Strategies of one flag. What comes after them lets nobody in."""

_FULL: Final = "100"
_DRAWN: Final = (model.BY_DEFAULT, model.BY_RANDOM)
_ADDRESS: Final = next(theirs for theirs, ours in FIELDS.items() if ours == model.REMOTE_ADDRESS)


class Segments(Struct, frozen=True):
    """The segments of an environment, as far as Unleash's SDKs can be told of them."""

    known: Mapping[str, PortableSegment]
    keys_of_lists: KeysOfLists


class Strategies(Struct, frozen=True):
    """What a flag's rules have become: strategies, in order, and the variants of the feature as a whole."""

    strategies: tuple[WireStrategy, ...]
    variants: tuple[WireVariant, ...] = ()


def strategies_of(flag: model.Flag, segments: Segments, notebook: Notebook) -> Strategies:
    """The strategies that stand for a flag's rules. Without any, nobody is let in.

    Args:
        flag: Ours.
        segments: Those that its rules may name.
        notebook: Takes what Unleash's SDKs will not see as it is, under the rules' paths.
    """
    # Variants of the feature are understood by older SDKs than those of strategies. But where the feature has variants,
    # a strategy without any gives one of these; so if one is to give none, the others name their own. The last way
    # gives a variant to who is to have none: better than nothing at all.
    best = _attempt(flag, segments, _Naming.FEATURES)
    if best.lacks != _NOTHING:
        best = min(best, _attempt(flag, segments, _Naming.STRATEGIES), key=lambda attempt: attempt.lacks)
    if not best.gives_none_to_all_who_get_none:
        best = _attempt(flag, segments, _Naming.ALWAYS)
    notebook.add(best.notes)
    return best.strategies


class _Attempt(Struct, frozen=True):
    """What a flag's rules become in one way of naming variants."""

    strategies: Strategies
    notes: tuple[Note, ...]
    gives_none_to_all_who_get_none: bool

    @property
    def lacks(self) -> tuple[bool, int]:
        """How bad it is: whether somebody gets a variant who is to have none, and how often fewer are let in."""
        return not self.gives_none_to_all_who_get_none, sum(not note.is_remark for note in self.notes)


_NOTHING: Final = (False, 0)


def _attempt(flag: model.Flag, segments: Segments, naming: "_Naming") -> _Attempt:
    notes = Notebook()
    translator = _Translator(flag, segments, notes, naming)
    found = translator.strategies()
    return _Attempt(found, notes.notes, not (found.variants and translator.gives_none))


class _Naming(Enum):
    """Where variants are named that either could name, the feature or a strategy."""

    FEATURES = auto()
    """By the feature: those of its first split that is salted as it is, or else those of its last rule."""
    STRATEGIES = auto()
    """By the strategy, wherever it can say how they are shared out; else by the feature."""
    ALWAYS = auto()
    """The same; and a strategy that would give no variant names the one that stands for it."""


class _Translator:
    """Goes through the rules of one flag, and remembers who is still undecided, and the variants of the feature."""

    def __init__(self, flag: model.Flag, segments: Segments, notebook: Notebook, naming: _Naming) -> None:
        self.gives_none = False
        self._naming = naming
        self._flag = flag
        self._segments = segments
        self._notebook = notebook
        self._cast = Cast.of(flag)
        self._undecided: Clauses = EVERYBODY
        self._shared: Serving | None = self._preferred() if naming is _Naming.FEATURES else None
        self._variants: tuple[WireVariant, ...] = ()

    def _preferred(self) -> Serving | None:
        """What the feature is to name, if anything."""
        servings = [serving for rule in self._flag.rules if (serving := self._cast.serving(rule)) is not None]
        named = [each for each in servings if not self._cast.may_be_off(each) and not self._cast.is_valueless(each)]
        own = ("", self._flag.key)
        splits = (each for each in named if each.split is not None and each.split.salt in own)
        return next(splits, None) or next((each for each in reversed(named) if each.split is None), None)

    def strategies(self) -> Strategies:
        if not self._flag.rules:
            rules: tuple[model.Rule, ...] = (model.Rule(),) if self._cast.first != self._cast.off else ()
        else:
            rules = self._flag.rules
        found: list[WireStrategy] = []
        for position, rule in enumerate(rules):
            serving = self._cast.serving(rule)
            place = self._notebook.at("rules").at(position)
            if serving is None or self._undecided == NOBODY:
                continue
            if self._cast.may_be_off(serving):
                self._exclude(rule, serving, place)
            else:
                found += self._admit(rule, serving, place)
            if len(found) > MOST_STRATEGIES:
                place.write("Unleash SDKs are not sent so many strategies: they let nobody in from here on.")
                found = found[:MOST_STRATEGIES]
                break
        # One that lets nobody in says nothing; and an SDK may fail over what it goes by, and leave out those after it.
        found = [strategy for strategy in found if strategy.parameters.rollout != "0"] or found[:1]
        return Strategies(tuple(found), self._variants)

    def _exclude(self, rule: model.Rule, serving: Serving, place: Notebook) -> None:
        """Take out of those who are undecided whom a rule may turn off."""
        share = thousandths(rule.rollout.percentage)
        if share <= 0:
            return
        if share >= BUCKETS and rule.rollout.by not in _DRAWN:
            hashed = model.Constraint(attribute=rule.rollout.by, operator=EXISTS)
            rule = replace(rule, constraints=(*rule.constraints, hashed))
        others = self._others(rule)
        if serving.split is not None:
            place.at("split").write(
                "Unleash SDKs cannot turn a share of those off whom a rule lets in: they keep everybody off"
                " whom this rule means."
            )
        elif share < BUCKETS:
            place.at("rollout").write(
                "Unleash SDKs cannot turn off by percentage: they keep everybody off whom this rule means."
            )
        _carry_over(others.causes, place, "so later rules let nobody in" if others.clauses == NOBODY else None)
        try:
            self._undecided = both(self._undecided, others.clauses)
        except TooManyError:
            place.write("Unleash SDKs are not sent so many alternatives: later rules let nobody in.")
            self._undecided = NOBODY

    def _admit(self, rule: model.Rule, serving: Serving, place: Notebook) -> list[WireStrategy]:
        """The strategies of a rule that serves something."""
        means = self._means(rule, serving, place)
        if not means:
            return []
        admitted = self._admitted(rule)
        _carry_over(admitted.causes, place, "so this rule lets nobody in" if admitted.clauses == NOBODY else None)
        share = thousandths(rule.rollout.percentage)
        draws = rule.rollout.by in _DRAWN and 0 < share < BUCKETS
        try:
            clauses = both(admitted.clauses, self._undecided)
            clauses = disjoint(clauses) if draws and len(clauses) > 1 else clauses
        except TooManyError:
            place.write("Unleash SDKs are not sent so many alternatives: this rule lets nobody in.")
            return []
        if share % 1000:
            place.at("rollout").at("percentage").write(_rounded_down(share))
        return [_strategy(clause, parameters, variants) for clause in clauses for parameters, variants in means]

    def _means(
        self, rule: model.Rule, serving: Serving, place: Notebook
    ) -> list[tuple[WireParameters, tuple[WireVariant, ...]]]:
        """By what the rule lets in, and what it then serves; empty where that cannot be said."""
        rollout, key = rule.rollout, self._flag.key
        causes = Notebook()
        by = stickiness(rollout.by, causes.at("rollout").at("by"))
        percent = str(min(max(thousandths(rollout.percentage), 0), BUCKETS) // 1000)
        is_hashed = percent != _FULL or rollout.by not in _DRAWN
        group = group_id(rollout.salt or key, causes.at("rollout").at("salt")) if is_hashed else rollout.salt or key
        if by is None or group is None:
            _carry_over(causes.notes, place, "so this rule lets nobody in")
            return []
        parameters = WireParameters(rollout=percent, stickiness=by, group_id=group)
        if self._cast.is_valueless(serving) and self._naming is not _Naming.ALWAYS:
            self.gives_none = True
            return [(parameters, ())]
        if serving.split is None:
            variants = serving.wire(self._cast, by)
            if self._naming is _Naming.FEATURES and serving == self._shared:
                return [self._by_feature(parameters, serving, variants)]
            return [(parameters, variants)]
        return self._shared_out(serving, serving.split, parameters, place, is_hashed=is_hashed)

    def _shared_out(
        self, serving: Serving, split: model.Split, parameters: WireParameters, place: Notebook, *, is_hashed: bool
    ) -> list[tuple[WireParameters, tuple[WireVariant, ...]]]:
        """The same for a rule that shares out variants among those whom it lets in; ``is_hashed`` says whether it lets
        them in by what they are."""
        key, by, group, causes = self._flag.key, parameters.stickiness, parameters.group_id, Notebook()
        if sum(weight for _, weight in serving.shares) > LARGEST_WEIGHT_SUM:
            place.at("split").write(
                f"Unleash SDKs cannot add weights up to more than {LARGEST_WEIGHT_SUM}: this rule lets nobody in."
            )
            return []
        split_by = stickiness(split.by, causes.at("split").at("by"))
        split_group = group_id(split.salt or key, causes.at("split").at("salt"))
        if split_by is None or split_group is None:
            _carry_over(causes.notes, place, "so this rule lets nobody in")
            return []
        variants = serving.wire(self._cast, split_by)
        if self._naming is _Naming.FEATURES and self._is_the_features(serving, split_group):
            return [self._by_feature(parameters, serving, variants)]
        if not is_hashed or (parameters.rollout == _FULL and split_by == by):
            sticky = WireParameters(rollout=_FULL, stickiness=split_by, group_id=split_group)
            if split.by in _DRAWN or is_hashed:
                return [(sticky, variants)]
            # Those who have nothing to be shared out by are let in all the same, and draw.
            drawn = replace(sticky, stickiness=model.BY_RANDOM)
            return [(sticky, variants), (drawn, serving.wire(self._cast, model.BY_RANDOM))]
        if split_by == by and (split_group == group or by == model.BY_RANDOM):
            return [(parameters, variants)]
        if self._is_the_features(serving, split_group):
            return [self._by_feature(parameters, serving, variants)]
        place.at("split").write(
            "Unleash SDKs share out by the stickiness and the groupId of the rollout, and this split has others:"
            " this rule lets nobody in."
        )
        return []

    def _is_the_features(self, serving: Serving, split_group: str) -> bool:
        """Whether the feature can name what a split serves: it is salted as the feature is, and no other is named."""
        is_free = self._shared is None and self._naming is not _Naming.FEATURES
        return split_group == self._flag.key and (is_free or self._shared == serving)

    def _by_feature(
        self, parameters: WireParameters, serving: Serving, variants: tuple[WireVariant, ...]
    ) -> tuple[WireParameters, tuple[WireVariant, ...]]:
        self._shared, self._variants = serving, variants
        return parameters, ()

    def _admitted(self, rule: model.Rule) -> Expressed:
        """Those for whom all constraints and segments of a rule hold, or fewer."""
        causes = Notebook()
        admitted = EVERYBODY
        try:
            for position, constraint in enumerate(rule.constraints):
                admitted = both(admitted, clauses_of(constraint, causes.at("constraints").at(position)))
            for position, key in enumerate(rule.segments):
                segment = self._segments.known.get(key)
                members = Expressed(NOBODY) if segment is None else segment.members
                _take_over(members.causes, key, causes.at("segments").at(position))
                admitted = both(admitted, members.clauses)
        except TooManyError:
            causes.write("are not sent so many alternatives")
            admitted = NOBODY
        return Expressed(admitted, causes.notes)

    def _others(self, rule: model.Rule) -> Expressed:
        """Those for whom some constraint or segment of a rule does not hold, or fewer."""
        causes = Notebook()
        alternatives: list[Clauses] = []
        try:
            for position, constraint in enumerate(rule.constraints):
                alternatives.append(clauses_of_opposite(constraint, causes.at("constraints").at(position)))
            for position, key in enumerate(rule.segments):
                segment = self._segments.known.get(key)
                others = Expressed(EVERYBODY)
                if segment is not None:
                    others = others_than(segment.segment, self._segments.keys_of_lists)
                _take_over(others.causes, key, causes.at("segments").at(position))
                alternatives.append(others.clauses)
            return Expressed(either(alternatives), causes.notes)
        except TooManyError:
            causes.write("are not sent so many alternatives")
            return Expressed(NOBODY, causes.notes)


def _strategy(clause: Clause, parameters: WireParameters, variants: tuple[WireVariant, ...]) -> WireStrategy:
    constraints = [test for test in clause if isinstance(test, WireConstraint)]
    admits_all = parameters.rollout == _FULL and parameters.stickiness in _DRAWN
    addresses = next((test for test in constraints if _lists_addresses(test)), None) if admits_all else None
    if addresses is not None:
        constraints.remove(addresses)
        parameters = replace(parameters, ips=",".join(addresses.values or ()))
    return WireStrategy(
        name="flexibleRollout" if addresses is None else "remoteAddress",
        parameters=parameters,
        constraints=tuple(constraints),
        segments=tuple(test.id for test in clause if isinstance(test, SegmentTest)),
        variants=variants,
    )


def _lists_addresses(test: WireConstraint) -> bool:
    """Whether a constraint is what the strategy ``remoteAddress`` asks, which is as old as Unleash, where ``IN_CIDR``
    is of 2026. Of networks of IPv6, not all SDKs make the same there."""
    return (
        test.operator == "IN_CIDR"
        and test.context_name == _ADDRESS
        and not test.inverted
        and all(":" not in network for network in test.values or ())
    )


def _rounded_down(share: int) -> str:
    percent = f"{share / 1000:g}" if share < 1000 or share % 1000 else str(share // 1000)
    if share < 1000:
        return (
            f"Unleash SDKs let nobody in by this rule: they compare whole percents, and {percent} % is rounded down"
            " to 0 %."
        )
    return (
        f"Unleash SDKs let {share // 1000} % in by this rule: they compare whole percents, and {percent} % is rounded"
        " down."
    )


def _carry_over(causes: Iterable[Note], place: Notebook, so: str | None) -> None:
    for cause in causes:
        if cause.is_remark:
            place.along(cause.path).remark(f"Unleash SDKs {cause.text}.")
        else:
            place.along(cause.path).write(f"Unleash SDKs {cause.text}, {so or 'so they let fewer in'}.")


def _take_over(causes: Iterable[Note], segment: str, place: Notebook) -> None:
    for cause in causes:
        write = place.remark if cause.is_remark else place.write
        write(f"{cause.text} (segment {segment})")
