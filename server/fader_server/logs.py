"""What the server says: one event a line, as JSON for machines or in columns for people."""

import logging
import sys
from typing import Any, Final

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from fader_server.settings import Settings

# Neither here nor on terminals with the values of local variables: keys and tokens are among them.
_tracebacks: Final = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def set_up_logs(settings: Settings, worker: int | None = None) -> None:
    """Send everything that is logged, by us and by libraries, to standard output in one form.

    Args:
        settings: Which form.
        worker: The number of this process, if it is one of several that write there.
    """
    as_console = settings.log_format == "console" or (settings.log_format is None and sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_console else "iso", utc=not as_console),
        structlog.processors.StackInfoRenderer(),
    ]
    if worker is not None:
        shared.append(_of_worker(worker))
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if as_console
        else [_tracebacks, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for chatty in ("alembic", "aiosqlite", "sqlalchemy", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _of_worker(number: int) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = number
        return event

    return add


def logger(name: str) -> Any:
    """A logger that takes an event and its fields: ``log.info("listening", url=url)``."""
    return structlog.stdlib.get_logger(name)
