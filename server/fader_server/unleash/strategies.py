"""Unleash's strategies: whom each lets in, as constraints, segments and a rollout of ours."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from fader import model
from fader.operators.numbers import number
from fader_server.unleash.constraints import NEVER, as_text, readable_values, translate_constraint
from fader_server.unleash.contexts import RESERVED, rollout_by
from fader_server.unleash.model import Strategy
from fader_server.unleash.notes import Notebook

HOST_NAME: Final = "hostname"
"""The attribute that stands for the name of the machine, which Unleash's SDKs find out by themselves."""

Parameters = Mapping[str, str]


class Admission(Struct, frozen=True):
    """Whom a strategy lets in, whatever it then serves: what all rules made from it have in common."""

    constraints: tuple[model.Constraint, ...] = ()
    segments: tuple[str, ...] = ()
    rollout: model.Rollout = model.Rollout()

    @property
    def may_draw(self) -> bool:
        """Whether asking twice may give two answers, because the rollout draws at random."""
        draws = self.rollout.by in (model.BY_DEFAULT, model.BY_RANDOM)
        return draws and 0 < self.rollout.percentage < 100


def admission(strategy: Strategy, segment_keys: Mapping[int, str], notebook: Notebook) -> Admission:
    """Whom a strategy lets in.

    Args:
        strategy: Of any kind. One that is not known, or disabled, lets nobody in, and keeps its constraints.
        segment_keys: The keys of the segments that exist, by Unleash's number.
        notebook: Takes what cannot be carried exactly, under the strategy's path.
    """
    parameters = {name: as_text(value) for name, value in (strategy.parameters or {}).items()}
    kind = _KINDS.get(strategy.name)
    if strategy.disabled:
        own = Admission(constraints=(NEVER,))
        notebook.at("disabled").remark("The strategy is disabled, so its rule lets nobody in.")
    elif kind is None:
        own = Admission(constraints=(NEVER,))
        notebook.at("name").write(f"The strategy {strategy.name!r} is not known, so its rule lets nobody in.")
    else:
        own = kind(parameters, notebook.at("parameters"))
    constraints = tuple(
        translate_constraint(constraint, notebook.at("constraints").at(position))
        for position, constraint in enumerate(strategy.constraints or ())
    )
    segments: list[str] = []
    missing: list[model.Constraint] = []
    for position, wanted in enumerate(strategy.segments or ()):
        if wanted in segment_keys:
            segments.append(segment_keys[wanted])
        else:
            missing = [NEVER]
            notebook.at("segments").at(position).write(f"There is no segment {wanted}, so the rule lets nobody in.")
    return Admission((*own.constraints, *missing, *constraints), tuple(segments), own.rollout)


def _default(_parameters: Parameters, _notebook: Notebook) -> Admission:
    return Admission()


def _user_with_id(parameters: Parameters, _notebook: Notebook) -> Admission:
    return Admission(constraints=(_one_of(model.TARGETING_KEY, _listed(parameters, "userIds")),))


def _remote_address(parameters: Parameters, notebook: Notebook) -> Admission:
    networks = readable_values("in_cidr", _listed(parameters, "IPs"), notebook.at("IPs"))
    if not networks:
        return Admission(constraints=(NEVER,))
    if any(":" in network for network in networks):
        notebook.at("IPs").write("Unleash's engines disagree about IPv6: some never let it in.", "disputed")
    constraint = model.Constraint(attribute=model.REMOTE_ADDRESS, operator="in_cidr", values=networks)
    return Admission(constraints=(constraint,))


def _application_hostname(parameters: Parameters, notebook: Notebook) -> Admission:
    notebook.write(
        f"Fader does not find out the machine's name by itself: pass it, in lower case, as the attribute {HOST_NAME!r}."
    )
    names = tuple(name.lower() for name in _listed(parameters, "hostNames"))
    return Admission(constraints=(_one_of(HOST_NAME, names),))


def _gradual_rollout_user_id(parameters: Parameters, notebook: Notebook) -> Admission:
    return _sticky(parameters, "percentage", model.TARGETING_KEY, notebook)


def _gradual_rollout_session_id(parameters: Parameters, notebook: Notebook) -> Admission:
    return _sticky(parameters, "percentage", model.SESSION_ID, notebook)


def _gradual_rollout_random(parameters: Parameters, notebook: Notebook) -> Admission:
    return _sticky(parameters, "percentage", model.BY_RANDOM, notebook)


def _flexible_rollout(parameters: Parameters, notebook: Notebook) -> Admission:
    stickiness = parameters.get("stickiness", "")
    if stickiness in RESERVED:
        notebook.at("stickiness").write(
            f"The property {stickiness!r} is named like an attribute that Fader knows by itself."
        )
    return _sticky(parameters, "rollout", rollout_by(stickiness), notebook)


_KINDS: Final[dict[str, Callable[[Parameters, Notebook], Admission]]] = {
    "default": _default,
    "userWithId": _user_with_id,
    "remoteAddress": _remote_address,
    "applicationHostname": _application_hostname,
    "gradualRolloutUserId": _gradual_rollout_user_id,
    "gradualRolloutSessionId": _gradual_rollout_session_id,
    "gradualRolloutRandom": _gradual_rollout_random,
    "flexibleRollout": _flexible_rollout,
}


def _sticky(parameters: Parameters, share: str, by: str, notebook: Notebook) -> Admission:
    percentage = _whole_percent(parameters.get(share, ""), notebook.at(share))
    salt = parameters.get("groupId", "")
    if '"' in salt:
        notebook.at("groupId").write(
            "Unleash's engines disagree about quotation marks: with some, the flag is off.", "disputed"
        )
    return Admission(rollout=model.Rollout(percentage=percentage, by=by, salt=salt))


def _whole_percent(text: str, notebook: Notebook) -> float:
    """The percentage, rounded down to a whole one between 0 and 100: Unleash's have no finer steps."""
    read = number(text.strip())
    if read is None:
        notebook.write(f"{text!r} is not a percentage, so the rollout lets nobody in.", "disputed")
        return 0.0
    whole = min(max(math.floor(read), 0), 100)
    if str(whole) != text:
        notebook.write(f"Unleash's engines disagree about the percentage {text!r}; it is taken as {whole}.", "disputed")
    return float(whole)


def _listed(parameters: Parameters, name: str) -> tuple[str, ...]:
    return tuple(entry for part in parameters.get(name, "").split(",") if (entry := part.strip()))


def _one_of(attribute: str, values: tuple[str, ...]) -> model.Constraint:
    return model.Constraint(attribute=attribute, operator="in", values=values)
