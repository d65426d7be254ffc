"""Guards that ask Prometheus: a real one, that scrapes a real application."""

import asyncio
import itertools
import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from fader_server.outgoing import Outgoing, Reply
from fader_server.ramping.prometheus import Prometheus, value_in
from fader_server.ramps.plan import Plan, PrometheusGuard, Step
from fader_server.ramps.progress import Progress
from fader_server.storage.records import Ramp
from processes import PATIENCE, ServerProcess, running_server, wait_for
from services.http_receiver import Answering, Receiver, http_receiver
from services.postgres import free_port
from services.prometheus import running_prometheus

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
ERRORS = 'sum(rate(shop_requests_total{status="500"}[2s])) / sum(rate(shop_requests_total[2s]))'
_numbers = itertools.count()


class Shop:
    """An application with requests, of which a share fails."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.failing = 0
        """Of ten requests."""
        self._ends = threading.Event()
        registry = CollectorRegistry()
        self._requests = Counter("shop_requests", "Requests.", ["status"], registry=registry)
        self._server, self._serving = start_http_server(port, "127.0.0.1", registry)
        self._selling = threading.Thread(target=self._sell)
        self._selling.start()

    def _sell(self) -> None:
        while not self._ends.wait(0.05):
            self._requests.labels("500").inc(self.failing)
            self._requests.labels("200").inc(10 - self.failing)

    def close(self) -> None:
        self._ends.set()
        self._selling.join()
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()


@contextmanager
def shop() -> Iterator[Shop]:
    running = Shop(free_port())
    try:
        yield running
    finally:
        running.close()


def scraping(application: Shop) -> dict[str, Any]:
    targets = [{"targets": [f"127.0.0.1:{application.port}"]}]
    jobs = [{"job_name": "shop", "static_configs": targets}]
    return {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": jobs}


def begun(server: ServerProcess, query: str = ERRORS) -> str:
    """The path of a ramp whose guard asks for something every second."""
    flag = f"flag-{next(_numbers)}"
    server.admin.create_flag(flag)
    path = f"/projects/default/flags/{flag}/environments/production/ramp"
    guard = {"id": "errors", "query": query, "max": 0.1, "every_seconds": 1}
    steps = [{"percentage": 10, "hold_seconds": 3600}, {"percentage": 100}]
    server.admin.ok("POST", path, {"steps": steps, "prometheus": [guard]})
    return path


def ramp_at(server: ServerProcess, path: str) -> dict[str, Any]:
    found: dict[str, Any] = server.admin.ok("GET", path)
    return found


def test_a_release_comes_down_when_errors_rise_and_is_held_when_nobody_knows(tmp_path: Path) -> None:
    with (
        shop() as application,
        running_prometheus(tmp_path, scraping(application)) as prometheus,
        running_server(tmp_path / "server", FADER_PROMETHEUS_URL=f"{prometheus.url}/") as server,
    ):
        wait_for(lambda: prometheus.query(ERRORS), "errors to be measured")
        first, wrong = begun(server), begun(server, "shop_requests_total")
        wait_for(lambda: ramp_at(server, first)["prometheus"][0]["verdict"] == "ok", "a number below the limit")
        application.failing = 5
        wait_for(lambda: ramp_at(server, first)["status"] == "rolled_back", "the ramp to come down")
        assert ramp_at(server, first)["why"].endswith("above 0.1, 3 times in a row")
        assert not server.admin.ok("GET", first.removesuffix("/ramp").partition("/environments")[0])["environments"][
            "production"
        ]["enabled"]
        application.failing = 0
        wait_for(lambda: ramp_at(server, wrong)["status"] == "held", "what is no number to hold a ramp")
        assert "the query gives 2 numbers, and not one" in server.log.read_text()
        wait_for(lambda: float(prometheus.query(ERRORS)[0]["value"][1]) < 0.1, "errors to be few again")
        second = begun(server)
        wait_for(lambda: ramp_at(server, second)["prometheus"][0]["verdict"] == "ok", "a number below the limit")
        prometheus.kill()
        wait_for(lambda: ramp_at(server, second)["status"] == "held", "the ramp to be held")
        assert ramp_at(server, second)["why"] == "errors could not be measured 4 times in a row"


def test_without_a_prometheus_there_is_no_such_ramp(tmp_path: Path) -> None:
    with running_server(tmp_path / "server") as server, pytest.raises(AssertionError, match="FADER_PROMETHEUS_URL"):
        begun(server)


def _reply(result: Any, kind: str = "vector", status: int = 200) -> Reply:
    body = {"status": "success", "data": {"resultType": kind, "result": result}}
    return Reply(status, {}, json.dumps(body).encode())


def _sample(value: str) -> dict[str, Any]:
    return {"metric": {"job": "shop"}, "value": [1435781451.781, value]}


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (_reply([_sample("0.25")]), 0.25),
        (_reply([_sample("1e-3")]), 0.001),
        (_reply([1435781451, "7"], "scalar"), 7.0),
    ],
)
def test_one_number_is_a_measurement(reply: Reply, value: float) -> None:
    assert value_in(reply) == value


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (_reply([]), "0 numbers"),
        (_reply([_sample("1"), _sample("2")]), "2 numbers"),
        (_reply([_sample("NaN")]), "nan"),
        (_reply([_sample("+Inf")]), "inf"),
        (_reply([_sample("many")]), "many"),
        (_reply([1435781451, "text"], "string"), "a string"),
        (_reply([{"metric": {}, "values": []}], "matrix"), "a matrix"),
        (_reply([_sample("1")], status=503), "status 503"),
        (_reply([{"metric": {}}]), "not as Prometheus does"),
        (Reply(200, {}, b"<html>"), "not as Prometheus does"),
        (Reply(200, {}, b"\xff"), "not as Prometheus does"),
        (Reply(400, {}, b'{"status":"error","errorType":"bad_data","error":"parse error"}'), "parse error"),
    ],
)
def test_all_else_is_none(reply: Reply, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        value_in(reply)


def _ramp(*guards: PrometheusGuard) -> Ramp:
    plan = Plan(steps=(Step(percentage=10.0),), prometheus=guards)
    return Ramp(
        id="r",
        project="default",
        environment="production",
        epoch="e",
        flag="f",
        plan=plan,
        progress=Progress(began=BEGAN, looked=BEGAN),
        is_over=False,
        hash_key="",
        version=1,
        created_at=BEGAN,
        created_by="",
        reason="",
        updated_at=BEGAN,
    )


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _one(value: str) -> Answering:
    return Answering(body=_reply([_sample(value)]).body)


async def _received(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(receiver.received) < count:  # noqa: ASYNC110 - it is in a thread of its own
            await asyncio.sleep(0.005)


async def _answered(asker: Prometheus, ramp: Ramp) -> Mapping[str, float | None]:
    async with asyncio.timeout(PATIENCE):
        while not (found := await asker.answers(ramp)):  # noqa: ASYNC110 - a look that comes again
            await asyncio.sleep(0.005)
    return found


def test_each_guard_is_asked_as_often_as_it_says_and_each_answer_is_taken_once() -> None:
    async def run(receiver: Receiver) -> None:
        clock, outgoing = _Clock(), Outgoing()
        asker = Prometheus(outgoing, receiver.url.replace("://", "://me:p%40ss@"), monotonic=clock)
        ramp = _ramp(PrometheusGuard(id="errors", query="a + b", max=1.0, every_seconds=10))

        assert await asker.answers(ramp) == {}
        assert await _answered(asker, ramp) == {"errors": 0.5}
        clock.now += 9.9
        assert await asker.answers(ramp) == {}
        assert len(receiver.received) == 1
        receiver.answers = lambda _: Answering(500, b"nothing")
        clock.now += 0.1
        assert await _answered(asker, ramp) == {"errors": None}
        receiver.answers = lambda _: _one("0.75")
        clock.now += 10
        assert await asker.answers(ramp) == {}
        await _received(receiver, 3)
        clock.now += 3600  # another server has led meanwhile: what was answered then is no news
        receiver.answers = lambda _: _one("0.25")
        assert await _answered(asker, ramp) == {"errors": 0.25}
        outgoing.close()

    with http_receiver(lambda _: _one("0.5")) as receiver:
        asyncio.run(run(receiver))
    [first, *_] = receiver.received
    assert first.path == "/api/v1/query"
    assert first.body == b"query=a+%2B+b&timeout=5s"
    assert first.headers["Authorization"] == "Basic " + b64encode(b"me:p@ss").decode()


def test_one_that_does_not_answer_holds_nobody_up() -> None:
    async def run(receiver: Receiver) -> None:
        outgoing = Outgoing()
        asker = Prometheus(outgoing, receiver.url, "a-token-of-the-test")
        ramp = _ramp(PrometheusGuard(id="errors", query="x", max=1.0, every_seconds=1))
        assert await asker.answers(ramp) == {}
        await _received(receiver, 1)
        assert await asker.answers(ramp) == {}
        assert receiver.received[0].headers["Authorization"] == "Bearer a-token-of-the-test"
        outgoing.close()
        assert await _answered(asker, ramp) == {"errors": None}

    goes_on = threading.Event()

    def never(_: Any) -> Answering:
        goes_on.wait(30)
        return _one("1")

    with http_receiver(never) as receiver:
        try:
            asyncio.run(run(receiver))
        finally:
            goes_on.set()
