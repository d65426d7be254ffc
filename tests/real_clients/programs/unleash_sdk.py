"""Unleash's SDK for Python, of either major version, driven by lines.

A JSON object a line comes in, and one goes out for each, in the same order. A request has ``do``; an answer has
``ok``, and ``error`` (text) when that is false. The program for Node takes the same requests.

========= ============================================== ==========================================================
do        with                                           answers
========= ============================================== ==========================================================
create    client, url (of the server), key, mode         when the client has its flags; ``patience`` is how many
          ("polling" or "streaming"), refresh, patience  seconds that may take, ``refresh`` those between polls
evaluate  client, questions: a list of lists of          ``answers``: for each true or false, or a variant
          "is enabled" or "get variant", flag, context
table     client, contexts, questions: a list of lists   ``rows``: of each context, and in it of each question, a
          of "is enabled" or "get variant", flag         text: true or false, and after it, with bars between, a
                                                         variant's name and payload
news      client                                         ``news``: what has happened so far; and ``mode``
flush     client                                         sends metrics now
close     client
========= ============================================== ==========================================================
"""

import json
import logging
import sys
import threading
from typing import Any

from UnleashClient import UnleashClient
from UnleashClient.cache import BaseCache
from UnleashClient.utils import InstanceAllowType

Message = dict[str, Any]
IS_STREAMING = sys.argv[1:] == ["6"]
NEVER = 10**6


class Memory(BaseCache):
    """Keeps what others keep on a disk."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        self._kept[key] = value

    def mset(self, data: dict[str, Any]) -> None:
        self._kept |= data

    def get(self, key: str, default: Any = None) -> Any:
        return self._kept.get(key, default)

    def exists(self, key: str) -> bool:
        return key in self._kept

    def destroy(self) -> None:
        self._kept.clear()


class Client:
    """One client, and what happened to it."""

    def __init__(self, request: Message) -> None:
        self.news: list[str] = []
        self.mode = request["mode"]
        self._ready = threading.Event()
        more = {"experimental_mode": {"type": self.mode}} if IS_STREAMING else {}
        self.unleash = UnleashClient(
            url=f"{request['url']}/api",
            app_name="real-clients",
            custom_headers={"Authorization": request["key"]},
            refresh_interval=request["refresh"],
            metrics_interval=NEVER,
            cache=Memory(),
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
            event_callback=self._happened,
            verbose_log_level=logging.DEBUG,
            **more,
        )
        self.unleash.initialize_client()
        if self.mode == "streaming" and not self._ready.wait(request["patience"]):
            raise TimeoutError(f"no flags within {request['patience']} s")

    def _happened(self, event: Any) -> None:
        self.news.append(event.event_type.value)
        if event.event_type.value == "ready":
            self._ready.set()


CLIENTS: dict[str, Client] = {}


class Keep(logging.Handler):
    """Keeps what the SDK would have told its operator."""

    def emit(self, record: logging.LogRecord) -> None:
        for client in list(CLIENTS.values()):
            client.news.append(f"{record.levelname.lower()}: {record.getMessage()}")


def create(request: Message) -> Message:
    CLIENTS[request["client"]] = Client(request)
    return {}


def evaluate(request: Message) -> Message:
    unleash = CLIENTS[request["client"]].unleash
    answers: list[Any] = []
    for question, flag, context in request["questions"]:
        # Each of them with a context of its own, for the SDK may add to it.
        asked = unleash.is_enabled if question == "is enabled" else unleash.get_variant
        answers.append(asked(flag, dict(context)))
    return {"answers": answers}


def table(request: Message) -> Message:
    unleash = CLIENTS[request["client"]].unleash

    def cell(question: str, flag: str, context: Message) -> str:
        if question == "is enabled":
            return str(unleash.is_enabled(flag, dict(context))).lower()
        variant = unleash.get_variant(flag, dict(context))
        payload = variant.get("payload") or {}
        return "|".join((str(variant["feature_enabled"]).lower(), variant["name"], payload.get("value", "")))

    rows = [[cell(*question, context) for question in request["questions"]] for context in request["contexts"]]
    return {"rows": rows}


def news(request: Message) -> Message:
    client = CLIENTS[request["client"]]
    return {"news": client.news, "mode": client.mode}


def flush(request: Message) -> Message:
    job = CLIENTS[request["client"]].unleash.metric_job
    scheduled = getattr(job, "job", job)
    scheduled.func(**scheduled.kwargs)
    return {}


def close(request: Message) -> Message:
    CLIENTS.pop(request["client"]).unleash.destroy()
    return {}


COMMANDS = {each.__name__: each for each in (create, evaluate, table, news, flush, close)}


def main() -> None:
    logging.getLogger("UnleashClient").addHandler(keep := Keep(logging.WARNING))
    logging.getLogger("UnleashClient.utils").addHandler(keep)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": True, **COMMANDS[request["do"]](request)}
        except Exception as error:  # noqa: BLE001  # the other side decides what a failure means
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
