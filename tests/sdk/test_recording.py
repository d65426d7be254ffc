"""What applications record: each user once in a step, on the side where they are, without a word of who they are."""

import gc
import json
import signal
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from fader import Context
from fader.model import Flag, Guard, Rollout, Rule, Snapshot
from fader.outcomes import Outcomes, Sums
from fader.recording import OutcomeReports
from fader.testing import InMemoryClient, isolated

RULE = Rule(id="ramped", rollout=Rollout(percentage=50))
CHECKOUT = Flag(key="new-checkout", enabled=True, rules=(RULE,))
KEY, OTHER_KEY = "00" * 16, "11" * 16
ERRORS = Guard(id="ramp.1.errors", metric="checkout", hash_key=KEY, rule="ramped")
SLOW = Guard(id="ramp.1.slow", metric="checkout", hash_key=KEY, rule="ramped", slower_than_ms=800.0)
USERS = [f"user-{number}" for number in range(200)]


class Recording(InMemoryClient):
    """A client whose guards the test decides."""

    __slots__ = ("_epochs",)

    def __init__(self, *guards: Guard) -> None:
        self._epochs = count()
        super().__init__()
        self.watch(*guards)

    def watch(self, *guards: Guard, flag: Flag = CHECKOUT) -> None:
        self._runtime.holder.receive(
            Snapshot(
                project="p",
                environment="e",
                epoch=f"epoch{next(self._epochs)}",
                revision=1,
                flags={flag.key: flag},
                guards={flag.key: guards},
            )
        )

    def taken(self, guard: Guard = ERRORS) -> Outcomes:
        """What has come for a guard since the last time."""
        return self._runtime.recorder.take().get(guard.id, Outcomes())


def treated(client: Recording) -> list[str]:
    return [user for user in USERS if client.is_enabled("new-checkout", user)]


def test_each_user_is_counted_once_on_their_side() -> None:
    client = Recording(ERRORS)
    for _ in range(3):
        for user in USERS:
            client.record("checkout", user)
    taken, let_in = client.taken(), len(treated(client))
    assert 0 < let_in < len(USERS)
    assert taken.treatment.counts() == (let_in, 0)
    assert taken.control.counts() == (len(USERS) - let_in, 0)


def test_who_failed_once_has_failed() -> None:
    client = Recording(ERRORS)
    first, second, *others = treated(client)
    for user in (first, second):
        client.record("checkout", user)
        client.record("checkout", user, failed=True)
        client.record("checkout", user)
    client.record("checkout", others[0])
    assert client.taken().treatment.counts() == (3, 2)


def test_thousands_of_users_are_counted_closely() -> None:
    client = Recording(ERRORS)
    for number in range(10_000):
        client.record("checkout", f"user-{number}", failed=number % 10 == 0)
    taken = client.taken()
    exposed = [arm.counts()[0] for arm in (taken.treatment, taken.control)]
    failed = [arm.counts()[1] for arm in (taken.treatment, taken.control)]
    assert exposed == pytest.approx([5_000, 5_000], rel=0.07)
    assert failed == pytest.approx([500, 500], rel=0.15)


def test_finding_the_side_counts_no_usage() -> None:
    client = Recording(ERRORS)
    client.record("checkout", "ada")
    assert client._runtime.counters.flags() == {}


def test_what_nobody_watches_is_not_recorded() -> None:
    client = Recording(ERRORS)
    client.record("another", "ada")
    assert client.taken() == Outcomes()
    client.watch()
    client.record("checkout", "ada")
    assert client.taken() == Outcomes()


def test_what_is_too_slow_has_failed_where_latency_is_watched() -> None:
    client = Recording(ERRORS, SLOW)
    quick, slow, unknown, *_ = treated(client)
    client.record("checkout", quick, value=799.0)
    client.record("checkout", slow, value=801.0)
    client.record("checkout", unknown, failed=True)
    taken = client._runtime.recorder.take()
    assert taken[ERRORS.id].treatment.counts() == (3, 1)
    assert taken[SLOW.id].treatment.counts() == (2, 1)


def test_how_long_it_took_is_kept_where_latency_is_watched() -> None:
    client = Recording(ERRORS, SLOW)
    user, *_ = treated(client)
    for took in (20.0, 20.0, 900.0):
        client.record("checkout", user, value=took)
    client.record("checkout", user)
    taken = client._runtime.recorder.take()
    assert taken[SLOW.id].treatment.durations.count == 3
    assert taken[SLOW.id].treatment.durations.within(0.5) == pytest.approx(20, rel=0.05)
    assert not taken[SLOW.id].control.durations
    assert not taken[ERRORS.id].treatment.durations
    client.record("checkout", user, value=1.0)
    assert client.taken(SLOW).treatment.durations.count == 1


def test_while_it_is_not_known_what_is_slow_nobody_fails() -> None:
    learning = msgspec.structs.replace(SLOW, slower_than_ms=None, timed=True)
    client = Recording(learning)
    user, other, *_ = treated(client)
    client.record("checkout", user, value=1e9)
    client.record("checkout", other, failed=True)
    taken = client.taken(learning).treatment
    assert taken.counts() == (1, 0)
    assert taken.durations.count == 1


def test_values_are_summed_up() -> None:
    client = Recording(ERRORS)
    user, *_ = treated(client)
    for value in (1, 2.5, 4):
        client.record("checkout", user, value=value)
    assert client.taken().treatment.sums == Sums(count=3, total=7.5, squares=23.25)
    client.record("checkout", user, value=3)
    assert client.taken().treatment.sums == Sums(count=1, total=3.0, squares=9.0)


@pytest.mark.parametrize("value", ["many", float("nan"), float("inf"), 10**400, [1]])
def test_a_value_that_is_none_is_not_recorded_and_said_once(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = Recording(ERRORS)
    for _ in range(3):
        client.record("checkout", "ada", value=value)
    assert client.taken() == Outcomes()
    (line,) = caplog.messages
    assert line == "an outcome of 'checkout' is not recorded: a value has to be a finite number"


def test_what_is_no_context_is_said_and_nothing_raised(caplog: pytest.LogCaptureFixture) -> None:
    client = Recording(ERRORS)
    client.record("checkout", {"user": "ada"})  # type: ignore[arg-type]
    assert client.taken() == Outcomes()
    assert "a context is a Context" in caplog.text
    assert "ada" not in caplog.text


def test_outcomes_of_nobody_have_no_side() -> None:
    client = Recording(ERRORS)
    client.record("checkout")
    client.record("checkout", Context(country="DE"), failed=True)
    assert client.taken() == Outcomes(of_nobody=2)


def test_every_step_counts_anew_and_hashes_otherwise() -> None:
    client = Recording(ERRORS)
    user, *_ = treated(client)
    client.record("checkout", user)
    later = Guard(id="ramp.2.errors", metric="checkout", hash_key=OTHER_KEY, rule="ramped")
    client.watch(later)
    client.record("checkout", user)
    taken = client._runtime.recorder.take()
    first, second = taken[ERRORS.id].treatment, taken[later.id].treatment
    assert first.counts() == second.counts() == (1, 0)
    assert first.exposed != second.exposed
    assert client._runtime.recorder.take() == {}


def test_processes_hash_alike_so_that_a_user_of_several_is_counted_once() -> None:
    here, there = Recording(ERRORS), Recording(ERRORS)
    for client in (here, there):
        for user in USERS:
            client.record("checkout", user)
    assert here.taken() == there.taken()


def test_a_change_of_flags_interrupts_no_guard() -> None:
    client = Recording(ERRORS)
    user, *_ = treated(client)
    client.record("checkout", user)
    client.set("another", True)
    client.watch(ERRORS, flag=Flag(key="new-checkout", enabled=True, rules=(Rule(id="ramped"),)))
    client.record("checkout", next(each for each in USERS if each != user))
    assert client.taken().treatment.counts() == (2, 0)


def test_tests_record_nothing() -> None:
    client = Recording(ERRORS)
    with isolated({"new-checkout": True}, client=client):
        client.record("checkout", "ada")
    with client.override("new-checkout", True):
        client.record("checkout", "ada")
    assert client.taken() == Outcomes()


def test_a_key_of_any_form_will_do() -> None:
    for key in ("", "no hexadecimal", "0" * 1_000, "ø"):
        client = Recording(Guard(id=ERRORS.id, metric="checkout", hash_key=key, rule="ramped"))
        client.record("checkout", treated(client)[0])
        assert client.taken().treatment.counts() == (1, 0)


# --- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_does_not_say_who() -> None:
    client = Recording(ERRORS)
    client.record("checkout", Context("user-ada", email="ada@example.com", session_id="s-secret"), failed=True)
    report = OutcomeReports(client._runtime.recorder, "web-1:42:abc", "shop").next_report()
    assert report is not None
    said = json.loads(report)
    assert set(said) == {"id", "instance", "app", "guards"}
    assert (said["instance"], said["app"], list(said["guards"])) == ("web-1:42:abc", "shop", [ERRORS.id])
    for secret in (b"ada", b"secret", KEY.encode()):
        assert secret not in report


def test_many_guards_are_reported_in_several_reports() -> None:
    guards = [Guard(id=f"ramp.1.{number}", metric="checkout", hash_key=KEY, rule="ramped") for number in range(70)]
    client = Recording(*guards)
    client.record("checkout", "ada")
    reports = OutcomeReports(client._runtime.recorder, "web-1", "")
    said = [json.loads(report) for report in iter(reports.next_report, None)]
    assert len(said) == 3
    assert sorted(id_ for each in said for id_ in each["guards"]) == sorted(guard.id for guard in guards)
    assert len({each["id"] for each in said}) == 3


# --- many at once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads that take turns a thousand times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(work: Callable[[int], None], number: int = 4) -> None:
    threads = [threading.Thread(target=work, args=(each,)) for each in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("impatient")
def test_threads_lose_nobody() -> None:
    client = Recording(ERRORS)
    taken: list[Outcomes] = []
    done = threading.Event()

    def report() -> None:
        while not done.is_set():
            taken.append(client.taken())

    reporter = threading.Thread(target=report)
    reporter.start()
    in_threads(lambda each: [client.record("checkout", f"user-{each}-{n}") for n in range(80)] and None)
    done.set()
    reporter.join()
    whole = client.taken()
    for part in taken:
        whole = whole.merged(part)
    assert sum(arm.counts()[0] for arm in (whole.treatment, whole.control)) == 320


def test_a_signal_handler_may_record() -> None:
    client = Recording(ERRORS)
    tally = client._runtime.recorder._tallies[ERRORS.id]
    before = signal.signal(signal.SIGUSR1, lambda *_: [client.record("checkout", user) for user in USERS * 3] and None)
    try:
        with tally._lock:  # what the handler interrupts is just putting entries into sketches
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    taken = client.taken()
    assert taken.treatment.counts()[0] + taken.control.counts()[0] == len(USERS)


def test_memory_is_bounded() -> None:
    client = Recording(
        *(Guard(id=f"ramp.1.{number}", metric=f"metric-{number}", hash_key=KEY, rule="ramped") for number in range(8))
    )
    gc.collect()
    tracemalloc.start()
    for user in range(2_500):
        for metric in range(8):
            client.record(f"metric-{metric}", f"user-{user}", failed=user % 2 == 0, value=1.0)
    unconfirmed = OutcomeReports(client._runtime.recorder, "web-1", "").next_report()
    for user in range(2_500):
        for metric in range(8):
            client.record(f"metric-{metric}", f"user-{user}", failed=user % 2 == 0, value=1.0)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert unconfirmed
    assert size / 8 < 64 * 1024


def test_who_never_gets_to_sketching_does_not_fill_the_memory() -> None:
    client = Recording(ERRORS)
    tally = client._runtime.recorder._tallies[ERRORS.id]
    with tally._lock:
        for user in range(5_000):
            client.record("checkout", f"user-{user}")
        assert max(map(len, tally._waiting)) < 600
