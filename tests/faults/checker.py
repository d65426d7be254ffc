"""Whether a history is one that can have happened if the service does what it promises: pure functions.

Each check takes what was recorded and gives what is wrong with it. The truth that everything is held against is the
log of changes as the database has it at the end, and the first thing that is checked is that log itself. The idea is
Jepsen's (https://jepsen.io): cause trouble, write down who saw what and when, and think afterwards.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from fader import Context
from fader.model import TARGETING_KEY, Change, Flag, Segment, Snapshot
from fader.snapshot import FlagSet
from faults.history import Count, Event, LogEntry, Opened, Reached, Record, Sample, Write, records_of
from oracle import Oracle


class Violation(Struct, frozen=True):
    """A promise that was broken.

    Args:
        promise: Which one, in a few words that are always the same.
        what: How.
        evidence: The records that show it.
    """

    promise: str
    what: str
    evidence: tuple[Any, ...] = ()

    def __str__(self) -> str:
        shown = "".join(f"\n    {str(one)[:2_000]}" for one in self.evidence)
        return f"{self.promise}: {self.what}{shown}"


class EnvironmentLog:
    """What the log says of one environment: its state at every revision.

    Args:
        environment: Its key.
        entries: Its part of the log, in order and without gaps.
    """

    def __init__(self, environment: str, entries: Sequence[LogEntry]) -> None:
        self.environment = environment
        self.entries = entries
        self.epoch = entries[0].epoch if entries else ""
        self._flag_sets: dict[int, FlagSet] = {}
        self._oracles: dict[int, Oracle] = {}

    @property
    def last(self) -> int:
        """The newest revision."""
        return len(self.entries)

    @cached_property
    def _states(self) -> list[tuple[dict[str, Flag], dict[str, Segment]]]:
        # By revision. Built here from what was logged, and not by what SDKs and servers apply changes with.
        flags: dict[str, Flag] = {}
        segments: dict[str, Segment] = {}
        states = [(flags, segments)]
        for entry in self.entries:
            if entry.kind == "flag":
                flags = _with(flags, entry.key, _flag(entry))
            elif entry.kind == "segment":
                segments = _with(segments, entry.key, _segment(entry))
            states.append((flags, segments))
        return states

    def has(self, revision: int) -> bool:
        """Whether there has been such a revision; 0 is the empty environment."""
        return 0 <= revision <= self.last

    def state(self, revision: int) -> tuple[dict[str, Flag], dict[str, Segment]]:
        """Flags and segments at a revision, by key."""
        return self._states[revision]

    def snapshot(self, revision: int) -> Snapshot:
        """The same as SDKs get it."""
        flags, segments = self.state(revision)
        return Snapshot(
            project="default",
            environment=self.environment,
            epoch=self.epoch,
            revision=revision,
            flags=flags,
            segments=segments,
        )

    def changed(self, since: int, until: int) -> tuple[dict[str, Flag | None], dict[str, Segment | None]]:
        """What the changes after one revision, up to another one, are about, and how it is after them."""
        flags, segments = self.state(until)
        about = [(entry.kind, entry.key) for entry in self.entries[since:until]]
        return (
            {key: flags.get(key) for kind, key in about if kind == "flag"},
            {key: segments.get(key) for kind, key in about if kind == "segment"},
        )

    def flag_set(self, revision: int) -> FlagSet:
        """The SDK's own evaluator at a revision."""
        if revision not in self._flag_sets:
            self._flag_sets[revision] = FlagSet(self.snapshot(revision))
        return self._flag_sets[revision]

    def oracle(self, revision: int) -> Oracle:
        """The tests' own evaluator at a revision."""
        if revision not in self._oracles:
            self._oracles[revision] = Oracle(*self.state(revision), environment=self.environment)
        return self._oracles[revision]


def _with(held: dict[str, Any], key: str, new: Any) -> dict[str, Any]:
    return {name: value for name, value in held.items() if name != key} | ({} if new is None else {key: new})


def _flag(entry: LogEntry) -> Flag | None:
    if entry.after is None or json.loads(entry.after).get("archived"):
        return None
    return msgspec.json.decode(entry.after, type=Flag)


def _segment(entry: LogEntry) -> Segment | None:
    return None if entry.after is None else msgspec.json.decode(entry.after, type=Segment)


def by_environment(entries: Iterable[LogEntry]) -> dict[str, EnvironmentLog]:
    """The log, environment by environment. Only worth asking if ``check_log`` has found nothing."""
    parts: dict[str, list[LogEntry]] = defaultdict(list)
    for entry in entries:
        parts[entry.environment].append(entry)
    return {
        environment: EnvironmentLog(environment, sorted(part, key=lambda entry: entry.revision))
        for environment, part in parts.items()
    }


def check_history(
    entries: Sequence[LogEntry], revisions: Mapping[str, int], history: Iterable[Record]
) -> list[Violation]:
    """Everything that a history can be held against.

    Args:
        entries: The log.
        revisions: What each environment says that it is at.
        history: What everybody saw; the records of each of them in their order.
    """
    history = list(history)
    writes, samples = records_of(Write, history), records_of(Sample, history)
    found = [
        *check_log(entries, revisions),
        *check_writes(entries, writes),
        *check_real_time(writes),
        *check_no_way_back(samples),
    ]
    if found:
        return found  # what was seen cannot be compared with a log that is wrong itself
    logs = by_environment(entries)
    streams = [record for record in history if isinstance(record, Opened | Event)]
    return [
        *check_streams(logs, streams, writes),
        *check_samples(logs, samples, writes),
        *check_arrival(records_of(Reached, history)),
    ]


# --- the log ----------------------------------------------------------------------------------------------------


def check_log(entries: Sequence[LogEntry], revisions: Mapping[str, int]) -> Iterator[Violation]:
    """Each environment's revisions begin at 1, have no gaps and no doubles, were written in their order, and end where
    the environment says that it is; and each change begins with what the one before has left.

    Args:
        entries: The log.
        revisions: What each environment says that it is at.
    """
    parts: dict[str, list[LogEntry]] = {environment: [] for environment in revisions}
    for entry in sorted(entries, key=lambda entry: entry.id):
        parts.setdefault(entry.environment, []).append(entry)
    for environment, part in parts.items():
        yield from _check_revisions(environment, part, revisions.get(environment))
        yield from _check_chain(part)


def _check_revisions(environment: str, part: list[LogEntry], stands_at: int | None) -> Iterator[Violation]:
    if len({entry.epoch for entry in part}) > 1:
        yield Violation("one epoch", f"{environment} has changed its epoch, which nobody asked for", tuple(part[-1:]))
    for place, entry in enumerate(part, start=1):
        if entry.revision != place:
            kind = "the log is gapless" if entry.revision > place else "the log is in order, and nothing in it twice"
            yield Violation(kind, f"in {environment} revision {entry.revision} stands where {place} should", (entry,))
            return
    if stands_at != len(part):
        yield Violation(
            "the log is gapless", f"{environment} is at revision {stands_at}, and its log ends at {len(part)}"
        )


def _check_chain(part: list[LogEntry]) -> Iterator[Violation]:
    newest: dict[tuple[str, str], LogEntry] = {}
    for entry in part:
        earlier = newest.get((entry.kind, entry.key))
        left = None if earlier is None else earlier.after
        if _document(left) != _document(entry.before):
            yield Violation(
                "no update is lost",
                f"revision {entry.revision} of {entry.environment} does not begin with what the one before has left",
                (entry,) if earlier is None else (earlier, entry),
            )
        newest[entry.kind, entry.key] = entry


def _document(text: str | None) -> Any:
    return None if text is None else json.loads(text)


# --- writes -----------------------------------------------------------------------------------------------------


def check_writes(entries: Iterable[LogEntry], writes: Sequence[Write]) -> Iterator[Violation]:
    """What was acknowledged is in the log once, where the answer says; what was refused is not in it; what nobody knows
    is in it once or not at all, and in all of its environments or in none."""
    logged: dict[str, list[LogEntry]] = defaultdict(list)
    for entry in entries:
        logged[entry.reason].append(entry)
    for reason, count in Counter(write.reason for write in writes).items():
        if count > 1:
            yield Violation("the test is right", f"{count} writes have the reason {reason!r}")
    known = {write.reason for write in writes}
    for reason, found in logged.items():
        if reason not in known:
            yield Violation("nothing is written that nobody asked for", f"nobody gave the reason {reason!r}", (*found,))
    for write in writes:
        yield from _check_write(write, logged[write.reason])


def _check_write(write: Write, found: list[LogEntry]) -> Iterator[Violation]:
    evidence = (write, *found)
    if write.status is not None and write.status >= 500 and write.status != 503:
        yield Violation("the server never fails", f"it answered with {write.status}", (write,))
    for environment, count in Counter(entry.environment for entry in found).items():
        if count > 1:
            yield Violation("a write is applied once", f"it is in the log of {environment} {count} times", evidence)
        if environment not in write.environments:
            yield Violation("a write stays in its environment", f"it is in the log of {environment}", evidence)
    if found and {entry.environment for entry in found} < set(write.environments):
        yield Violation("a write is never half-applied", "it is in the logs of some of its environments", evidence)
    if write.outcome in ("refused", "unchanged") and found:
        yield Violation("what was not done is not there", f"it was {write.outcome}, and is in the log", evidence)
    if write.outcome == "done":
        yield from _check_acknowledged(write, found)


def _check_acknowledged(write: Write, found: list[LogEntry]) -> Iterator[Violation]:
    evidence = (write, *found)
    if write.changed is False:
        if found:
            yield Violation("what makes no difference writes nothing", "it is in the log all the same", evidence)
    elif not found:
        yield Violation("no acknowledged write is lost", "it is not in the log", evidence)
    elif write.revision is not None and write.revision not in {entry.revision for entry in found}:
        yield Violation("a write is where its answer says", f"and not at revision {write.revision}", evidence)


def check_real_time(writes: Iterable[Write]) -> Iterator[Violation]:
    """A write that began after another one was acknowledged has the higher revision; one that made no difference saw at
    least what had been acknowledged before, and nothing that began after it."""
    answered: dict[str, list[Write]] = defaultdict(list)
    for write in writes:
        if write.outcome == "done" and write.revision is not None:
            answered[write.environments[0]].append(write)
    for environment, part in answered.items():
        yield from _check_real_time(environment, part)


def _check_real_time(environment: str, writes: list[Write]) -> Iterator[Violation]:
    # Sweeping over time: of all that were acknowledged before one began, only the newest matters.
    newest: Write | None = None
    ended = sorted((write for write in writes if write.changed), key=lambda write: write.ended)
    position = 0
    for write in sorted(writes, key=lambda write: write.began):
        while position < len(ended) and ended[position].ended < write.began:
            if newest is None or _revision(newest) < _revision(ended[position]):
                newest = ended[position]
            position += 1
        if newest is None:
            continue
        is_after = _revision(write) > _revision(newest) if write.changed else _revision(write) >= _revision(newest)
        if not is_after:
            yield Violation(
                "revisions follow real time",
                f"in {environment}, a write began after another was acknowledged, and came before it",
                (newest, write),
            )
    # And a write that made no difference must not have seen what began later.
    oldest: Write | None = None
    began = sorted((write for write in writes if write.changed), key=lambda write: -write.began)
    position = 0
    for write in sorted((write for write in writes if not write.changed), key=lambda write: -write.ended):
        while position < len(began) and began[position].began > write.ended:
            if oldest is None or _revision(began[position]) < _revision(oldest):
                oldest = began[position]
            position += 1
        if oldest is not None and _revision(write) >= _revision(oldest):
            yield Violation(
                "revisions follow real time",
                f"in {environment}, a write saw another that began only after it was answered",
                (write, oldest),
            )


def _revision(write: Write) -> int:
    return -1 if write.revision is None else write.revision


# --- streams ----------------------------------------------------------------------------------------------------


def check_streams(
    logs: Mapping[str, EnvironmentLog], connections: Iterable[Opened | Event], writes: Iterable[Write] = ()
) -> Iterator[Violation]:
    """Each connection brings a path without gaps and doubles, from where it was asked to begin (or from a snapshot),
    and each step of it is what the log says.

    Args:
        logs: By environment.
        connections: What the streams recorded, each in its order.
        writes: When they began, nothing of them can have been seen before.
    """
    began = {write.reason: write.began for write in writes}
    parts: dict[tuple[str, int], list[Opened | Event]] = defaultdict(list)
    for record in connections:
        parts[record.stream, record.connection].append(record)
    for opened, *events in parts.values():
        assert isinstance(opened, Opened)
        yield from _check_connection(logs[opened.environment], opened, events, began)


def _check_connection(
    log: EnvironmentLog, opened: Opened, events: Sequence[Opened | Event], began: Mapping[str, float]
) -> Iterator[Violation]:
    asked_for = _version(opened.since)
    stands_at = asked_for[1] if asked_for and asked_for[0] == log.epoch else None
    before: Opened | Event = opened
    for event in events:
        assert isinstance(event, Event)
        if event.name == "goodbye":
            continue
        document = msgspec.json.decode(event.data, type=Snapshot if event.name == "snapshot" else Change)
        if event.id != f"{document.epoch}-{document.revision}":
            yield Violation("an event's id is its version", f"{event.id} at revision {document.revision}", (event,))
        if document.epoch != log.epoch:
            yield Violation("one epoch", f"{event.stream} saw the epoch {document.epoch!r}", (event,))
            return
        if not log.has(document.revision):
            yield Violation("what is sent was committed", f"there is no revision {document.revision}", (event,))
            return
        yield from _check_not_early(log, event, document.revision, began)
        if isinstance(document, Change):
            yield from _check_step(log, stands_at, document, (before, event))
        else:
            if before is not opened:
                yield Violation("a stream is a path", "a snapshot came where only a change may", (before, event))
            if (document.flags, document.segments) != log.state(document.revision):
                yield Violation("what is sent is what was written", "a snapshot differs from the log", (event,))
        stands_at, before = document.revision, event


def _check_step(
    log: EnvironmentLog, stands_at: int | None, change: Change, evidence: tuple[Opened | Event, Event]
) -> Iterator[Violation]:
    if stands_at is None:
        yield Violation("a stream is a path", "a change came where only a snapshot may", evidence)
    elif change.since != stands_at or change.revision <= stands_at:
        way = f"from {stands_at} it went on with the change from {change.since} to {change.revision}"
        yield Violation("a stream is a path", way, evidence)
    is_step = 0 <= change.since < change.revision
    if is_step and (change.flags, change.segments) != log.changed(change.since, change.revision):
        yield Violation("what is sent is what was written", "a change differs from the log", evidence)


def _version(text: str) -> tuple[str, int] | None:
    epoch, dash, revision = text.rpartition("-")
    return (epoch, int(revision)) if dash and revision.isdigit() else None


def _check_not_early(
    log: EnvironmentLog, seen: Event | Sample, revision: int, began: Mapping[str, float]
) -> Iterator[Violation]:
    if revision == 0:
        return
    entry = log.entries[revision - 1]
    if began.get(entry.reason, seen.at) > seen.at:
        yield Violation("nothing is seen before it is asked for", f"revision {revision}", (seen, entry))


# --- SDKs -------------------------------------------------------------------------------------------------------


def check_samples(
    logs: Mapping[str, EnvironmentLog],
    samples: Iterable[Sample],
    writes: Iterable[Write] = (),
    *,
    ask_oracle_every: int = 5,
) -> Iterator[Violation]:
    """Each answer of an SDK is the one that its flag gives at the revision that it says.

    Args:
        logs: By environment.
        samples: In any order.
        writes: When they began, nothing of them can have been seen before.
        ask_oracle_every: Of so many samples, one is held against the slow evaluator as well.
    """
    began = {write.reason: write.began for write in writes}
    for position, sample in enumerate(samples):
        log = logs[sample.environment]
        if not log.has(sample.revision):
            yield Violation("what is evaluated was committed", f"there is no revision {sample.revision}", (sample,))
            continue
        yield from _check_not_early(log, sample, sample.revision, began)
        attributes = {name: value for name, value in sample.context.items() if name != TARGETING_KEY}
        context = Context(sample.context.get(TARGETING_KEY), **attributes)
        right = log.flag_set(sample.revision).details(sample.flag, context, None)
        found = (sample.variant, sample.enabled, sample.value, sample.reason)
        if found != (right.variant, right.enabled, right.value, str(right.reason)):
            yield Violation("every answer is right", "it differs from the log's at its revision", (sample, right))
        elif position % ask_oracle_every == 0:
            outcomes = log.oracle(sample.revision).outcomes(sample.flag, sample.context)
            if found[:2] not in {(outcome.variant, outcome.enabled) for outcome in outcomes}:
                yield Violation("every answer is right", "a second evaluator answers otherwise", (sample, outcomes))


def check_no_way_back(samples: Iterable[Sample]) -> Iterator[Violation]:
    """The revisions at which one SDK evaluates never fall.

    Args:
        samples: Those of each client in the order in which they were taken.
    """
    clients: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        clients[sample.client].append(sample)
    for client, part in clients.items():
        for earlier, later in pairwise(part):
            if later.revision < earlier.revision:
                yield Violation(
                    "an SDK never goes back",
                    f"{client} went from {earlier.revision} to {later.revision}",
                    (earlier, later),
                )


def check_counts(
    counts: Iterable[Count], samples: Iterable[Sample], survivors: Iterable[str], kills: int
) -> Iterator[Violation]:
    """What SDKs have counted is counted once: all of it of those that could report to their end, and nothing that never
    was.

    Args:
        counts: What the servers have added up.
        samples: Every answer there was.
        survivors: The clients that came to an orderly end.
        kills: How many processes did not. Each may have counted an answer that it could not record any more.
    """
    alive = frozenset(survivors)
    most, least = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for sample in samples:
        if sample.variant is not None:
            place = sample.environment, sample.flag, sample.variant
            most[place] += 1
            least[place] += sample.client.partition("/")[0] in alive
    told = Counter({(one.environment, one.flag, one.variant): one.count for one in counts if one.variant})
    for place in most | told:
        if not least[place] <= told[place] <= most[place] + kills:
            what = f"{place} was served {least[place]} to {most[place]} times, and {told[place]} are counted"
            yield Violation("answers are counted once", what)


def check_arrival(followers: Iterable[Reached]) -> Iterator[Violation]:
    """Everybody has come as far as they should have."""
    for follower in followers:
        if follower.revision < follower.wanted:
            what = f"{follower.follower} is at {follower.revision}, and not at {follower.wanted}"
            yield Violation("everybody arrives without help", what, (follower,))


# --- servers ----------------------------------------------------------------------------------------------------

_FAILURES = frozenset({"error", "critical"})
_NO_FAILURE = "timeout graceful shutdown exceeded"
"""What uvicorn calls an error: at the end there was still somebody who did not read what was sent."""


def check_server_log(server: str, text: str, secrets: Iterable[str]) -> Iterator[Violation]:
    """What a server logs is JSON, tells of no failure of its own, and gives no secret away.

    Args:
        server: Its name.
        text: All of its output.
        secrets: What must not be in it.
    """
    for secret in secrets:
        if secret in text:
            yield Violation("secrets stay secret", f"{server} logs one that begins with {secret[:6]!r}")
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            yield Violation("servers log JSON", f"{server} wrote a line that is none", (line,))
            continue
        if _NO_FAILURE in said.get("event", ""):
            continue
        if said.get("level") in _FAILURES or "exception" in said or said.get("status") == 500:
            yield Violation("the server never fails", f"{server} logs a failure", (line,))


def check_memory(server: str, before: int, after: int, allowed: int) -> Iterator[Violation]:
    """A server's memory stays within bounds, in bytes."""
    if after > allowed:
        yield Violation("memory is bounded", f"{server} has {after / 1e6:.0f} MB, after {before / 1e6:.0f} MB at first")
