"""What the server is told: by environment variables, and by nothing else.

Each variable may instead name a file that holds its value, with ``_FILE`` behind its name: that is how container
platforms hand over secrets. Everything that is wrong is said at once, before anything is started.
"""

import difflib
import ipaddress
import os
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

LogFormat: TypeAlias = Literal["json", "console"]
Migrating: TypeAlias = Literal["auto", "always", "never"]

ANY_ORIGIN: Final = "*"
"""In place of the origins of pages: all of them."""

_SHORTEST_TOKEN: Final = 16


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that the server is told; ``SETTINGS`` describes each. The text form hides what is secret."""

    host: str
    port: int
    workers: int
    database_url: str
    database_connections: int
    migrate: Migrating
    redis_url: str | None
    redis_prefix: str
    log_format: LogFormat | None
    log_level: str
    heartbeat_seconds: float
    poll_seconds: float
    poll_seconds_without_bus: float
    max_body_bytes: int
    max_head_bytes: int
    max_url_bytes: int
    max_connections: int
    max_streams_per_key: int
    snapshot_bytes_per_second: int
    member_bytes_per_second: int
    resumes_per_second: int
    sdk_requests_per_second: int
    client_requests_per_second: int
    admin_requests_per_second: int
    request_seconds: float
    stuck_seconds: float
    shutdown_seconds: float
    drain_seconds: float
    cors_origins: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    initial_admin_token: str | None
    initial_sdk_keys: tuple[str, ...]
    initial_client_keys: tuple[str, ...]
    metrics_token: str | None
    unleash_push: bool
    prometheus_url: str | None
    prometheus_token: str | None
    webhooks: tuple[str, ...]
    webhook_secrets: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port!r})"


class Setting(Struct, frozen=True, kw_only=True):
    """One variable.

    Args:
        name: The variable's.
        field: Where it goes in ``Settings``.
        read: Reads its text; raises ``ValueError`` saying how to mend it.
        default: Its text if it is not set; ``None`` for nothing.
        meaning: For the reference.
        is_secret: Whether its value must never be shown.
    """

    name: str
    field: str
    read: Callable[[str], Any]
    default: str | None
    meaning: str
    is_secret: bool = False


class SettingsError(Exception):
    """The server cannot start with these settings; ``problems`` are sentences that name the variables."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        wrong = ValueError(f"must be a number of seconds from {least:g} to {most:g}")
        try:
            seconds = float(text)
        except ValueError:
            raise wrong from None
        if not least <= seconds <= most:
            raise wrong
        return seconds

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return read


def _switch(text: str) -> bool:
    return _one_of("on", "off")(text) == "on"


def _token(text: str) -> str:
    if len(text) < _SHORTEST_TOKEN or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"must be at least {_SHORTEST_TOKEN} ASCII characters without spaces")
    return text


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in text.split(",") if key.strip())


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().rstrip("/").lower() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if origin != ANY_ORIGIN and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+", origin):
            raise ValueError("must be origins such as https://shop.example, with commas between them, or * for all")
    return origins


def _proxies(text: str) -> tuple[str, ...]:
    networks = tuple(network.strip() for network in text.split(",") if network.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError("must be addresses and networks such as 10.0.0.0/8, with commas between them") from None
    return networks


def _database(text: str) -> str:
    if "://" not in text and not text.startswith("sqlite:"):
        raise ValueError("must be a URL such as sqlite:///fader.db or postgresql://user@host/fader")
    return text


def _redis(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be a URL such as redis://host:6379/0, or rediss://… with TLS")
    return text


def _is_url(text: str) -> bool:
    try:
        return bool(parse_url(text).host)
    except LocationParseError:
        return False


def _web(text: str) -> str:
    if not (re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text) and _is_url(text)):
        raise ValueError("must be a URL such as https://prometheus.example:9090")
    return text.rstrip("/")


def _webhooks(text: str) -> tuple[str, ...]:
    urls = tuple(dict.fromkeys(url.strip() for url in text.split(",") if url.strip()))
    for url in urls:
        if not (re.fullmatch(r"(slack\+)?https?://[^\s/?#]+[^\s#]*", url) and _is_url(url)):
            raise ValueError("must be URLs such as https://ops.example/fader, with commas between them")
    return urls


def _webhook_secrets(text: str) -> tuple[bytes, ...]:
    wrong = ValueError("must be whsec_ and 24 to 64 random bytes in base64, as `openssl rand -base64 32` writes them")
    secrets = []
    for secret in _keys(text):
        try:
            decoded = b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            raise wrong from None
        if not secret.startswith("whsec_") or not 24 <= len(decoded) <= 64:
            raise wrong
        secrets.append(decoded)
    return tuple(secrets)


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", text):
        raise ValueError("must be 1 to 64 letters, digits and . _ : -")
    return text


SETTINGS: Final = (
    Setting(
        name="FADER_HOST",
        field="host",
        read=str,
        default="127.0.0.1",
        meaning="The address to listen on. `0.0.0.0` or `::` listens on all of them: put TLS in front then.",
    ),
    Setting(
        name="FADER_PORT",
        field="port",
        read=_integer(0, 65_535),
        default="8080",
        meaning="The port to listen on. With 0 the system chooses a free one, and the log says which.",
    ),
    Setting(
        name="FADER_WORKERS",
        field="workers",
        read=_integer(1, 128),
        default="1",
        meaning="How many processes serve: one for each core uses all of them. Limits are those of each process, as if "
        "it were a server of its own: of connections (also to the database), of streams, of requests.",
    ),
    Setting(
        name="DATABASE_URL",
        field="database_url",
        read=_database,
        default="sqlite:///fader.db",
        meaning="Where everything is kept. A SQLite file (three slashes for a path from the working directory, four "
        "for one from the root), or PostgreSQL: `postgresql://user:password@host:5432/fader`, with "
        "`?sslmode=verify-full` and whatever else its URLs may have.",
        is_secret=True,
    ),
    Setting(
        name="FADER_DATABASE_CONNECTIONS",
        field="database_connections",
        read=_integer(1, 1_000),
        default="10",
        meaning="With PostgreSQL: how many connections this server may have open at once.",
    ),
    Setting(
        name="FADER_MIGRATE",
        field="migrate",
        read=_one_of("auto", "always", "never"),
        default="auto",
        meaning="Whether the server brings its database up to date when it starts. `auto`: SQLite yes; PostgreSQL no, "
        "there `fader-server migrate` is a step of its own, before which a server refuses to start. `always` and "
        "`never`: whichever it is.",
    ),
    Setting(
        name="REDIS_URL",
        field="redis_url",
        read=_redis,
        default=None,
        meaning="With several servers on one PostgreSQL: `redis://:password@host:6379/0`, by which they tell each "
        "other of changes at once, and from which one that starts while the database is away answers SDKs. Without it "
        "they find each other's changes by asking the database.",
        is_secret=True,
    ),
    Setting(
        name="FADER_REDIS_PREFIX",
        field="redis_prefix",
        read=_prefix,
        default="fader",
        meaning="What the names of keys and channels in Redis begin with: one for each installation that shares it.",
    ),
    Setting(
        name="FADER_LOG_FORMAT",
        field="log_format",
        read=_one_of("json", "console"),
        default=None,
        meaning="`json`: one object a line. `console`: for people. Unless set, `console` on a terminal, else `json`.",
    ),
    Setting(
        name="FADER_LOG_LEVEL",
        field="log_level",
        read=_one_of("debug", "info", "warning", "error"),
        default="info",
        meaning="The least important lines to write: `debug`, `info`, `warning` or `error`.",
    ),
    Setting(
        name="FADER_HEARTBEAT_SECONDS",
        field="heartbeat_seconds",
        read=_seconds(0.05, 60),
        default="15",
        meaning="How often a quiet stream shows that it lives. SDKs give a stream up after two intervals of silence.",
    ),
    Setting(
        name="FADER_POLL_SECONDS",
        field="poll_seconds",
        read=_seconds(0.05, 60),
        default="10",
        meaning="How often the database is asked for changes that nobody has announced.",
    ),
    Setting(
        name="FADER_POLL_SECONDS_WITHOUT_BUS",
        field="poll_seconds_without_bus",
        read=_seconds(0.05, 60),
        default="1",
        meaning="The same while nobody would announce them: with several servers without Redis, or while it is away.",
    ),
    Setting(
        name="FADER_MAX_BODY_BYTES",
        field="max_body_bytes",
        read=_integer(1_024, 1_073_741_824),
        default="1048576",
        meaning="The largest body of a request, in bytes; larger ones are refused with 413.",
    ),
    Setting(
        name="FADER_MAX_HEAD_BYTES",
        field="max_head_bytes",
        read=_integer(2_048, 1_048_576),
        default="32768",
        meaning="The most bytes that a request's URL and headers may have together; with more it is refused with 431.",
    ),
    Setting(
        name="FADER_MAX_URL_BYTES",
        field="max_url_bytes",
        read=_integer(1_024, 65_536),
        default="8192",
        meaning="The longest URL of a request, in bytes; a longer one is refused with 414.",
    ),
    Setting(
        name="FADER_MAX_CONNECTIONS",
        field="max_connections",
        read=_integer(10, 1_000_000),
        default="16384",
        meaning="How many connections may be open at once; on those beyond only probes are answered, and all else gets "
        "503. The process's limit of open files must allow for it.",
    ),
    Setting(
        name="FADER_MAX_STREAMS_PER_KEY",
        field="max_streams_per_key",
        read=_integer(1, 1_000_000),
        default="12000",
        meaning="How many streams one SDK key may have open at once on this server; more are refused with 429.",
    ),
    Setting(
        name="FADER_SNAPSHOT_BYTES_PER_SECOND",
        field="snapshot_bytes_per_second",
        read=_integer(65_536, 1_000_000_000_000),
        default="33554432",
        meaning="How many bytes of whole snapshots this server sends in a second. Each costs its size, as sent, and "
        "16 KiB. Clients that come for one when that is used up get 503 and a time to come back, and answer with the "
        "flags they have. Apart from that, as many bytes of answers with the values of all flags, by OFREP (each costs "
        "its size and 2 KiB) and to Unleash's SDKs in browsers and phones (128 bytes for each flag, and 2 KiB); those "
        "beyond get 429.",
    ),
    Setting(
        name="FADER_MEMBER_BYTES_PER_SECOND",
        field="member_bytes_per_second",
        read=_integer(65_536, 1_000_000_000_000),
        default="33554432",
        meaning="The same for long lists of segments' members, 8 bytes a member, which clients fetch in parts.",
    ),
    Setting(
        name="FADER_RESUMES_PER_SECOND",
        field="resumes_per_second",
        read=_integer(1, 1_000_000),
        default="1000",
        meaning="The same for streams that go on from where they were, and so need only what has changed: how many "
        "this server takes in a second.",
    ),
    Setting(
        name="FADER_SDK_REQUESTS_PER_SECOND",
        field="sdk_requests_per_second",
        read=_integer(1, 1_000_000),
        default="2000",
        meaning="How many requests one SDK key may make in a second, on average over ten; more are refused with 429. "
        "Opening a stream is none of them; of acknowledgements, four count as one.",
    ),
    Setting(
        name="FADER_CLIENT_REQUESTS_PER_SECOND",
        field="client_requests_per_second",
        read=_integer(1, 1_000_000),
        default="100",
        meaning="The same for one client key, from one address: everybody who opens a page has its key. An office, or "
        "a network of phones, may be one address. Behind a proxy, see `FADER_TRUSTED_PROXIES`.",
    ),
    Setting(
        name="FADER_ADMIN_REQUESTS_PER_SECOND",
        field="admin_requests_per_second",
        read=_integer(1, 1_000_000),
        default="300",
        meaning="How many requests one admin token may make in a second, in the same way.",
    ),
    Setting(
        name="FADER_REQUEST_SECONDS",
        field="request_seconds",
        read=_seconds(0.1, 3_600),
        default="30",
        meaning="How long a request may take to arrive, head and body; if it is not complete then, it is refused with "
        "408.",
    ),
    Setting(
        name="FADER_STUCK_SECONDS",
        field="stuck_seconds",
        read=_seconds(0.1, 3_600),
        default="30",
        meaning="How long a client may take nothing of what is sent to it before its connection is cut.",
    ),
    Setting(
        name="FADER_SHUTDOWN_SECONDS",
        field="shutdown_seconds",
        read=_seconds(0.1, 300),
        default="10",
        meaning="How long a shutdown may take: streams are told goodbye, requests under way are finished.",
    ),
    Setting(
        name="FADER_DRAIN_SECONDS",
        field="drain_seconds",
        read=_seconds(0, 300),
        default="0",
        meaning="How much of that passes before new connections are refused. Meanwhile `/health/ready` says 503 and "
        "everything is answered: as long as your load balancer takes to notice.",
    ),
    Setting(
        name="FADER_CORS_ORIGINS",
        field="cors_origins",
        read=_origins,
        default=ANY_ORIGIN,
        meaning="Pages of which origins may ask for values of flags, with a client key: `https://shop.example`, with "
        "commas between several, or `*` for all. All other paths are closed to pages.",
    ),
    Setting(
        name="FADER_TRUSTED_PROXIES",
        field="trusted_proxies",
        read=_proxies,
        default="127.0.0.1,::1",
        meaning="Addresses and networks of proxies whose `X-Forwarded-For` tells a client's address, with commas "
        "between them. Limits for each address, and flags that ask for it, need it.",
    ),
    Setting(
        name="FADER_INITIAL_ADMIN_TOKEN",
        field="initial_admin_token",
        read=str,
        default=None,
        meaning="An admin token (`fader_` and at least 16 characters more) that is made at the start unless it exists.",
        is_secret=True,
    ),
    Setting(
        name="FADER_INITIAL_SDK_KEYS",
        field="initial_sdk_keys",
        read=_keys,
        default="",
        meaning="SDK keys (`project:environment.secret`, with commas between them) that are made at the start "
        "unless they exist.",
        is_secret=True,
    ),
    Setting(
        name="FADER_INITIAL_CLIENT_KEYS",
        field="initial_client_keys",
        read=_keys,
        default="",
        meaning="The same for client keys (`project:environment.client-secret`), with which browsers and phones ask "
        "for values of flags.",
        is_secret=True,
    ),
    Setting(
        name="FADER_METRICS_TOKEN",
        field="metrics_token",
        read=_token,
        default=None,
        meaning="What `GET /metrics` must be asked with, as `Authorization: Bearer …`. Unless set, anybody may ask.",
        is_secret=True,
    ),
    Setting(
        name="FADER_UNLEASH_PUSH",
        field="unleash_push",
        read=_switch,
        default="on",
        meaning="Whether Unleash's SDK for Node, which polls unless it is told otherwise, is asked to open a stream, "
        "so that it hears of changes at once. With `off` it goes on polling: for where a proxy holds streams back.",
    ),
    Setting(
        name="FADER_PROMETHEUS_URL",
        field="prometheus_url",
        read=_web,
        default=None,
        meaning="A Prometheus, or whatever answers as one, that guards of ramps ask: `https://prometheus.example`, "
        "with the path below which it has its API, if that is not the root, and `user:password@` before the host, if "
        "it wants that. Without it, ramps with such guards are refused. `HTTPS_PROXY` and `NO_PROXY` hold for it.",
        is_secret=True,
    ),
    Setting(
        name="FADER_PROMETHEUS_TOKEN",
        field="prometheus_token",
        read=_token,
        default=None,
        meaning="What it is asked with, as `Authorization: Bearer …`.",
        is_secret=True,
    ),
    Setting(
        name="FADER_WEBHOOKS",
        field="webhooks",
        read=_webhooks,
        default="",
        meaning="URLs to which is sent what ramps do and what alerts switch off, with commas between them (`%2C` within"
        " one). `slack+https://hooks.slack.com/…` for Slack, and for whatever else takes its form. `HTTPS_PROXY` and "
        "`NO_PROXY` hold for them.",
        is_secret=True,
    ),
    Setting(
        name="FADER_WEBHOOK_SECRET",
        field="webhook_secrets",
        read=_webhook_secrets,
        default="",
        meaning="What notices are signed with, as Standard Webhooks has it: `whsec_` and 24 to 64 random bytes in "
        "base64. Two of them, with a comma between, while one takes the other's place: then each signs. Unless set, "
        "nothing is signed.",
        is_secret=True,
    ),
)

OF_OTHERS: Final = frozenset(
    {
        "FADER_APP",
        "FADER_CACHE_DIR",
        "FADER_CA_FILE",
        "FADER_CONFIG_DIR",
        "FADER_ENVIRONMENT",
        "FADER_OFFLINE",
        "FADER_POLL_INTERVAL",
        "FADER_PROFILE",
        "FADER_PROJECT",
        "FADER_RETRY_FOR",
        "FADER_SDK_KEY",
        "FADER_SDK_KEY_FILE",
        "FADER_STREAMING",
        "FADER_TOKEN",
        "FADER_URL",
        "FADER_USAGE",
    }
)
"""Variables of the SDK and of the command line, which may well be set where a server is started."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment.

    Args:
        environ: Instead of the process's own.

    Raises:
        SettingsError: naming everything that is wrong with it.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        try:
            text = _text(setting, environ)
            values[setting.field] = None if text is None else setting.read(text)
        except ValueError as error:
            problems.append(f"{setting.name} {error}")
    problems += _misspelt(environ)
    if problems:
        raise SettingsError(tuple(problems))
    return Settings(**values)


def _text(setting: Setting, environ: Mapping[str, str]) -> str | None:
    text, path = environ.get(setting.name), environ.get(f"{setting.name}_FILE")
    if text and path:
        raise ValueError(f"and {setting.name}_FILE are both set: keep one of them")
    if path:
        try:
            text = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ValueError(f"cannot be read from the file that {setting.name}_FILE names: {reason}") from None
    return text or setting.default


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    known = OF_OTHERS | {setting.name for setting in SETTINGS} | {f"{setting.name}_FILE" for setting in SETTINGS}
    problems = []
    for name in sorted(environ):
        if name.startswith("FADER_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean {near[0]}?" if near else "unset it"
            problems.append(f"{name} is no setting of Fader: {mend}")
    return problems
