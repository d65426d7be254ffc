"""flagd's flags, as its providers read them: variants, a default, and targeting rules in JSONLogic.

A targeting rule decides for everybody, by *if* within *if*: what it comes to is a list of rules, of which the first
whose condition holds decides, as ours do. Its shares are drawn by another hash.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal

from msgspec import Struct

from fader import model
from fader_server.imports.flagd_conditions import FLAG_KEY, Alternatives, Conditions, attribute_of
from fader_server.imports.wanted import UnreadableError, Wanted, WantedFlag, converted, converted_each
from fader_server.unleash.notes import Notebook

_REDRAWN: Final = "Fader draws by another hash: each variant is given to as many as before, but not to the same ones."
_DEEPEST: Final = 50
_MOST: Final = 100
"""Rules that one flag may become, as many as one may have here."""


class _Flag(Struct, frozen=True, kw_only=True, rename="camel"):
    state: Literal["ENABLED", "DISABLED"]
    variants: dict[str, Any]
    default_variant: str | None = None
    targeting: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class _Served(Struct, frozen=True):
    """What those are served for whom all constraints hold. Neither a variant nor a split is the caller's default."""

    constraints: tuple[model.Constraint, ...]
    variant: str | None = None
    split: model.Split | None = None


def wanted(document: Mapping[str, object], _environment: str) -> Wanted:
    """What a document of flagd's comes to.

    Args:
        document: Decoded: ``flags``, by key or as a list, and ``$evaluators`` that these refer to.
        _environment: Where it is to go; the document says nothing of environments.

    Raises:
        UnreadableError: if it is none of flagd's.
    """
    given = document.get("flags")
    if given is None:
        raise UnreadableError("", "has no flags, as flagd's documents have")
    if isinstance(given, list):
        given = {str(one.get("key")): one for one in converted(given, list[dict[str, Any]], "flags")}
    flags = converted_each(given, _Flag, "flags")
    conditions = Conditions(converted(document.get("$evaluators") or {}, dict[str, Any], "$evaluators"))
    return Wanted(flags=tuple(_wanted(key, flag, conditions) for key, flag in flags.items()))


def _wanted(key: str, flag: _Flag, conditions: Conditions) -> WantedFlag:
    notebook = Notebook()
    reader = _Reader(key, flag, conditions, notebook)
    description = (flag.metadata or {}).get("description")
    return WantedFlag(
        flag=reader.read(),
        description=description if isinstance(description, str) else None,
        notes=notebook.notes,
    )


class _Reader:
    """Reads one flag."""

    def __init__(self, key: str, flag: _Flag, conditions: Conditions, notebook: Notebook) -> None:
        self._key = key
        self._flag = flag
        self._conditions = conditions
        self._notebook = notebook
        self._is_boolean = any(isinstance(value, bool) for value in flag.variants.values())

    def read(self) -> model.Flag:
        """The flag as one of ours."""
        flag = self._flag
        self._check_variants()
        # No further than that, for branches within branches may come to more rules than fit into memory.
        served = [*islice(self._rules(flag.targeting or None, (), self._notebook.at("targeting"), 0), _MOST + 1)]
        if len(served) > _MOST:
            self._notebook.at("targeting").write(f"It would become more than {_MOST} rules.")
        off = self._off()
        rules = tuple(
            model.Rule(
                id="default" if number == len(served) else f"rule-{number}",
                constraints=one.constraints,
                variant=None if one.split is not None else off if one.variant is None else self._name(one.variant),
                split=one.split,
            )
            for number, one in enumerate(served, start=1)
        )
        if self._is_boolean:
            self._note_booleans(served)
            return model.Flag(key=self._key, enabled=flag.state == "ENABLED", rules=rules)
        variants = tuple(model.Variant(name=name, value=value) for name, value in flag.variants.items())
        return model.Flag(
            key=self._key,
            enabled=flag.state == "ENABLED",
            type=_type([*flag.variants.values()]),
            # A flag that is disabled gives the caller's own default, which is what no value stands for.
            variants=(*variants, model.Variant(name=off)),
            off_variant=off,
            rules=rules,
        )

    def _check_variants(self) -> None:
        if not self._flag.variants:
            self._notebook.at("variants").write("A flag has at least one variant.")
        if self._flag.default_variant is not None:
            self._known(self._flag.default_variant, self._notebook.at("defaultVariant"))

    def _note_booleans(self, served: Sequence[_Served]) -> None:
        values = self._flag.variants
        if not all(isinstance(value, bool) for value in values.values()) or sorted(values.values()) != [False, True]:
            self._notebook.at("variants").write("A boolean flag has just the values true and false here.")
        if self._flag.state != "ENABLED":
            self._notebook.at("state").write(
                "While it is disabled, applications get their own default; here a boolean flag is false then."
            )
        if any(one.variant is None and one.split is None for one in served):
            self._notebook.at("defaultVariant").write(
                "Without one, applications get their own default; here a boolean flag is false then."
            )

    def _rules(
        self, node: Any, constraints: tuple[model.Constraint, ...], notebook: Notebook, depth: int
    ) -> Iterator[_Served]:
        """All that a targeting rule comes to, for those for whom some constraints hold; the last one is for all of
        them."""
        if depth > _DEEPEST:
            notebook.write(f"Only {_DEEPEST} branches within one another can be carried over.")
            yield _Served(constraints)
        elif node is None:
            yield _Served(constraints, self._flag.default_variant)
        elif isinstance(node, bool | str):
            yield _Served(constraints, self._known(_text(node), notebook))
        elif isinstance(node, dict) and list(node) == ["if"] and isinstance(node["if"], list):
            yield from self._branches(node["if"], constraints, notebook.at("if"), depth)
        elif isinstance(node, dict) and list(node) == ["fractional"] and isinstance(node["fractional"], list):
            yield self._share(node["fractional"], constraints, notebook.at("fractional"))
        else:
            # Just a condition, whose answer is the name of a variant.
            yield from self._branches([node, True, False], constraints, notebook, depth)

    def _branches(
        self, parts: Sequence[Any], constraints: tuple[model.Constraint, ...], notebook: Notebook, depth: int
    ) -> Iterator[_Served]:
        for position in range(0, len(parts) - 1, 2):
            found: Alternatives = self._conditions.read(parts[position], notebook.at(position)).holds
            for alternative in found:
                held = (*constraints, *alternative)
                yield from self._rules(parts[position + 1], held, notebook.at(position + 1), depth + 1)
        last = parts[-1] if len(parts) % 2 else None
        yield from self._rules(last, constraints, notebook.at(len(parts) - 1), depth + 1)

    def _share(self, parts: Sequence[Any], constraints: tuple[model.Constraint, ...], notebook: Notebook) -> _Served:
        by, shares = model.BY_DEFAULT, list(enumerate(parts))
        if parts and not isinstance(parts[0], list):
            by, shares = self._by(parts[0], notebook.at(0)), shares[1:]
        weights: dict[str, int] = {}
        for position, share in shares:
            match share:
                case [str() | bool() as name] | [str() | bool() as name, int()] if share[-1] is not None:
                    weight = 1 if len(share) == 1 else share[1]
                    variant = self._known(_text(name), notebook.at(position))
                    if variant is not None and weight > 0:
                        weights[self._name(variant)] = weights.get(self._name(variant), 0) + weight
                case _:
                    notebook.at(position).write("Only a variant and a whole number can be carried over.")
        notebook.write(_REDRAWN, "redrawn")
        found = tuple(model.WeightedVariant(variant=name, weight=weight) for name, weight in weights.items())
        return _Served(constraints, split=model.Split(variants=found, by=by))

    def _by(self, node: Any, notebook: Notebook) -> str:
        """What a share is drawn by: one attribute, perhaps with the flag's key or another text before it."""
        given = node["cat"] if isinstance(node, dict) and list(node) == ["cat"] else node
        parts = given if isinstance(given, list) else [given]
        named = [one for one in parts if not isinstance(one, str) and one != {"var": FLAG_KEY}]
        attribute = attribute_of(named[0], notebook) if len(named) == 1 else None
        if attribute is None:
            notebook.write("Shares are drawn by one attribute here.")
            return model.BY_DEFAULT
        return model.BY_DEFAULT if attribute == model.TARGETING_KEY else attribute

    def _known(self, variant: str, notebook: Notebook) -> str | None:
        if variant in self._flag.variants:
            return variant
        notebook.write(f"There is no variant {variant!r}.")
        return None

    def _name(self, variant: str) -> str:
        """Our name of a variant."""
        if self._is_boolean:
            return model.ON if self._flag.variants.get(variant) is True else model.OFF
        return variant

    def _off(self) -> str:
        if self._is_boolean:
            return model.OFF
        name, copies = model.OFF, 1
        while name in self._flag.variants:
            copies += 1
            name = f"{model.OFF}-{copies}"
        return name


def _text(name: str | bool) -> str:
    return name if isinstance(name, str) else "true" if name else "false"


def _type(values: Sequence[Any]) -> model.ValueType:
    if all(isinstance(value, str) for value in values):
        return "string"
    return "number" if all(isinstance(value, int | float) for value in values) else "object"
