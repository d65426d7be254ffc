"""People and pipelines who change flags while everything around them breaks, and remember what they were told."""

import json
import random
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import urllib3
from msgspec import Struct

from faults.contexts import COUNTRIES, PLANS, USERS
from faults.history import Outcome, Recorder, Write

ENVIRONMENTS: Final = ("production", "staging")
"""Where flags are changed and followed."""

ALL_ENVIRONMENTS: Final = ("development", "production", "staging")
"""Where a segment, or a new flag, makes a change."""

BOOLEANS: Final = tuple(f"switch-{number}" for number in range(6))
TEXTS: Final = tuple(f"colour-{number}" for number in range(4))
DEPENDENT: Final = "dependent"
FLAGS: Final = (*BOOLEANS, *TEXTS, DEPENDENT)
SEGMENTS: Final = ("insiders", "partners")
COLOURS: Final = ("red", "green", "blue")

_ANSWER_SECONDS: Final = 6.0
_PATIENCE: Final = 8.0
"""How long a writer goes on trying one write."""
_MAY_OR_MAY_NOT: Final = "may or may not"


class Request(Struct, frozen=True, kw_only=True):
    """Something to be changed; the reason is added when it is sent."""

    method: str
    path: str
    body: dict[str, Any] = {}
    environments: tuple[str, ...]
    if_match: str | None = None


def first_requests() -> list[Request]:
    """What makes the flags and segments that there are."""
    segments = [
        Request(
            method="POST",
            path="/projects/default/segments",
            body={"key": key, "targeting_keys": [USERS[0], USERS[1]]},
            environments=ALL_ENVIRONMENTS,
        )
        for key in SEGMENTS
    ]
    variants = [{"name": colour, "value": colour.upper()} for colour in COLOURS]
    bodies: list[dict[str, Any]] = [
        *({"key": key} for key in (*BOOLEANS, DEPENDENT)),
        *({"key": key, "type": "string", "variants": variants, "off_variant": "red"} for key in TEXTS),
    ]
    flags = [
        Request(method="POST", path="/projects/default/flags", body=body, environments=ALL_ENVIRONMENTS)
        for body in bodies
    ]
    depending = [
        Request(
            method="PUT",
            path=_place(DEPENDENT, environment),
            body={"enabled": True, "prerequisites": [{"flag": BOOLEANS[0]}]},
            environments=(environment,),
        )
        for environment in ENVIRONMENTS
    ]
    return [*segments, *flags, *depending]


def draw_request(rng: random.Random) -> Request:
    """Something that somebody may want at any time."""
    flag = rng.choice((*BOOLEANS, *TEXTS))
    environment = rng.choice(ENVIRONMENTS)
    where = {"environments": (environment,)}
    place = _place(flag, environment)
    kind = rng.choices(
        ("on", "off", "rollout", "rule", "configure", "undo", "segment", "wrong", "outdated"),
        (18, 18, 20, 8, 10, 8, 4, 3, 3),
    )[0]
    match kind:
        case "on" | "off" | "undo":
            return Request(method="POST", path=f"{place}/{kind}", **where)
        case "rollout":
            body = {"percentage": rng.randrange(0, 100_001) / 1000}
            return Request(method="POST", path=f"{place}/rollout", body=body, **where)
        case "rule":
            return Request(method="POST", path=f"{place}/rules", body=_rule(flag, rng), **where)
        case "configure":
            body = {"enabled": rng.random() < 0.8, "rules": [_rule(flag, rng) for _ in range(rng.randrange(4))]}
            return Request(method="PUT", path=place, body=body, **where)
        case "segment":
            return Request(
                method="PUT",
                path=f"/projects/default/segments/{rng.choice(SEGMENTS)}",
                # The description is no other's, so it always makes a difference.
                body={"description": str(uuid.UUID(int=rng.getrandbits(128))), "targeting_keys": rng.sample(USERS, 5)},
                environments=ALL_ENVIRONMENTS,
            )
        case "wrong":
            return Request(method="POST", path=f"{place}/rollout", body={"percentage": 101}, **where)
        case _:
            return Request(method="POST", path=f"{place}/on", if_match='"1"', **where)


def _place(flag: str, environment: str) -> str:
    return f"/projects/default/flags/{flag}/environments/{environment}"


def _rule(flag: str, rng: random.Random) -> dict[str, Any]:
    rule: dict[str, Any] = {"rollout": {"percentage": rng.choice((100, 100, 50, 12.5, 0))}}
    match rng.randrange(4):
        case 0:
            rule["constraints"] = [{"attribute": "country", "operator": "in", "values": rng.sample(COUNTRIES, 2)}]
        case 1:
            rule["constraints"] = [
                {"attribute": "plan", "operator": "in", "values": [rng.choice(PLANS)]},
                {"attribute": "seats", "operator": ">=", "values": [rng.randrange(100)]},
            ]
        case 2:
            rule["segments"] = [rng.choice(SEGMENTS)]
        case _:
            pass
    if flag in TEXTS and rng.random() < 0.7:
        rule["split"] = {"variants": [{"variant": name, "weight": rng.randrange(1, 5)} for name in COLOURS]}
    return rule


class Writer(threading.Thread):
    """Wants one thing after the other, by turns at all servers.

    Args:
        name: Its name.
        urls: Whom to ask.
        token: An admin token.
        recorder: Where to write down what became of it.
        rng: What it wants, and how patient it is.
        pause: Between two wishes, in seconds, on average.
    """

    def __init__(
        self, name: str, urls: Sequence[str], token: str, recorder: Recorder, rng: random.Random, pause: float
    ) -> None:
        super().__init__(name=name)
        self._urls = urls
        self._token = token
        self._recorder = recorder
        self._rng = rng
        self._pause = pause
        self._enough = threading.Event()
        self._pool = urllib3.PoolManager(retries=False, maxsize=1)
        self._count = 0
        self._turn = rng.randrange(len(urls))
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._enough.wait(self._rng.expovariate(1 / self._pause)):
                # Some are in a hurry and use no key; then a try is all that there is.
                self.send(draw_request(self._rng), is_keyed=self._rng.random() < 0.8)
        except BaseException as failure:
            self.failure = failure
            raise

    def stop(self) -> None:
        """No more wishes after the present one."""
        self._enough.set()

    def send(self, request: Request, *, is_keyed: bool = True, patience: float = _PATIENCE) -> Write:
        """Send a request until it is known what has become of it, or patience is at an end."""
        self._count += 1
        reason = f"{self.name}-{self._count}"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if request.if_match is not None:
            headers["If-Match"] = request.if_match
        if is_keyed:
            headers["Idempotency-Key"] = f'"{uuid.UUID(int=self._rng.getrandbits(128))}"'
        body = json.dumps(request.body | {"reason": reason}).encode()
        began = time.monotonic()
        tries: list[_Try] = []
        while True:
            tries.append(self._try(request, headers, body))
            is_last = tries[-1].outcome in ("done", "refused") or not is_keyed
            if is_last or time.monotonic() > began + patience:
                break
            time.sleep(self._rng.uniform(0.02, 0.3))
        last = tries[-1]
        write = Write(
            writer=self.name,
            request=f"{request.method} {request.path}",
            reason=reason,
            environments=request.environments,
            began=began,
            ended=time.monotonic(),
            outcome=_outcome([one.outcome for one in tries]),
            status=last.status,
            revision=last.document.get("revision") if last.outcome == "done" else None,
            changed=last.document.get("changed") if last.outcome == "done" else None,
            tries=len(tries),
            detail="; ".join(dict.fromkeys(one.detail for one in tries if one.detail))[:1_000],
        )
        self._recorder.record(write)
        return write

    def _try(self, request: Request, headers: dict[str, str], body: bytes) -> "_Try":
        self._turn += 1
        url = f"{self._urls[self._turn % len(self._urls)]}/api/v1{request.path}"
        try:
            answer = self._pool.request(request.method, url, body=body, headers=headers, timeout=_ANSWER_SECONDS)
            document = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return _Try("unknown", detail=f"{type(error).__name__}")
        if 200 <= answer.status < 300:
            return _Try("done", answer.status, document)
        detail = f"{answer.status} {document.get('detail')}"
        if document.get("type") == "urn:fader:problem:still-running":
            return _Try("unknown", answer.status, document, detail)
        if 400 <= answer.status < 500:
            return _Try("refused", answer.status, document, detail)
        is_clear = answer.status == 503 and _MAY_OR_MAY_NOT not in detail
        return _Try("unchanged" if is_clear else "unknown", answer.status, document, detail)


class _Try(Struct, frozen=True):
    outcome: Outcome
    status: int | None = None
    document: dict[str, Any] = {}
    detail: str = ""


def _outcome(tries: Sequence[Outcome]) -> Outcome:
    """What is known after some tries: an acknowledgement is one; nothing else counts while an earlier try may still be
    on its way."""
    if tries[-1] == "done" or "unknown" not in tries:
        return tries[-1]
    return "unknown"
