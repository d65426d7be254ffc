"""The test service of the Python SDK: does what ``sdk_under_test.py`` describes. Started as a program."""

import json
import logging
import math
import socket
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import fader
from fader import Client, Context
from fader.config import Timing

Message = dict[str, Any]

CLIENTS: dict[str, Client] = {}
LINES: deque[str] = deque(maxlen=5000)


class Keep(logging.Handler):
    """Keeps the lines that an operator would see."""

    def emit(self, record: logging.LogRecord) -> None:
        LINES.append(f"{record.levelname} {record.getMessage()}")


def context_of(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    attributes = dict(given)
    return Context(attributes.pop("targeting_key", None), **attributes)


def create(message: Message) -> Message:
    settings = dict(message["settings"])
    if settings.pop("resolver", None) == "hangs":
        socket.getaddrinfo = lambda *_, **__: time.sleep(3600)  # type: ignore[assignment]
    settings = {name: value for name, value in settings.items() if value is not None}
    timing = Timing(**settings.pop("timing", {}))
    began = time.monotonic()
    client = Client(**settings, _timing=timing)
    took = time.monotonic() - began
    CLIENTS[message["client"]] = client
    return {"took": took}


def wait(message: Message) -> Message:
    began = time.monotonic()
    ready = CLIENTS[message["client"]].wait_until_ready(timeout=message["timeout"])
    return {"ready": ready, "took": time.monotonic() - began}


def evaluate(message: Message) -> Message:
    client, how = CLIENTS[message["client"]], message["how"]
    context, flag, default = context_of(message["context"]), message["flag"], message["default"]
    answer: Any = None

    def repeat() -> None:
        nonlocal answer
        for _ in range(message.get("times", 1)):
            if how == "is_enabled":
                answer = client.is_enabled(flag, context)
            elif how == "value":
                answer = client.value(flag, context, default=default)
            else:
                answer = client.evaluate(flag, context, default=default)

    began = time.monotonic()
    others = [threading.Thread(target=repeat) for _ in range(message.get("threads", 1) - 1)]
    for other in others:
        other.start()
    repeat()
    for other in others:
        other.join()
    took = time.monotonic() - began
    if how != "evaluate":
        return {"value": answer, "took": took}
    names = ("value", "variant", "reason", "error_code", "rule", "revision")
    return {"took": took, **{name: getattr(answer, name) for name in names}}


def record(message: Message) -> Message:
    client = CLIENTS[message["client"]]
    for user in message["users"]:
        client.record(message["metric"], user, failed=message.get("failed", False), value=message.get("value"))
    return {}


def status(message: Message) -> Message:
    client = CLIENTS[message["client"]]
    revision = client.revision
    return {"ready": client.ready, "revision": -1 if revision is None else revision}


class Hostile:
    """Raises whatever one does with it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("hostile object")

    def __str__(self) -> str:
        raise RuntimeError("hostile object")

    def __hash__(self) -> int:
        raise RuntimeError("hostile object")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("hostile object")

    def __bool__(self) -> bool:
        raise RuntimeError("hostile object")

    def __iter__(self) -> Any:
        raise RuntimeError("hostile object")

    def __len__(self) -> int:
        raise RuntimeError("hostile object")

    def __float__(self) -> float:
        raise RuntimeError("hostile object")

    __repr__ = __str__
    __int__ = __hash__


class Lying(str):
    """Text that cannot be encoded."""

    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise UnicodeError("never")


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
SENSELESS: list[Any] = [
    *(None, "", "\0", "\ud800", "x" * 100_000, b"bytes", Lying("lit")),
    *(0, -1, 10**400, -(10**400), math.nan, math.inf, True, 3 + 4j, Decimal("sNaN"), Fraction(1, 3)),
    *([], {}, (), set(), ENDLESS, [ENDLESS], range(10**9), {"targeting_key": 1}),
    *(datetime.now(UTC), datetime.min.replace(tzinfo=UTC), date.max, uuid.uuid4(), Path("/")),
    *(object(), object, Hostile(), lambda: 1, Exception, ..., float, print, sys),
]


def kind_of(thing: object) -> str:
    return type(thing).__name__


def abuse(message: Message) -> Message:
    client = CLIENTS[message["client"]]
    calls, raised = 0, []

    def attempt(what: str, call: Callable[[], Any]) -> None:
        nonlocal calls
        calls += 1
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # whatever reaches the application is a failure
            raised.append(f"{what}: {type(error).__name__}")

    for thing, how in product(SENSELESS, ("is_enabled", "value", "evaluate")):
        method: Any = getattr(client, how)
        for flag in message["flags"]:
            for name, make in CONTEXTS.items():
                attempt(f"{how}({name} of {kind_of(thing)})", partial(_with, method, flag, make, thing))
            if how != "is_enabled":
                attempt(f"{how}(default={kind_of(thing)})", partial(method, flag, "user-1", default=thing))
        attempt(f"{how}(flag={kind_of(thing)})", partial(method, thing, "user-1"))
        attempt(f"{how}(flag and context={kind_of(thing)})", partial(method, thing, thing))
    for thing in SENSELESS:
        for metric in message["metrics"]:
            for name, make in CONTEXTS.items():
                attempt(f"record({name} of {kind_of(thing)})", partial(_with, client.record, metric, make, thing))
            attempt(f"record(value={kind_of(thing)})", partial(client.record, metric, "user-1", value=thing))
            attempt(f"record(failed={kind_of(thing)})", partial(client.record, metric, "user-1", failed=thing))
            attempt(f"measure(context={kind_of(thing)})", partial(_measured, client, metric, thing))
        attempt(f"record(metric={kind_of(thing)})", partial(client.record, thing, "user-1"))
        attempt(f"measure(metric={kind_of(thing)})", partial(_measured, client, thing, "user-1"))
    return {"calls": calls, "raised": raised}


CONTEXTS: Mapping[str, Callable[[Any], Any]] = {
    "context": lambda thing: thing,
    "targeting key": Context,
    "attribute": lambda thing: Context("user-1", plan=thing),
    "list attribute": lambda thing: Context("user-1", plan=[thing, thing]),
    "well-known attributes": lambda thing: Context(
        thing, session_id=thing, remote_address=thing, current_time=thing, app=thing
    ),
}


def _with(method: Any, flag: str, make: Callable[[Any], Any], thing: Any) -> None:
    method(flag, make(thing))


def _measured(client: Client, metric: Any, context: Any) -> None:
    with client.measure(metric, context):
        pass
    if context is not print:  # which would be called to give the context, and write among our answers
        client.measure(metric, context)(lambda: None)()


def logs(_: Message) -> Message:
    lines = []
    while LINES:
        lines.append(LINES.popleft())
    return {"lines": lines}


def threads(_: Message) -> Message:
    return {"threads": [thread.name for thread in threading.enumerate()]}


def close(message: Message) -> Message:
    began = time.monotonic()
    CLIENTS[message["client"]].close()
    return {"took": time.monotonic() - began}


COMMANDS: Mapping[str, Callable[[Message], Message]] = {
    "capabilities": lambda _: {"capabilities": ["hanging_resolver"], "version": fader.__version__},
    "create": create,
    "wait": wait,
    "evaluate": evaluate,
    "record": record,
    "status": status,
    "abuse": abuse,
    "logs": logs,
    "threads": threads,
    "close": close,
}


def main() -> None:
    logging.getLogger().addHandler(keep := Keep())
    keep.setLevel(logging.WARNING)
    for line in sys.stdin:
        message = json.loads(line)
        if message["do"] == "exit":
            return
        try:
            answer = {"ok": True, **COMMANDS[message["do"]](message)}
        except Exception as error:  # noqa: BLE001  # the other side decides what a failure means
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
