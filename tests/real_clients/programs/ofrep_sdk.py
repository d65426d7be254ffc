"""OpenFeature's OFREP provider for Python, driven by lines. Its requests are described in ``ofrep_client.cjs``."""

import json
import sys
from typing import Any

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

Message = dict[str, Any]
DEFAULTS: Message = {"boolean": False, "string": "default", "integer": 0, "float": 0.0, "object": {}}


def create(request: Message) -> Message:
    key = request["key"]
    provider = OFREPProvider(request["url"], headers_factory=lambda: {"Authorization": f"Bearer {key}"})
    api.set_provider(provider, request["client"])
    return {}


def answer(client: str, kind: str, flag: str, attributes: Message) -> Message:
    context = EvaluationContext(attributes.pop("targetingKey", None), attributes)
    found = getattr(api.get_client(client), f"get_{kind}_details")(flag, DEFAULTS[kind], context)
    return {
        "value": found.value,
        "variant": found.variant,
        "reason": found.reason,
        "errorCode": found.error_code,
        "flagMetadata": found.flag_metadata,
    }


def evaluate(request: Message) -> Message:
    return {"answers": [answer(request["client"], *question) for question in request["questions"]]}


def close(request: Message) -> Message:
    return {}


COMMANDS = {each.__name__: each for each in (create, evaluate, close)}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            given = {"ok": True, **COMMANDS[request["do"]](request)}
        except Exception as error:  # noqa: BLE001  # the other side decides what a failure means
            given = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(given) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
