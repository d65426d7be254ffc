"""What browsers report: added up, as far as it can be true, and written down with what the server itself evaluates."""

from pathlib import Path
from typing import Any

import pytest

from browsers import CLIENT_KEY, Browser
from in_process import InProcess, running_in_process

pytestmark = pytest.mark.anyio

METRICS = "/api/frontend/client/metrics"


async def report(browser: Browser, **toggles: Any) -> int:
    bucket = {"start": "2026-05-01T00:00:00.000Z", "stop": "2026-05-01T00:01:00.000Z", "toggles": toggles}
    body = {"appName": "shop", "instanceId": "browser", "bucket": bucket}
    return (await browser.post(METRICS, body)).status


async def usage(server: InProcess, flag: str) -> dict[str, int]:
    found = await server.admin("GET", f"/projects/default/flags/{flag}/usage")
    return {item["variant"]: item["count"] for item in found["items"]}


async def test_it_is_in_the_usage_of_flags_after_a_while(tmp_path: Path) -> None:
    async with running_in_process(tmp_path, FADER_INITIAL_CLIENT_KEYS=CLIENT_KEY) as server:
        browser = Browser(server)
        await server.create_flag("plain")
        variants = [{"name": "red", "value": 1}, {"name": "blue", "value": 2}, {"name": "none", "value": 0}]
        await server.create_flag("coloured", {"enabled": True}, type="number", variants=variants, off_variant="none")
        assert await report(browser, plain={"yes": 3, "no": 4, "variants": {"disabled": 3}}) == 200
        assert await report(browser, plain={"yes": 10, "no": 0, "variants": {}}) == 200
        counted = {"yes": 7, "no": 2, "variants": {"red": 4, "blue": 1, "disabled": 2}}
        assert await report(browser, coloured=counted, unknown={"yes": 5, "no": 5}) == 200
        made_up = {"yes": 9, "variants": {"made-up": 9, "x" * 600: 1}}
        assert await report(browser, coloured=made_up, plain={"yes": -1, "no": "many"}) == 200
        await browser.sees(userId="ada")  # is no use of a flag: browsers ask for all
    async with running_in_process(tmp_path) as server:
        assert await usage(server, "plain") == {"on": 13, "off": 4}
        assert await usage(server, "coloured") == {"red": 4, "blue": 1, "on": 2, "none": 2}


async def test_nobody_can_count_more_than_a_browser_can_ask(tmp_path: Path) -> None:
    async with running_in_process(tmp_path, FADER_INITIAL_CLIENT_KEYS=CLIENT_KEY) as server:
        await server.create_flag("plain")
        assert await report(Browser(server), plain={"yes": 2**50}) == 200
    async with running_in_process(tmp_path) as server:
        assert await usage(server, "plain") == {"on": 1_000_000}


@pytest.mark.parametrize("body", [{}, {"bucket": None}, {"bucket": {"toggles": {}}}])
async def test_nothing_to_report(browser: Browser, body: Any) -> None:
    for path in (METRICS, "/api/frontend/client/register"):
        answer = await browser.post(path, body)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("body", [[], {"bucket": 7}, "text"])
async def test_what_makes_no_sense_is_refused(browser: Browser, body: Any) -> None:
    refused = await browser.post(METRICS, body)
    assert (refused.status, refused.json["name"]) == (400, "BadDataError")
