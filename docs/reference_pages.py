"""Writes the reference pages from the code, so that they stay true: ``python docs/reference_pages.py [--check]``.

With ``--check`` nothing is written; pages that are not what they should be are named, and the exit code is 1.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
from litestar import Litestar

import fader
from fader import Client
from fader.evaluation import ErrorCode, Reason
from fader.operators import OPERATORS
from fader_cli.exits import MEANINGS
from fader_cli.program import program
from fader_server.app import create_app
from fader_server.settings import SETTINGS, read_settings
from fader_server.telemetry.catalogue import CATALOGUE

REFERENCE: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Written by docs/reference_pages.py from the code: change that, and run `make docs`. -->\n\n"


def cli_page() -> str:
    """Every command with its arguments and options."""
    parts = [
        f"# The command line\n\n{NOTE}",
        "Every command has `--help`. Options that all commands share: `-p/--project`, `--profile`, `--url`, `--token`, "
        "`--retry-for`, and `--json`, which writes one document instead of text for people; errors are then documents "
        "too, on standard error. Options win over the environment (`FADER_URL`, `FADER_TOKEN`, `FADER_PROJECT`, "
        "`FADER_ENVIRONMENT`, `FADER_PROFILE`, `FADER_RETRY_FOR`), and this over the profile that `fader login` or "
        "`fader serve` has made. Profiles are kept in `FADER_CONFIG_DIR`, else in your platform's folder for settings.\n\n"
        "While the server cannot be reached or cannot answer (status 429, 502, 503 or 504), a command tries again for up to "
        "30 seconds, or for as long as `--retry-for SECONDS` says; 0 is never. It says so once, on standard error (with "
        '`--json` as `{"retrying": …}`, on a line of its own), waits for as long as the server asks it to, and ends with '
        "exit code 6 if that was in vain. However often a write is tried, it is applied once.\n\n",
        "## Exit codes\n\n| code | meaning |\n| --- | --- |\n",
        *(f"| {code.value} | {meaning} |\n" for code, meaning in MEANINGS.items()),
        "\n## Commands\n",
    ]
    for path, command in _commands(program, ()):
        parts.append(_command_section(path, command))
    return "".join(parts)


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


_SHARED: Final = {"project", "as_json", "profile", "url", "token", "retry_for"}


def _command_section(path: tuple[str, ...], command: click.Command) -> str:
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in _SHARED and not parameter.hidden
    ]
    shown = " ".join(str(argument.metavar or (argument.name or "").upper()) for argument in arguments)
    usage = " ".join(part for part in ("fader", *path, shown, "[OPTIONS]" if options else "") if part)
    help_text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    lines = [f"\n### `fader {' '.join(path)}`\n\n```text\n{usage}\n```\n\n{help_text}\n"]
    if options:
        lines.append("\n| option | meaning |\n| --- | --- |\n")
        for option in options:
            name = ", ".join(option.opts)
            if not option.is_flag:
                kind = option.metavar or getattr(option.type, "choices", None) or option.type.name.upper()
                name += f" {kind if isinstance(kind, str) else '|'.join(kind)}"
            meaning = (option.help or "").replace("|", "\\|")
            lines.append(f"| `{name.replace('|', chr(92) + '|')}` | {meaning} |\n")
    return "".join(lines)


def settings_page() -> str:
    """Settings of the server and of the SDK."""
    parts = [
        f"# Settings\n\n{NOTE}## The server\n\n",
        "From the environment, and from nothing else. Each variable may instead name a file that holds its value, with "
        "`_FILE` behind its name (`DATABASE_URL_FILE`): that is how container platforms hand over secrets. What is wrong "
        "is said by name before anything starts, all of it at once, with exit code 2; and so is any `FADER_…` variable "
        "that does not exist, for it is most likely a misspelt one.\n\n",
        "| variable | default | meaning |\n| --- | --- | --- |\n",
        *(
            f"| `{setting.name}` | {f'`{setting.default}`' if setting.default else '–'} | "
            f"{setting.meaning}{' **Secret.**' if setting.is_secret else ''} |\n"
            for setting in SETTINGS
        ),
        "\n## The SDK\n\nArguments of `Client` win over the environment; a wrong variable is reported in the log, and the "
        "default is used.\n\n| variable | argument | meaning |\n| --- | --- | --- |\n",
        *(f"| `{name}` | {argument} | {meaning} |\n" for name, argument, meaning in _SDK_SETTINGS),
        "\nProxies are taken from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.\n",
        "\n## The command line\n\n`FADER_URL`, `FADER_TOKEN`, `FADER_PROFILE`, `FADER_PROJECT`, `FADER_ENVIRONMENT`, "
        "`FADER_RETRY_FOR`, `FADER_CONFIG_DIR`, `NO_COLOR`: see [the command line](cli.md).\n",
    ]
    return "".join(parts)


_SDK_SETTINGS: Final = (
    ("FADER_URL", "`url`", "The server's address; `http://127.0.0.1:8080` unless set."),
    (
        "FADER_SDK_KEY",
        "`sdk_key`",
        "The SDK key. Without one the client stays offline, and every flag gives its default.",
    ),
    ("FADER_SDK_KEY_FILE", "–", "A file that holds the key; it is read again whenever the key is needed."),
    ("FADER_APP", "`app`", "The application's name, for rules and for people."),
    ("FADER_CACHE_DIR", "`cache_dir`", "Where the copy on disk is kept; `off` for none."),
    ("FADER_STREAMING", "`streaming`", "`0` asks every now and then instead of holding a stream."),
    ("FADER_POLL_INTERVAL", "`poll_interval`", "Seconds between questions where there is no stream; 10 unless set."),
    ("FADER_USAGE", "`usage`", "`0` reports no usage counts."),
    ("FADER_OFFLINE", "`offline`", "`1` stays off the network."),
    ("FADER_CA_FILE", "`ca_file`", "Certificate authorities to trust instead of the system's."),
)


def api_page() -> str:
    """The HTTP interface, by what it is about."""
    document = _openapi()
    parts = [
        f"# The HTTP API\n\n{NOTE}",
        "For people and pipelines, below `/api/v1`. The whole of it as OpenAPI 3.1: `GET /api/v1/openapi.json` of any "
        "running server. Every request carries an admin token: `Authorization: Bearer fader_…`. Errors are problem "
        "documents ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with `field` and `hint`; lists are paged: "
        "`?limit=` and `?cursor=`, which is the `next_cursor` of the page before. `?dry_run=true` on writes of flags and "
        "segments checks and changes nothing.\n",
        "\n## Trying again\n\n"
        "Every write takes an [`Idempotency-Key`](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/): "
        "1 to 128 visible ASCII characters, such as a UUID, with or without quotation marks. Draw one for each request, and "
        "send it with all tries of that request: it is then applied once, whichever server gets which try, and every later "
        "try gets the first answer again, with `Idempotency-Replayed: true`. The answer is committed together with the "
        "change, so this holds even if the server was killed before it could answer. Keys belong to the token that they came "
        "with, and are kept for at least 24 hours.\n\n"
        "| you send | you get |\n| --- | --- |\n"
        "| the same request again | the same status and body; nothing is done |\n"
        "| the same key with another method, path, query, `If-Match` or body | 422, `idempotency-key-reused` |\n"
        "| the same request, while its first try goes on | its answer, or after a few seconds 409, `still-running`, with "
        "`Retry-After` |\n"
        "| a request again that was refused, or a dry run | it is decided anew: nothing was changed, so nothing was kept |\n"
        "| a request again that has made a key, a token or a hook | 409, `secret-not-kept`, with its id: the secret was in the first "
        "answer and is kept nowhere, so revoke it and make another one |\n",
    ]
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                tag = (operation.get("tags") or ["other"])[0]
                by_tag.setdefault(tag, []).append((method.upper(), path, operation))
    for tag, operations in by_tag.items():
        parts.append(f"\n## {tag[:1].upper()}{tag[1:]}\n")
        for method, path, operation in operations:
            parts.append(f"\n### `{method} {path}`\n\n{_sentence(operation)}\n")
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if body is not None:
                parts.append(f"\nBody: {_fields(body, document)}.\n")
            answers = ", ".join(f"{status}" for status in operation["responses"])
            parts.append(f"\nAnswers: {answers}.\n")
    return "".join(parts)


def _sentence(operation: Mapping[str, Any]) -> str:
    return " ".join(str(operation.get("description") or operation.get("summary") or "").split())


def _fields(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    for option in schema.get("anyOf", schema.get("oneOf", [])):
        if "$ref" in option:
            schema = option
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    names = [f"`{name}`" + ("" if name in required else "?") for name in schema.get("properties", {})]
    return ", ".join(names) or "a document"


def _openapi() -> dict[str, Any]:
    app: Litestar = create_app(read_settings({}))
    return app.openapi_schema.to_schema()


def sdk_page() -> str:
    """The SDK's public names."""
    parts = [f"# The SDK\n\n{NOTE}```python\nfrom fader import {', '.join(_public())}\n```\n\n## `Client`\n\n"]
    parts.append(f"```text\nClient{_signature(Client.__init__)}\n```\n\n{_docstring(Client)}\n")
    for name, member in inspect.getmembers(Client):
        if name.startswith("_") or name in _INTERNAL:
            continue
        if isinstance(member, property):
            parts.append(f"\n### `Client.{name}`\n\n{_docstring(member)}\n")
        elif callable(member):
            parts.append(f"\n### `Client.{name}`\n\n```text\n{name}{_signature(member)}\n```\n\n{_docstring(member)}\n")
    parts.append(f"\n## `Context`\n\n```text\nContext{_signature(fader.Context)}\n```\n\n{_docstring(fader.Context)}\n")
    parts.append(f"\n## `EvaluationDetails`\n\n{_docstring(fader.EvaluationDetails)}\n")
    parts.append("\nReasons: " + ", ".join(f"`{reason}`" for reason in Reason) + ".\n")
    parts.append("\nError codes: " + ", ".join(f"`{code}`" for code in ErrorCode) + ".\n")
    parts.append("\n## Operators\n\n| operator | a constraint holds when the attribute … |\n| --- | --- |\n")
    parts += [f"| `{name}` | {operator.meaning} |\n" for name, operator in OPERATORS.items()]
    parts.append("| `exists` | is there |\n")
    parts.append(
        "\nWhat they do with missing attributes, lists and other kinds: [how evaluation works]"
        "(../explanation/evaluation.md).\n"
    )
    return "".join(parts)


_INTERNAL: Final = {"after_fork"}


def _public() -> list[str]:
    return [name for name in fader.__all__ if not name.startswith("_")]


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self" and not parameter.name.startswith("_")
    ]
    text = str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))
    return text.replace("UNSET", "…")


def _docstring(thing: Any) -> str:
    """A docstring as Markdown: its sections become lists, its examples code."""
    lines: list[str] = []
    in_section = in_example = False
    for line in (inspect.getdoc(thing) or "").replace("``", "`").splitlines():
        if line.startswith(">>>") and not in_example:
            lines.append("```python")
            in_example = True
        elif in_example and not line.strip():
            lines.append("```")
            in_example = False
        if line in {"Args:", "Returns:", "Raises:", "Attributes:"}:
            in_section = True
            lines += [f"**{line[:-1]}**", ""]
        elif in_section and line.startswith("    ") and not line.startswith("        "):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon and " " not in name else f"- {line.strip()}")
        elif in_section and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            in_section = in_section and not line
            lines.append(line)
    return "\n".join([*lines, "```"] if in_example else lines).rstrip()


def metrics_page() -> str:
    """What the server counts."""
    parts = [
        f"# Metrics\n\n{NOTE}",
        "`GET /metrics` of every node. How to have them scraped, shown and watched: [monitor the server](../how-to/monitor.md).\n",
    ]
    for kind, title in (("counter", "Counters"), ("gauge", "Gauges"), ("histogram", "Histograms")):
        parts.append(f"\n## {title}\n\n| name | labels | meaning |\n| --- | --- | --- |\n")
        for metric in CATALOGUE:
            if metric.kind == kind:
                labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
                parts.append(f"| `{metric.name}` | {labels} | {metric.meaning.replace('|', chr(92) + '|')} |\n")
    parts.append(
        "\nA histogram `…` is exposed as `…_bucket`, with the upper bound `le`, `…_sum` and `…_count`. The upper bounds, in "
        "seconds:\n\n| name | bounds |\n| --- | --- |\n"
    )
    parts += [
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |\n"
        for metric in CATALOGUE
        if metric.kind == "histogram"
    ]
    parts.append(
        "\n## Of the process\n\nBy Prometheus' client for Python: `process_cpu_seconds_total`, `process_resident_memory_bytes`, "
        "`process_virtual_memory_bytes`, `process_open_fds`, `process_max_fds`, `process_start_time_seconds` (these on Linux), "
        "`python_gc_collections_total`, `python_gc_objects_collected_total` and `python_gc_objects_uncollectable_total`.\n"
    )
    return "".join(parts)


PAGES: Final = {
    "cli.md": cli_page,
    "settings.md": settings_page,
    "api.md": api_page,
    "sdk.md": sdk_page,
    "metrics.md": metrics_page,
}


def main() -> int:
    """Write the pages, or check them."""
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text("utf-8") != text:
                stale.append(name)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    for name in stale:
        print(f"docs/reference/{name} is not what the code says: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
