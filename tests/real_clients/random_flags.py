"""Random flags and contexts, many of them and quickly made: the same for the same seed.

Values come from small pools, so that rules match often but not always. Flags are of the kind that teams make: what no
two engines of Unleash's agree on (fractions of a percent, blanks around values, letters beyond ASCII in what is hashed)
is not among them.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from fader.model import Constraint, Flag, Prerequisite, Rollout, Rule, Segment, Split, Variant, WeightedVariant

SEGMENTS: Final = ("staff", "berlin", "testers")
_PLANS: Final = ("free", "pro", "PRO", "team", "enterprise")
_COUNTRIES: Final = ("DE", "AT", "CH", "FR", "US")
_VERSIONS: Final = ("1.2.3", "1.10.0", "2.0.0-alpha.1", "2.0.0-rc.1", "2.0.0", "2.0.1")
_TIMES: Final = ("2026-03-01T12:00:00.000Z", "2026-06-01T00:00:00.000Z", "2026-11-23T10:00:00.000Z")
_ADDRESSES: Final = ("10.1.2.3", "10.200.0.1", "192.168.0.7", "2001:db8::1")
_NETWORKS: Final = ("10.0.0.0/8", "10.1.0.0/16", "192.168.0.7", "2001:db8::/32")
_PATTERNS: Final = ("^p", "o$", "e{1,2}", "(?:free|team)", "[A-Z]+")
_STICKY: Final = ("default", "default", "targeting_key", "session_id", "company")
_SALTS: Final = ("", "", "shared", "summer-sale")


def random_segments(random: Random) -> dict[str, Segment]:
    """Segments by constraints or by listed keys."""
    made = {}
    for key in SEGMENTS:
        listed = tuple(f"user-{random.randrange(40)}" for _ in range(5)) if random.random() < 0.4 else ()
        constraints = () if listed else (_constraint(random),)
        made[key] = Segment(key=key, constraints=constraints, targeting_keys=listed)
    return made


def random_flags(random: Random, count: int) -> dict[str, Flag]:
    """So many flags, some of which ask for others that come before them."""
    made: dict[str, Flag] = {}
    for number in range(count):
        flag = _flag(random, f"flag-{number:04}", list(made.values()))
        made[flag.key] = flag
    return made


def random_contexts(random: Random, count: int) -> list[dict[str, Any]]:
    """Contexts as Unleash has them. Each has what a flag may be sticky on, for without it a variant would be drawn."""
    return [_context(random) for _ in range(count)]


def _context(random: Random) -> dict[str, Any]:
    properties = {
        "company": f"company-{random.randrange(30)}",
        "plan": random.choice(_PLANS),
        "country": random.choice(_COUNTRIES),
        "version": random.choice(_VERSIONS),
        "age": random.choice(("0", "7", "17", "18", "18.5", "42", "-3")),
    }
    for name in ("plan", "country", "version", "age"):
        if random.random() < 0.2:
            del properties[name]
    context: dict[str, Any] = {
        "userId": f"user-{random.randrange(1000)}",
        "sessionId": f"session-{random.randrange(1000)}",
        "appName": random.choice(("shop", "search")),
        "currentTime": random.choice(_TIMES),
        "properties": properties,
    }
    if random.random() < 0.7:
        context["remoteAddress"] = random.choice(_ADDRESSES)
    return context


def _constraint(random: Random) -> Constraint:
    attribute, operator, values = random.choice(
        (
            ("plan", random.choice(("in", "not_in")), random.sample(_PLANS, 2)),
            ("country", random.choice(("in", "not_in")), random.sample(_COUNTRIES, 3)),
            ("app", random.choice(("in", "not_in")), ["shop"]),
            ("targeting_key", "in", [f"user-{random.randrange(1000)}" for _ in range(20)]),
            ("targeting_key", random.choice(("starts_with", "ends_with", "contains")), ["7", "user-1"]),
            ("plan", random.choice(("starts_with", "ends_with", "contains")), ["pr", "e"]),
            ("age", random.choice(("=", "<", "<=", ">", ">=")), [random.choice((7, 18, 18.5, -3))]),
            ("current_time", random.choice(("before", "after")), [random.choice(_TIMES)]),
            (
                "version",
                f"semver_{random.choice(('eq', 'gt', 'ge', 'lt', 'le'))}",
                [random.choice(_VERSIONS)],
            ),
            ("plan", "matches", [random.choice(_PATTERNS)]),
            ("remote_address", "in_cidr", random.sample(_NETWORKS, 2)),
        )
    )
    folds = operator in ("starts_with", "ends_with", "contains", "matches")
    return Constraint(
        attribute=attribute,
        operator=operator,
        values=tuple(values),
        inverted=random.random() < 0.2,
        case_insensitive=folds and random.random() < 0.3,
    )


def _rollout(random: Random) -> Rollout:
    if random.random() < 0.4:
        return Rollout()
    percentage = random.choice((0, 1, 5, 25, 50, 75, 99, 100))
    return Rollout(percentage=float(percentage), by=random.choice(_STICKY), salt=random.choice(_SALTS))


def _rule(random: Random, number: int, variants: Sequence[str]) -> Rule:
    rollout = _rollout(random)
    served: dict[str, Any] = {}
    if variants and random.random() < 0.6:
        weighted = tuple(WeightedVariant(variant=name, weight=random.randrange(1, 6)) for name in variants)
        # Unleash has one stickiness and one salt for both.
        served["split"] = Split(variants=weighted, by=rollout.by, salt=rollout.salt)
    elif variants:
        served["variant"] = random.choice(variants)
    return Rule(
        id=f"rule-{number}",
        constraints=tuple(_constraint(random) for _ in range(random.choice((0, 0, 1, 1, 2)))),
        segments=(random.choice(SEGMENTS),) if random.random() < 0.2 else (),
        rollout=rollout,
        **served,
    )


def _variants(random: Random) -> tuple[str, tuple[Variant, ...]]:
    kind = random.choice(("boolean", "boolean", "boolean", "string", "number", "object"))
    values: Mapping[str, tuple[Any, ...]] = {
        "string": ("#f00", "#00f", "", "grün"),
        "number": (1, 2.5, -7, 0),
        "object": ({"limit": 5}, {"limit": 5, "tags": ["a", "b"]}, {}, {"nested": {"on": True}}),
    }
    names = ("red", "blue", "green", "none")
    return kind, tuple(map(Variant, names, values.get(kind, ())))


def _flag(random: Random, key: str, before: Sequence[Flag]) -> Flag:
    kind, variants = _variants(random)
    names = [variant.name for variant in variants]
    rules = tuple(_rule(random, number, names[:-1]) for number in range(random.choice((0, 1, 1, 2, 3))))
    prerequisites: list[Prerequisite] = []
    if before and random.random() < 0.15:
        parent = random.choice(before)
        asked = tuple(variant.name for variant in parent.variants[:2]) if random.random() < 0.5 else ()
        prerequisites.append(
            Prerequisite(flag=parent.key, enabled=bool(asked) or random.random() < 0.8, variants=asked)
        )
    return Flag(
        key=key,
        enabled=random.random() < 0.9,
        type=kind,
        variants=variants,
        off_variant="none" if variants else "off",
        prerequisites=tuple(prerequisites),
        rules=rules,
    )
