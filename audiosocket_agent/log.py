"""Logs: one line per event, JSON for machines, colours for people on a terminal.

INFO tells the story an operator needs, two lines a call. What a caller says, keys, numbers and audio
are never logged at INFO or above. Writing happens in a thread of its own behind a bounded queue: a
blocked stdout cannot stop the audio.

At every level telephone numbers, cards and API keys are masked in every text of a line, whoever logs
it, exceptions and libraries too (see `masking`). Values that are numbers stay: ports, counts, seconds.
The field `text` is for what is being said: it comes in pieces, so no digit of it is written.
"""

import logging
import logging.handlers
import queue
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, cast

import orjson

from audiosocket_agent import masking
from audiosocket_agent.errors import StartError

# structlog takes rich where there is one, for tracebacks with all variables, which hold callers' words
# and are never written: 4 MB of memory and 0.08 s of the start for nothing
_absent = sys.modules.setdefault("rich", cast(Any, None)) is None
import structlog  # noqa: E402

if _absent:
    del sys.modules["rich"]

Log = structlog.stdlib.BoundLogger

STOP_SECONDS: Final = 5.0

_QUEUE_LINES: Final = 10_000  # beyond it lines are dropped, not waited for
_OUR_OWN: Final = ("level", "logger", "timestamp")  # with nothing in them to mask
_SAID: Final = "text"


class _Logger(structlog.stdlib.BoundLogger):
    """Lines that are not wanted are left at the first question, 0.24 us instead of 2.1: a call has some
    every second."""

    def debug(self, event: str | None = None, *args: Any, **fields: Any) -> Any:
        if self._logger.isEnabledFor(logging.DEBUG):
            super().debug(event, *args, **fields)


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """Hands lines to the writing thread; at the bound, drops them, and says so afterwards."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self.dropped:
                text, count = "%d log lines were dropped", (self.dropped,)
                self.queue.put_nowait(
                    logging.LogRecord(__name__, logging.WARNING, "", 0, text, count, None)
                )
                self.dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # stays in the process: nothing to pickle


class _Writer(logging.handlers.QueueListener):
    """The writing thread; `stop` waits until all that is queued is written, but not for ever: whoever
    reads our stderr may have stopped."""

    def stop(self) -> None:
        ending = threading.Thread(target=super().stop, daemon=True)
        ending.start()
        ending.join(STOP_SECONDS)

    def enqueue_sentinel(self) -> None:
        lines = cast("queue.Queue[logging.LogRecord | None]", self.queue)
        lines.put(None)  # it may be full: wait for room


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Writes lines; of one that cannot be written it tells no more than whose it was."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - logging would print it to stderr, unmasked
            text, why = "a line of %s could not be written: %s", type(error).__name__
            return super().format(
                logging.LogRecord(__name__, logging.WARNING, "", 0, text, (record.name, why), None)
            )


def start(level: str, file: Path | None = None) -> logging.handlers.QueueListener:
    """Set logging up for the process; stop the returned listener at the end to flush it.

    Raises StartError where `file` cannot be written.
    """
    try:
        sink = _file(file) if file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise StartError(f"LOG_FILE {file} cannot be written: {error.strerror}") from None
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # here: the writing thread knows of no exception
    ]
    sink.setFormatter(
        _Formatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _masked,
                _renderer(people=file is None and sys.stderr.isatty()),
            ],
        )
    )
    handler = _DroppingQueueHandler(queue.Queue(_QUEUE_LINES))
    listener = _Writer(handler.queue, sink)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries: only what is wrong
    logging.getLogger("audiosocket_agent").setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=_Logger,
        cache_logger_on_first_use=True,
    )
    listener.start()
    return listener


def bind_call(call_id: str) -> None:
    """Put the call's UUID into every line that the present task and its children log."""
    structlog.contextvars.bind_contextvars(call=call_id)


def get(name: str) -> Log:
    """The logger of a module."""
    logger: Log = structlog.stdlib.get_logger(name)
    return logger


def _file(path: Path) -> logging.StreamHandler[Any]:
    return logging.handlers.WatchedFileHandler(path, encoding="utf-8")  # logrotate may move it


def _masked(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line without anybody's numbers and keys; in the writing thread, as it takes its time."""
    own = {name: line[name] for name in _OUR_OWN if name in line}
    said = line.get(_SAID)
    masked: dict[str, Any] = masking.within(dict(line), masking.logged)
    if said is not None:
        masked[_SAID] = masking.piece(str(said)[: masking.MAX_CHARS])
    return masked | own


def _renderer(*, people: bool) -> Any:
    if people:  # a traceback without its variables: they hold what callers say
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(serializer=lambda value, **_: _dumps(value))


def _dumps(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
