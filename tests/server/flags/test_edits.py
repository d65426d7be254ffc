"""What each command makes of a configuration, as values."""

import msgspec
import pytest

from fader import model
from fader_server.errors import Invalid, NotFound
from fader_server.flags import edits
from fader_server.storage.documents import encode
from fader_server.storage.records import Configuration

EVERYBODY = model.Rule(id="everybody")
GERMANS = model.Rule(id="germans", constraints=(model.Constraint(attribute="country", operator="in", values=("DE",)),))
TESTERS = model.Rule(id="testers", segments=("testers",))


def _of(*rules: model.Rule) -> Configuration:
    return Configuration(rules=rules)


def test_switching_touches_nothing_else() -> None:
    on = edits.switched(_of(GERMANS), on=True)
    assert on == Configuration(enabled=True, rules=(GERMANS,))
    assert edits.switched(on, on=False) == _of(GERMANS)


@pytest.mark.parametrize(
    ("rules", "position"),
    [
        ((EVERYBODY,), 0),
        ((GERMANS, EVERYBODY, TESTERS), 1),
        ((EVERYBODY, GERMANS, model.Rule(id="again")), 2),
    ],
)
def test_a_rollout_is_that_of_the_last_rule_for_everybody(rules: tuple[model.Rule, ...], position: int) -> None:
    rolled = edits.rolled_out(_of(*rules), 12.5)
    assert rolled.rules[position] == msgspec.structs.replace(rules[position], rollout=model.Rollout(percentage=12.5))
    assert [rule for at, rule in enumerate(rolled.rules) if at != position] == [
        rule for at, rule in enumerate(rules) if at != position
    ]


def test_a_rollout_makes_a_rule_for_everybody_if_there_is_none() -> None:
    rolled = edits.tidied(edits.rolled_out(_of(GERMANS, TESTERS), 1, by="account", salt="s"))
    assert rolled.rules[:2] == (GERMANS, TESTERS)
    assert rolled.rules[2].rollout == model.Rollout(percentage=1, by="account", salt="s")
    assert rolled.rules[2].id


def test_a_rule_goes_where_it_is_told() -> None:
    assert edits.with_rule(_of(EVERYBODY), GERMANS) == _of(EVERYBODY, GERMANS)
    assert edits.with_rule(_of(EVERYBODY), GERMANS, 0) == _of(GERMANS, EVERYBODY)
    for position in (-1, 2):
        with pytest.raises(Invalid):
            edits.with_rule(_of(EVERYBODY), GERMANS, position)


def test_a_rule_is_replaced_under_its_id() -> None:
    replaced = edits.with_rule_replaced(_of(EVERYBODY, TESTERS), "testers", model.Rule(variant="off"))
    assert replaced == _of(EVERYBODY, model.Rule(id="testers", variant="off"))
    assert edits.without_rule(replaced, "testers") == _of(EVERYBODY)
    with pytest.raises(NotFound) as missing:
        edits.without_rule(replaced, "tester")
    assert missing.value.suggestions == ("testers",)


def test_what_means_the_same_is_the_same_text() -> None:
    decoded = msgspec.json.decode(
        b'{"enabled": true, "rules": [{"id": "a", "rollout": {"percentage": 100.0}}]}', type=Configuration
    )
    assert encode(edits.tidied(decoded)) == encode(Configuration(enabled=True, rules=(model.Rule(id="a"),)))


def test_fresh_ids_are_short_and_distinct() -> None:
    ids = [rule.id for rule in edits.tidied(_of(*[model.Rule()] * 100)).rules]
    assert len(set(ids)) == 100
    assert all(len(rule_id) == 8 and rule_id.isalnum() and rule_id.islower() for rule_id in ids)
