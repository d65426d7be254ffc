"""LaunchDarkly's segments as segments of ours.

One of ours has the keys that it lists, and those for whom all its constraints hold. One of LaunchDarkly's may have
several rules, any of which will do: each but the first becomes a segment of its own, beside that with the keys.
"""

from collections.abc import Mapping

from fader import model
from fader_server.imports.launchdarkly_clauses import KnownSegment, alternatives, is_of_users
from fader_server.imports.launchdarkly_model import Segment, Target
from fader_server.imports.wanted import WantedSegment
from fader_server.unleash.constraints import ALWAYS
from fader_server.unleash.notes import Note, Notebook


def translate_segments(segments: Mapping[str, Segment]) -> tuple[list[WantedSegment], dict[str, KnownSegment]]:
    """All segments of a document, and what each has become, for the clauses that ask for it.

    Args:
        segments: By LaunchDarkly's key.
    """
    wanted: list[WantedSegment] = []
    known: dict[str, KnownSegment] = {}
    for key, segment in segments.items():
        if segment.deleted:
            continue
        made, notes = _translated(key, segment)
        wanted += [WantedSegment(key=one.key, segment=one, notes=notes) for one in made]
        is_listed = not segment.rules
        known[key] = KnownSegment(
            keys=tuple(one.key for one in made), listed=made[0].targeting_keys if is_listed else None
        )
    return wanted, known


def _translated(key: str, segment: Segment) -> tuple[list[model.Segment], tuple[Note, ...]]:
    notebook = Notebook()
    if segment.unbounded:
        notebook.at("unbounded").write("The members of big segments are not in the document.")
    included = _keys(segment.included, segment.included_contexts, notebook.at("includedContexts"))
    excluded = _keys(segment.excluded, segment.excluded_contexts, notebook.at("excludedContexts"))
    # Who is included is a member although excluded: that is said of rules only.
    without = (
        (model.Constraint(attribute=model.TARGETING_KEY, operator="in", values=excluded, inverted=True),)
        if excluded
        else ()
    )
    described: list[tuple[model.Constraint, ...]] = []
    for position, rule in enumerate(segment.rules or ()):
        place = notebook.at("rules").at(position)
        if rule.weight is not None:
            place.at("weight").write("Segments have no shares here: give the share to the rules that ask for it.")
        if any(clause.op == "segmentMatch" for clause in rule.clauses or ()):
            place.write("Segments of segments are not known here.")
            continue
        found = alternatives(rule.clauses or (), {}, place)
        # Where nothing is asked everybody belongs there; a segment of ours without constraints has no members.
        described += [((*alternative.constraints, *without) or (ALWAYS,)) for alternative in found]
    made = [
        model.Segment(key=key if number == 1 else f"{key}-rule-{number}", constraints=constraints)
        for number, constraints in enumerate(described or [()], start=1)
    ]
    first = model.Segment(key=key, constraints=made[0].constraints, targeting_keys=included)
    return [first, *made[1:]], notebook.notes


def _keys(listed: tuple[str, ...] | None, others: tuple[Target, ...] | None, notebook: Notebook) -> tuple[str, ...]:
    keys = list(listed or ())
    for position, target in enumerate(others or ()):
        if target.values and is_of_users(target.context_kind, notebook.at(position)):
            keys += target.values
    return tuple(dict.fromkeys(keys))
