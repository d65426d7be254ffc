"""The checks of histories: a good history passes all of them, and each way in which one can be bad is found.

If these checks saw less than they believe, the run with random faults would prove nothing.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fader.model import Change, Snapshot
from faults.checker import (
    Violation,
    by_environment,
    check_arrival,
    check_counts,
    check_log,
    check_memory,
    check_no_way_back,
    check_real_time,
    check_samples,
    check_server_log,
    check_streams,
    check_writes,
)
from faults.history import Count, Event, LogEntry, Opened, Reached, Sample, Write

EPOCH = "e1"


def flag_document(key: str, enabled: bool, **fields: Any) -> dict[str, Any]:
    """A flag as the log has it."""
    described = {"description": "", "owner": "", "tags": [], "kind": "release", "archived": False}
    return {"key": key, "enabled": enabled, "rules": [], "prerequisites": [], **described, **fields}


def entry(revision: int, key: str, before: Any, after: Any, **fields: Any) -> LogEntry:
    given: dict[str, Any] = {
        "id": revision,
        "environment": "production",
        "epoch": EPOCH,
        "revision": revision,
        "kind": "flag",
        "key": key,
        "action": "updated",
        "reason": f"w{revision}",
        "before": None if before is None else json.dumps(before),
        "after": None if after is None else json.dumps(after),
    }
    return LogEntry(**(given | fields))


OFF, ON = flag_document("a", False), flag_document("a", True)
VIP = {"key": "vip", "id": 1, "description": "", "constraints": [], "targeting_keys": ["u1"]}
RULES = flag_document("b", True, rules=[{"id": "r", "segments": ["vip"]}])
LOG = [
    entry(1, "a", None, OFF),
    entry(2, "vip", None, VIP, kind="segment"),
    entry(3, "b", None, RULES),
    entry(4, "a", OFF, ON),
    entry(5, "a", ON, OFF),
]
"""Revision 3: ``a`` is off, ``b`` is for the segment. 4: ``a`` is on. 5: it is off again."""

LOGS = by_environment(LOG)
STANDS = {"production": 5}


def write(reason: str, **fields: Any) -> Write:
    """Acknowledged, in a moment of its own."""
    number = int(reason[1:])
    given: dict[str, Any] = {
        "writer": "one",
        "request": "POST /…",
        "reason": reason,
        "environments": ("production",),
        "began": number * 10.0,
        "ended": number * 10.0 + 5,
        "outcome": "done",
        "status": 200,
        "revision": number,
        "changed": True,
    }
    return Write(**(given | fields))


WRITES = [write(f"w{number}") for number in range(1, 6)]


def promises(violations: Iterable[Violation]) -> list[str]:
    """What was broken, by name. Said in full, too: that must work for whatever was found."""
    found = list(violations)
    assert all(str(one).startswith(one.promise) for one in found)
    return [one.promise for one in found]


def with_entry(place: int, **fields: Any) -> list[LogEntry]:
    return [replace(one, **fields) if one.revision == place else one for one in LOG]


# --- the log ----------------------------------------------------------------------------------------------------


def test_a_good_log() -> None:
    assert promises(check_log(LOG, STANDS)) == []
    assert promises(check_log(LOG[::-1], STANDS)) == []  # they may be read in any order
    assert promises(check_log([], {"production": 0})) == []


BAD_LOGS: dict[str, tuple[list[LogEntry], dict[str, int], str]] = {
    "a revision is missing": ([*LOG[:3], *LOG[4:]], STANDS, "the log is gapless"),
    "the first revision is missing": (LOG[1:], STANDS, "the log is gapless"),
    "the last revision is missing": (LOG[:4], STANDS, "the log is gapless"),
    "the environment lags behind its log": (LOG, {"production": 4}, "the log is gapless"),
    "nothing was logged": ([], STANDS, "the log is gapless"),
    "an environment that nobody knows": (LOG, STANDS | {"staging": 1}, "the log is gapless"),
    "a revision is there twice": (
        [*LOG[:4], entry(4, "b", RULES, RULES, id=6), entry(5, "a", ON, OFF, id=7)],
        STANDS,
        "the log is in order, and nothing in it twice",
    ),
    "written in another order": (
        [LOG[0], replace(LOG[1], id=3), replace(LOG[2], id=2), *LOG[3:]],
        STANDS,
        "the log is gapless",
    ),
    "another epoch": (with_entry(5, epoch="e2"), STANDS, "one epoch"),
    "a change that does not see the one before": (
        with_entry(5, before=json.dumps(OFF)),
        STANDS,
        "no update is lost",
    ),
    "a flag that is made twice": (with_entry(4, before=None), STANDS, "no update is lost"),
    "a flag that comes from nowhere": (with_entry(3, before=json.dumps(RULES)), STANDS, "no update is lost"),
}


@pytest.mark.parametrize(("log", "stands", "promise"), BAD_LOGS.values(), ids=BAD_LOGS)
def test_bad_logs(log: list[LogEntry], stands: dict[str, int], promise: str) -> None:
    assert promise in promises(check_log(log, stands))


# --- writes -----------------------------------------------------------------------------------------------------

ELSEWHERE = [replace(LOG[1], environment="staging", revision=1, id=10)]
"""What a change of a segment writes in a second environment."""


def test_good_writes() -> None:
    assert promises(check_writes(LOG, WRITES)) == []
    unclear = [write("w6", outcome="unknown", revision=None), *WRITES[:4], write("w5", outcome="unknown")]
    assert promises(check_writes(LOG, unclear)) == []  # once, or not at all
    both = {"environments": ("production", "staging"), "revision": None, "changed": None}
    assert promises(check_writes([*LOG, *ELSEWHERE], [WRITES[0], write("w2", **both), *WRITES[2:]])) == []
    idle = write("w7", changed=False, revision=5)
    refused = write("w8", outcome="refused", status=412, revision=None)
    unchanged = write("w9", outcome="unchanged", status=503, revision=None)
    assert promises(check_writes(LOG, [*WRITES, idle, refused, unchanged])) == []


def instead(**fields: Any) -> list[Write]:
    """The writes, the last of them with other fields."""
    return [*WRITES[:4], write("w5", **fields)]


BAD_WRITES: dict[str, tuple[list[LogEntry], list[Write], str]] = {
    "an acknowledged one is lost": (LOG, [*WRITES, write("w6")], "no acknowledged write is lost"),
    "one of many environments is acknowledged and lost": (
        LOG,
        [*WRITES, write("w6", changed=None, revision=None, environments=("production", "staging"))],
        "no acknowledged write is lost",
    ),
    "an acknowledged one is there twice": (
        [*LOG, entry(6, "a", OFF, ON, reason="w5")],
        WRITES,
        "a write is applied once",
    ),
    "one that nobody knows is there twice": (
        [*LOG, entry(6, "a", OFF, ON, reason="w5")],
        instead(outcome="unknown", revision=None),
        "a write is applied once",
    ),
    "at another revision": (LOG, instead(revision=4), "a write is where its answer says"),
    "in another environment": (
        [*LOG[:4], replace(LOG[4], environment="staging", revision=1)],
        WRITES,
        "a write stays in its environment",
    ),
    "half-applied": (
        LOG,
        [WRITES[0], write("w2", environments=("production", "staging"), outcome="unknown"), *WRITES[2:]],
        "a write is never half-applied",
    ),
    "refused and applied": (LOG, instead(outcome="refused", status=422), "what was not done is not there"),
    "said to have changed nothing, and applied": (
        LOG,
        instead(outcome="unchanged", status=503),
        "what was not done is not there",
    ),
    "said to make no difference, and logged": (LOG, instead(changed=False), "what makes no difference writes nothing"),
    "never asked for": (LOG, WRITES[:4], "nothing is written that nobody asked for"),
    "answered with 500": (LOG, instead(outcome="unknown", status=500), "the server never fails"),
    "of one name": (LOG, [*WRITES, WRITES[4]], "the test is right"),
}


@pytest.mark.parametrize(("log", "writes", "promise"), BAD_WRITES.values(), ids=BAD_WRITES)
def test_bad_writes(log: list[LogEntry], writes: list[Write], promise: str) -> None:
    assert promise in promises(check_writes(log, writes))


def test_writes_in_real_time() -> None:
    assert promises(check_real_time(WRITES)) == []
    # While they overlap, any order will do.
    overlapping = [write("w1", ended=100.0, revision=2), write("w2", revision=1)]
    assert promises(check_real_time(overlapping)) == []
    # Environments are independent of each other.
    apart = [write("w1", revision=9), write("w2", environments=("staging",), revision=1)]
    assert promises(check_real_time(apart)) == []
    # What makes no difference sees what was there before it.
    idle = [write("w1", revision=1), write("w2", changed=False, revision=1), write("w3", revision=2)]
    assert promises(check_real_time(idle)) == []


BAD_ORDERS: dict[str, list[Write]] = {
    "later and lower": [write("w1", revision=2), write("w2", revision=1)],
    "later and lower, with many between": [
        write("w1", revision=9),
        *(write(f"w{number}", revision=9 + number, began=11.0, ended=1000.0) for number in range(2, 6)),
        write("w6", revision=8),
    ],
    "later and equal": [write("w1", revision=1), write("w2", revision=1)],
    "an idle one saw too little": [write("w1", revision=7), write("w2", changed=False, revision=6)],
    "an idle one saw too much": [write("w1", changed=False, revision=7), write("w2", revision=7)],
}


@pytest.mark.parametrize("writes", BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_orders_against_real_time(writes: list[Write]) -> None:
    assert promises(check_real_time(writes)) == ["revisions follow real time"]
    assert promises(check_real_time(writes[::-1])) == ["revisions follow real time"]


# --- streams ----------------------------------------------------------------------------------------------------


def opened(since: str = "", connection: int = 1) -> Opened:
    return Opened(stream="s", environment="production", connection=connection, at=100.0, since=since)


def event(document: Snapshot | Change, **fields: Any) -> Event:
    given: dict[str, Any] = {
        "stream": "s",
        "environment": "production",
        "connection": 1,
        "at": 100.0 + document.revision,
        "id": f"{document.epoch}-{document.revision}",
        "name": "snapshot" if isinstance(document, Snapshot) else "change",
        "data": msgspec.Raw(msgspec.json.encode(document)),
    }
    return Event(**(given | fields))


def snapshot(revision: int, **fields: Any) -> Event:
    return event(LOGS["production"].snapshot(revision), **fields)


def change(since: int, revision: int, **fields: Any) -> Event:
    flags, segments = LOGS["production"].changed(since, revision)
    return event(Change(epoch=EPOCH, since=since, revision=revision, flags=flags, segments=segments), **fields)


GOODBYE = Event(
    stream="s", environment="production", connection=1, at=200.0, id="", name="goodbye", data=msgspec.Raw(b"{}")
)

GOOD_STREAMS: dict[str, list[Opened | Event]] = {
    "silent": [opened()],
    "from the beginning": [opened(), snapshot(2), change(2, 3), change(3, 4), change(4, 5), GOODBYE],
    "resumed": [opened(f"{EPOCH}-2"), change(2, 3), change(3, 4)],
    "resumed with all that has happened since": [opened(f"{EPOCH}-1"), change(1, 4), change(4, 5)],
    "resumed by a snapshot": [opened(f"{EPOCH}-1"), snapshot(4), change(4, 5)],
    "resumed at a server that is behind": [opened(f"{EPOCH}-4"), snapshot(3), change(3, 4), change(4, 5)],
    "of another epoch": [opened("e0-7"), snapshot(5)],
    "two of them, mixed": [
        opened(),
        opened(connection=2),
        snapshot(3),
        snapshot(2, connection=2),
        change(3, 4),
        change(2, 3, connection=2),
    ],
}


@pytest.mark.parametrize("records", GOOD_STREAMS.values(), ids=GOOD_STREAMS)
def test_good_streams(records: list[Opened | Event]) -> None:
    assert promises(check_streams(LOGS, records, WRITES)) == []


def altered(good: Event, alter: Callable[[Any], None], **fields: Any) -> Event:
    """An event with something else in its document."""
    document = json.loads(bytes(good.data))
    alter(document)
    return replace(good, data=msgspec.Raw(json.dumps(document).encode()), **fields)


def _switch(document: Any) -> None:
    document["flags"]["a"]["enabled"] = not document["flags"]["a"].get("enabled", False)


def _forget(document: Any) -> None:
    document["flags"].pop("a")


def _empty_segment(document: Any) -> None:
    document["segments"]["vip"]["targeting_keys"] = []


def _add(document: Any) -> None:
    document["flags"]["b"] = {"key": "b"}


BAD_STREAMS: dict[str, tuple[list[Opened | Event], str]] = {
    "a change is missing": ([opened(), snapshot(2), change(2, 3), change(4, 5)], "a stream is a path"),
    "a change is missing after resuming": ([opened(f"{EPOCH}-2"), change(3, 4)], "a stream is a path"),
    "a change comes twice": ([opened(), snapshot(2), change(2, 3), change(2, 3)], "a stream is a path"),
    "changes overlap": ([opened(), snapshot(2), change(2, 4), change(3, 5)], "a stream is a path"),
    "changes in the wrong order": ([opened(), snapshot(2), change(3, 4), change(2, 3)], "a stream is a path"),
    "what was asked for is sent again": ([opened(f"{EPOCH}-4"), change(3, 5)], "a stream is a path"),
    "it begins with a change": ([opened(), change(2, 3)], "a stream is a path"),
    "another epoch is followed by a change": ([opened("e0-2"), change(2, 3)], "a stream is a path"),
    "a snapshot in the middle": ([opened(), snapshot(2), snapshot(3)], "a stream is a path"),
    "a snapshot after resuming in the middle": (
        [opened(f"{EPOCH}-1"), change(1, 2), snapshot(2)],
        "a stream is a path",
    ),
    "a change is altered": (
        [opened(), snapshot(3), altered(change(3, 4), _switch)],
        "what is sent is what was written",
    ),
    "a change leaves something out": (
        [opened(), snapshot(3), altered(change(3, 4), _forget)],
        "what is sent is what was written",
    ),
    "a change brings something along": (
        [opened(), snapshot(3), altered(change(3, 4), _add)],
        "what is sent is what was written",
    ),
    "a change of a segment is altered": (
        [opened(f"{EPOCH}-1"), altered(change(1, 2), _empty_segment)],
        "what is sent is what was written",
    ),
    "several changes at once, and one is wrong": (
        [opened(f"{EPOCH}-1"), altered(change(1, 5), _switch)],
        "what is sent is what was written",
    ),
    "a snapshot is altered": ([opened(), altered(snapshot(4), _switch)], "what is sent is what was written"),
    "a snapshot leaves a flag out": ([opened(), altered(snapshot(4), _forget)], "what is sent is what was written"),
    "a segment of a snapshot is altered": (
        [opened(), altered(snapshot(4), _empty_segment)],
        "what is sent is what was written",
    ),
    "a revision that there never was": (
        [opened(), event(Snapshot(project="default", environment="production", epoch=EPOCH, revision=6))],
        "what is sent was committed",
    ),
    "another epoch": (
        [opened(), event(Snapshot(project="default", environment="production", epoch="e2", revision=1))],
        "one epoch",
    ),
    "an id of another revision": ([opened(), snapshot(4, id=f"{EPOCH}-5")], "an event's id is its version"),
    "before it was asked for": ([opened(), snapshot(4, at=39.0)], "nothing is seen before it is asked for"),
    "the second of two connections": (
        [opened(), snapshot(2), opened(f"{EPOCH}-2", 2), change(3, 4, connection=2)],
        "a stream is a path",
    ),
}


@pytest.mark.parametrize(("records", "promise"), BAD_STREAMS.values(), ids=BAD_STREAMS)
def test_bad_streams(records: list[Opened | Event], promise: str) -> None:
    assert promise in promises(check_streams(LOGS, records, WRITES))


# --- SDKs -------------------------------------------------------------------------------------------------------


def sample(revision: int, flag: str, variant: str | None, reason: str, user: str = "u1", **fields: Any) -> Sample:
    given: dict[str, Any] = {
        "client": "c",
        "environment": "production",
        "at": 100.0 + revision,
        "revision": revision,
        "flag": flag,
        "context": {"targeting_key": user},
        "variant": variant,
        "enabled": variant == "on",
        "value": None if variant is None else variant == "on",
        "reason": reason,
    }
    return Sample(**(given | fields))


SAMPLES = [
    sample(0, "a", None, "ERROR", error="FLAG_NOT_FOUND"),
    sample(1, "a", "off", "DISABLED"),
    sample(3, "b", "on", "TARGETING_MATCH"),
    sample(3, "b", "off", "DEFAULT", user="u2"),
    sample(4, "a", "on", "STATIC"),
    sample(4, "a", "on", "STATIC"),
    sample(5, "a", "off", "DISABLED"),
]


def test_good_samples() -> None:
    assert promises(check_samples(LOGS, SAMPLES, WRITES, ask_oracle_every=1)) == []
    assert promises(check_no_way_back(SAMPLES)) == []
    # Each for itself.
    assert promises(check_no_way_back([*SAMPLES, replace(SAMPLES[0], client="d")])) == []


BAD_SAMPLES: dict[str, tuple[Sample, str]] = {
    "the value of the revision before": (sample(4, "a", "off", "DISABLED"), "every answer is right"),
    "the value of the revision after": (sample(3, "a", "on", "STATIC"), "every answer is right"),
    "another variant": (sample(3, "b", "on", "TARGETING_MATCH", user="u2"), "every answer is right"),
    "another value": (sample(4, "a", "on", "STATIC", value=False), "every answer is right"),
    "enabled or not": (sample(4, "a", "on", "STATIC", enabled=False), "every answer is right"),
    "another reason": (sample(4, "a", "on", "TARGETING_MATCH"), "every answer is right"),
    "a default for a flag that there is": (sample(4, "a", None, "ERROR"), "every answer is right"),
    "a flag that there is not yet": (sample(2, "b", "on", "STATIC"), "every answer is right"),
    "a revision that there never was": (sample(6, "a", "on", "STATIC"), "what is evaluated was committed"),
    "before it was asked for": (sample(4, "a", "on", "STATIC", at=39.0), "nothing is seen before it is asked for"),
}


@pytest.mark.parametrize(("bad", "promise"), BAD_SAMPLES.values(), ids=BAD_SAMPLES)
def test_bad_samples(bad: Sample, promise: str) -> None:
    assert promises(check_samples(LOGS, [*SAMPLES, bad], WRITES)) == [promise]


def test_the_second_evaluator_is_asked() -> None:
    logs = by_environment(LOG)
    logs["production"]._flag_sets[4] = logs["production"].flag_set(5)  # as if the SDK's own were wrong
    bad = sample(4, "a", "off", "DISABLED")
    assert promises(check_samples(logs, [bad], WRITES, ask_oracle_every=1)) == ["every answer is right"]


def test_a_way_back() -> None:
    back = [SAMPLES[4], replace(SAMPLES[0], client="d"), SAMPLES[2]]
    assert promises(check_no_way_back(back)) == ["an SDK never goes back"]


def counts(**per_variant: int) -> list[Count]:
    """Of the flag ``a``."""
    return [
        Count(environment="production", flag="a", variant=variant, count=count)
        for variant, count in per_variant.items()
    ]


KILLED = [replace(one, client="killed/changes") for one in SAMPLES if one.flag == "a"]
OF_B = [replace(one, flag="b") for one in counts(on=1, off=1)]


@pytest.mark.parametrize(
    "reported",
    [
        counts(on=2, off=2),
        counts(on=4, off=4),  # what the killed one served, too
        counts(on=5, off=3),  # and something that it could not record
        [*counts(on=2, off=2), Count(environment="production", flag="a", variant="", count=7)],  # unknown flags
    ],
)
def test_good_counts(reported: list[Count]) -> None:
    assert promises(check_counts([*reported, *OF_B], [*SAMPLES, *KILLED], ["c"], 1)) == []


@pytest.mark.parametrize(
    "reported",
    [
        counts(on=1, off=2),  # lost
        counts(on=6, off=2),  # doubled
        counts(on=2, off=2, blue=2),  # made up
        counts(on=2),
        [replace(one, environment="staging") for one in counts(on=2)] + counts(on=2, off=2),
    ],
)
def test_bad_counts(reported: list[Count]) -> None:
    assert promises(check_counts([*reported, *OF_B], [*SAMPLES, *KILLED], ["c"], 1)) == ["answers are counted once"]


def test_arrival() -> None:
    there = Reached(follower="c", environment="production", at=1.0, wanted=5, revision=5)
    assert promises(check_arrival([there, replace(there, revision=6)])) == []
    assert promises(check_arrival([there, replace(there, revision=4)])) == ["everybody arrives without help"]


# --- servers ----------------------------------------------------------------------------------------------------

SECRET = "fader_0123456789"
FINE = '{"event": "listening", "level": "info"}\n{"event": "request", "level": "info", "status": 503}\n'


def test_a_server_without_failures() -> None:
    assert promises(check_server_log("one", FINE, [SECRET])) == []
    assert promises(check_memory("one", 80, 99, 100)) == []


BAD_LINES = {
    "a secret": ('{"event": "asked with fader_0123456789", "level": "info"}', "secrets stay secret"),
    "an error": ('{"event": "request 1 failed", "level": "error"}', "the server never fails"),
    "an answer with 500": ('{"event": "request", "level": "info", "status": 500}', "the server never fails"),
    "an exception": ('{"event": "oh", "level": "warning", "exception": [{}]}', "the server never fails"),
    "a bare traceback": ("Traceback (most recent call last):", "servers log JSON"),
}


@pytest.mark.parametrize(("line", "promise"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_server_logs(line: str, promise: str) -> None:
    assert promises(check_server_log("one", f"{FINE}{line}\n{FINE}", [SECRET])) == [promise]


def test_a_server_that_grows() -> None:
    assert promises(check_memory("one", 80, 101, 100)) == ["memory is bounded"]
