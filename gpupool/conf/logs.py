"""The log of every service: oslo.log, made to keep the rules of the contributor's page on logging.

A fault is one line, tracebacks are for bugs, the same fault is not told again and again, and nothing
secret is written, whichever library logs it.
"""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from oslo_config import cfg
from oslo_log import log

# Seconds in which a warning or error that says the same again is only counted.
REPEAT_SECONDS = 60.0
# Each of its requests has an id that its caller knows, and finds again here.
_NEVER_COUNTED = "gpupool.api"
# Characters of what is said: an error may quote a message, which may have megabytes.
_LONGEST = 8192
# So many different warnings are remembered at most.
MOST = 1000
# Errors that say what is wrong around a service, not within it: by module, or by module and name.
_FAULTS = (
    "amqp",
    "gpupool.model.errors",
    "gpupool.placement.errors",
    "keystoneauth1.exceptions",
    "kombu",
    "oslo_db.exception.DBConnectionError",
    "oslo_db.exception.DBDeadlock",
    "oslo_db.exception.DBNonExistentDatabase",
    "oslo_db.exception.DBNonExistentTable",
    "oslo_messaging",
    "pymysql.err.OperationalError",
    "pymysql.err.InterfaceError",
    "psycopg2.OperationalError",
    "psycopg2.InterfaceError",
    "requests.exceptions",
    "sqlalchemy.exc.InterfaceError",
    "sqlalchemy.exc.OperationalError",
    "sqlalchemy.exc.ResourceClosedError",
    "sqlalchemy.exc.TimeoutError",
    "tooz",
    "urllib3.exceptions",
)
_SECRETS = (
    # Credentials in URLs, and tickets under any of their names.
    (re.compile(r"(://[^\s:/@]*):[^\s/]*@"), r"\1:***@"),
    (re.compile(r"(?i)(ticket\W{1,8})[\w.-]{16,}"), r"\1***"),
)
# What these say below is said by those who use them.
_LEVELS = {
    "alembic": logging.WARNING,
    "keystoneauth.session": logging.ERROR,
    "oslo_db.sqlalchemy.exc_filters": logging.ERROR,
    # The error that another one takes the place of, such as NotFound when the database goes away.
    "oslo_utils.excutils": logging.CRITICAL,
    "urllib3.connectionpool": logging.ERROR,
}
_ADDRESS = re.compile(r"0x[0-9a-f]+")


def setup(conf: cfg.ConfigOpts, name: str) -> None:
    """Set up the log of this process as ``conf`` says; raises log.LogConfigError."""
    log.setup(conf, name)
    for library, level in _LEVELS.items():
        logging.getLogger(library).setLevel(level)
    keep_rules(logging.getLogger().handlers)


def keep_rules(handlers: Iterable[logging.Handler]) -> None:
    """Apply the rules to ``handlers``, which have their formatters already."""
    told, lost = _Told(), _Lost()
    for handler in handlers:
        # By name: mypy knows no method that is assigned to.
        setattr(handler, "handleError", partial(lost, handler.handleError))  # noqa: B010
        handler.addFilter(_one_line)
        handler.addFilter(told)
        handler.setFormatter(_Masked(handler.formatter or logging.Formatter()))


def alike(*subject: str) -> dict[str, tuple[str, ...]]:
    """Return the ``extra`` of a call that logs what others can cause, each time in other words.

    Of all warnings about ``subject`` one a minute is written, which says how many there were.
    """
    return {"gpupool_alike": subject}


def masked(text: str) -> str:
    """Return ``text`` without what is secret in it."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _one_line(record: logging.LogRecord) -> bool:
    """Bring a record on one line, with its traceback only if that shows a bug."""
    if record.levelno < logging.INFO or hasattr(record, "gpupool_key"):
        return True
    record.gpupool_key = _key(record)
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, BaseException) and is_fault(error):
        message = f"{message.rstrip(' :')}: {type(error).__name__.removesuffix('_Remote')}: {error}"
        record.exc_info = record.exc_text = None
    first, _, more = message.strip().partition("\n")
    record.msg, record.args = _printable(f"{first} ..." if more else first), None
    return True


def _printable(text: str) -> str:
    """Return ``text``, cut, with what could look like another line, or hide one, escaped."""
    text = text[:_LONGEST]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _key(record: logging.LogRecord) -> tuple[str, ...]:
    """Return what a warning says, as far as another one says the same.

    Whoever met that a service is away says the same. Of libraries it is the text without its values; a
    bug that a message or a program can run into again and again is known by where it was met.
    """
    subject: tuple[str, ...] = getattr(record, "gpupool_alike", ())
    if subject:
        return (record.name, *subject)
    met = record.exc_info[1] if record.exc_info else None
    if met is not None and not is_fault(met):
        return (record.name, str(record.msg), type(met).__name__, *_place(met))
    values = record.args if isinstance(record.args, tuple) else ()
    away = next((str(each) for each in (met, *values) if _is_away(each)), None)
    if away is not None:
        return ("away", away)
    if record.name.startswith("gpupool"):
        return (record.name, record.getMessage())
    return (record.name, str(record.msg))


def _place(error: BaseException) -> tuple[str, ...]:
    """Return file and line of the innermost frame that an error passed."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return () if frame is None else (frame.tb_frame.f_code.co_filename, str(frame.tb_lineno))


def _is_away(value: object) -> bool:
    kinds = {f"{each.__module__}.{each.__name__}" for each in type(value).__mro__}
    return "gpupool.model.errors.Unavailable" in kinds


def is_fault(error: BaseException) -> bool:
    """Return whether an error is none of the program's own."""
    if isinstance(error, OSError):
        return True
    names = [f"{each.__module__}.{each.__name__}." for each in type(error).__mro__]
    return any(name.startswith(f"{fault}.") for name in names for fault in _FAULTS)


class _Told(logging.Filter):
    """Drops warnings and errors that were told a moment ago; the next one says how many."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        # When each was told, and how often it came since.
        self._known: dict[tuple[str, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        if record.levelno < logging.WARNING or record.name.startswith(_NEVER_COUNTED):
            return True
        # A record passes here once for each handler.
        decided: bool | None = getattr(record, "gpupool_told", None)
        if decided is None:
            decided = record.gpupool_told = self._decide(record)
        return decided

    def _decide(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        key = tuple(_ADDRESS.sub("", part) for part in getattr(record, "gpupool_key", ()))
        with self._lock:
            told, times = self._known.get(key, (-REPEAT_SECONDS, 0))
            if now < told + REPEAT_SECONDS:
                self._known[key] = told, times + 1
                return False
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = now, 0
        if times:
            record.msg = f"{record.getMessage()} ({times} times more in {now - told:.0f} s)"
            record.args = None
        return True


class _Lost:
    """Counts records that can't be written, on a full disk for instance, and says so once a minute.

    Python would print a traceback for each. Nothing is said in the first minute: a service that can't
    start with a full disk says so itself, on one line.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = time.monotonic() + REPEAT_SECONDS
        self._count = 0

    def __call__(
        self, otherwise: Callable[[logging.LogRecord], None], record: logging.LogRecord
    ) -> None:
        """Take note of a record that its handler failed to write; other errors go to ``otherwise``."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            otherwise(record)
            return
        with self._lock:
            self._count += 1
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + REPEAT_SECONDS
            count, self._count = self._count, 0
        with suppress(OSError, ValueError):
            print(f"{count} lines of the log can't be written: {error}", file=sys.stderr)


class _Masked(logging.Formatter):
    """Formats as another one does, and leaves out what is secret."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the text to write."""
        try:
            # Beside an error that is handled now oslo.log repeats it after the text, which has it; but
            # for this kind.
            raise KeyError
        except KeyError:
            return masked(self._inner.format(record))
