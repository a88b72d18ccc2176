"""Logs: one line per event, JSON for machines, colours for people on a terminal.

INFO tells the story an operator needs, two lines a call. What a caller says, keys, numbers and audio
are never logged at INFO or above. Writing happens in a thread of its own behind a bounded queue: a
blocked stdout cannot stop the audio.
"""

import logging
import logging.handlers
import queue
import sys
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

Log = structlog.stdlib.BoundLogger

_QUEUE_LINES: Final = 10_000  # beyond it lines are dropped, not waited for


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """Hands lines to the writing thread; at the bound, counts and drops them."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # stays in the process: nothing to pickle


def start(level: str, file: Path | None = None) -> logging.handlers.QueueListener:
    """Set logging up for the process; stop the returned listener at the end to flush it."""
    stream = file.open("a", encoding="utf-8") if file else sys.stderr
    sink = logging.StreamHandler(stream)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    sink.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderer(stream.isatty()),
            ],
        )
    )
    handler = _DroppingQueueHandler(queue.Queue(_QUEUE_LINES))
    listener = logging.handlers.QueueListener(handler.queue, sink)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries: only what is wrong
    logging.getLogger("audiosocket_agent").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    listener.start()
    return listener


def get(name: str) -> Log:
    """The logger of a module."""
    logger: Log = structlog.stdlib.get_logger(name)
    return logger


def _renderer(people: bool) -> list[Any]:
    if people:
        return [structlog.dev.ConsoleRenderer()]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=lambda value, **_: _dumps(value)),
    ]


def _dumps(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
